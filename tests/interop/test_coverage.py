"""The coverage page says what is true, and the aims it was made for hold."""

import re
from pathlib import Path

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurofdfa.errors import UserError
from neurofdfa.interop import nir_from_torch
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import float_simulate
from tests.interop.coverage import FORMS, Plain, hidden, try_form

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def rows(text: str) -> dict[str, str]:
    """Form → outcome, of the page's tables."""
    return dict(re.findall(r"^\| (.+?) \| (equal|approximation|refused|DIFFERS) \|", text, re.MULTILINE))


@pytest.mark.parametrize("package", FORMS)
def test_the_page_says_what_becomes_of_every_form(package):
    said = rows(PAGE.read_text())
    for form in FORMS[package]:
        assert try_form(form).outcome == said[form.name], form.name


def test_the_aims_hold():
    counts = {
        package: sum(rows(PAGE.read_text())[form.name] in ("equal", "approximation") for form in forms)
        for package, forms in FORMS.items()
    }
    assert counts["snnTorch 1.0"] >= 14
    assert counts["Norse 1.1"] >= 10
    assert counts["SpikingJelly 2.0"] >= 9
    assert "DIFFERS" not in PAGE.read_text()


def test_a_skip_connection_is_a_sum(rng):
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.la, self.lb = snn.Leaky(0.8), snn.Leaky(0.8)

        def forward(self, x):
            ma, mb, out = self.la.reset_mem(), self.lb.reset_mem(), []
            for row in x:
                sa, ma = self.la(self.a(row), ma)
                sb, mb = self.lb(self.b(sa) + self.a(row), mb)
                out.append(sb)
            return torch.stack(out)

    torch.manual_seed(0)
    net, x = Skip(), torch.from_numpy(rng.random((15, 4, 6)) < 0.5).float()
    for parameter in net.parameters():
        parameter.data *= 3
    network = network_from_graph(nir_from_torch(net, x))
    assert len(network.edges) == 3
    with torch.no_grad():
        theirs = net(x).numpy()
    assert theirs.mean() > 0.02
    assert np.array_equal(float_simulate(network, x.numpy().astype(np.uint8)).spikes["lb"], theirs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Plain(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), hidden(snn.Leaky, 0.8)),
            r"maximum of currents.*max_pool='spikes'",
        ),
        (Plain(nn.Linear(6, 6), nn.Sigmoid(), hidden(snn.Leaky, 0.8)), "Sigmoid.* is no layer or neuron"),
        (Plain(nn.Linear(6, 6), hidden(snn.Leaky, 0.8, inhibition=True)), "inhibition"),
        (Plain(nn.BatchNorm1d(6), nn.Linear(6, 6), hidden(snn.Leaky, 0.8)), "behind weights"),
        (
            Plain(
                nn.Linear(6, 6), hidden(snn.RSynaptic, 0.5, 0.8, linear_features=6, reset_mechanism="zero")
            ),
            "current",
        ),
    ],
)
def test_what_no_chip_does_is_refused_by_name(model, message):
    shape = (1, 8, 8) if any(isinstance(m, nn.Conv2d) for m in model.modules()) else (6,)
    with pytest.raises(UserError, match=message):
        nir_from_torch(model, torch.zeros(3, 2, *shape))


def test_reading_leaves_the_model_as_it_was():
    model = Plain(nn.Linear(6, 6), nn.Dropout(0.5), hidden(snn.Leaky, 0.8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graph = nir_from_torch(model, torch.ones(3, 2, 6))
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(
        torch.equal(before[name], value) for name, value in model.state_dict().items() if "mem" not in name
    )
    network = network_from_graph(graph)
    assert [layer.name for layer in network.layers] == ["chain.2"]
    assert float_simulate(network, torch.ones(3, 2, 6).numpy().astype("uint8")).spikes["chain.2"].shape == (
        3,
        2,
        6,
    )
