"""Layer by layer and step by step are the same function, with the same derivative."""

import pytest
import torch

from neurofdfa.data.encode import direct
from neurofdfa.nn.lif import LIF
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train import unroll
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, relative, small_network, spike_train

X, LABELS = spike_train(), torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("reset_gradient", ["detached", "attached"])
@pytest.mark.parametrize("readout", ["integrator", "spike-count"])
def test_both_ways_train_alike(monkeypatch, reset, reset_gradient, readout):
    def trained(layered):
        monkeypatch.setattr(unroll, "layered", lambda network: layered)
        lif = LIF(
            6e-3, 2e-3, reset=reset, reset_gradient=reset_gradient, surrogate=SURROGATE, decay_bits=None
        )
        network = small_network(lif=lif, hidden=[6, 5], bias=True, readout=readout, dropout=0.2)
        bptt = Trainer(
            network, BPTT(window=5), rate_regulariser=RateRegulariser(strength=0.3), engine="reference"
        )
        return list(network.parameters()), [bptt.step(X, LABELS) for _ in range(3)]

    (one, seen), (other, expected) = trained(layered=True), trained(layered=False)
    assert max(relative(a, b) for a, b in zip(one, other, strict=True)) < 1e-10
    for a, b in zip(seen, expected, strict=True):
        assert all(torch.allclose(p, q, rtol=1e-10) for p, q in zip(a, b, strict=True))
        assert float(a.rates.min()) > 0


def test_loops_between_neurons_go_step_by_step():
    assert unroll.layered(small_network(lif=LIF(reset="soft", decay_bits=None)))
    assert not unroll.layered(small_network(lif=LIF(reset="soft", decay_bits=None), recurrent=True))


def test_constant_currents_are_multiplied_once_and_train_alike():
    def trained(x):
        network = small_network(
            lif=LIF(6e-3, reset="soft", decay_bits=None), hidden=[6, 5], bias=True, input_dropout=0.2
        )
        bptt = Trainer(
            network, BPTT(window=5), rate_regulariser=RateRegulariser(strength=0.3), engine="reference"
        )
        return list(network.parameters()), [bptt.step(x, LABELS) for _ in range(3)]

    pixels = torch.rand(X.shape[1:], generator=torch.Generator().manual_seed(2))
    currents = direct(pixels, len(X), gain=3.0, dtype=X.dtype)
    assert currents.stride(0) == 0
    (one, seen), (other, expected) = trained(currents), trained(currents.contiguous())
    assert max(relative(a, b) for a, b in zip(one, other, strict=True)) < 1e-10
    for a, b in zip(seen, expected, strict=True):
        assert all(torch.allclose(p, q, rtol=1e-10) for p, q in zip(a, b, strict=True))
        assert float(a.rates.min()) > 0
