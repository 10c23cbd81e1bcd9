"""The exact trace per synapse on events: every reset, any length; against the reference and BPTT."""

from itertools import product
from typing import Any

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import BPTT, DFA, DKP, FDFA, EProp
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.events.comparing import same_numbers, same_spikes_and_membranes, within_rounding
from tests.oracles.reference import (
    SURROGATE,
    reference_gradients,
    relative,
    small_network,
    spec_of,
    spike_train,
)

RESETS = list(product(("soft", "hard"), ("detached", "attached")))
LABELS = torch.tensor([0, 1, 2, 1])
NEURONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adaptive": {"adaptation": 0.3, "tau_adapt": 8e-3},
    "mixed": {"mixed": True},
}
SHAPES: dict[str, dict[str, Any]] = {
    "one chunk": {
        "rule": DKP(trace=PerSynapse()),
        "net": {"readout": "leaky", "recurrent": True, "bias": True},
    },
    "short chunks, downstream, dropout, rate target": {
        "rule": FDFA(trace=PerSynapse(downstream=True), fraction=0.6),
        "net": {"readout": "leaky", "dropout": 0.3, "recurrent": True},
        "rate": RateRegulariser(strength=0.5),
        "chunk": 6,
        "threads": 2,
    },
    "300 steps, recurrent": {
        "rule": DFA(trace=PerSynapse()),
        "net": {"readout": "leaky", "recurrent": True, "bias": True},
        "steps": 300,
        "batch": 3,
    },
    "no filter, spiking readout": {
        "rule": FDFA(trace=PerSynapse(filtered=False), kernel="output"),
        "net": {"readout": "spike-count", "bias": True},
        "chunk": 7,
    },
}


def build(case: dict[str, Any], dtype: torch.dtype) -> tuple[Network, torch.Tensor, torch.Tensor]:
    steps, batch, options = case.get("steps", 20), case.get("batch", 5), dict(case["lif"])
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, batch, 50, generator=g) < 0.15).to(dtype)
    spread = {"tau_mem_spread": 0.5, "tau_syn_spread": 0.4} if options.pop("mixed", False) else {}
    lif = LIF(tau_syn=3e-3, **options)
    network = feed_forward(50, (40, 24), 7, neuron=lif, generator=g, **spread, **case["net"]).to(dtype)
    scale_to_rate(network, x[:20], 0.1, rounds=6)
    for layer in network.hidden:
        if layer.synapse.bias is not None:
            torch.nn.init.uniform_(layer.synapse.bias, -0.05, 0.05, generator=g)
    if network.readout.population is not None:
        network.readout.synapse.weight.data.mul_(15)
    return network, x, torch.randint(0, 7, (batch,), generator=g)


def case_of(reset: str, gradient: str, neuron: str, shape: str) -> dict[str, Any]:
    return SHAPES[shape] | {"lif": {"reset": reset, "reset_gradient": gradient, **NEURONS[neuron]}}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_same_numbers_in_double_precision(reset: str, gradient: str, neuron: str, shape: str) -> None:
    same_numbers(build, case_of(reset, gradient, neuron, shape), batches=2)


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_single_precision_within_rounding(reset: str, gradient: str, neuron: str) -> None:
    within_rounding(build, case_of(reset, gradient, neuron, "short chunks, downstream, dropout, rate target"))
    within_rounding(build, case_of(reset, gradient, neuron, "one chunk"))


@pytest.mark.parametrize("neuron", ["adaptive", "mixed"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_same_spikes_and_membranes(reset: str, neuron: str) -> None:
    for shape in ("one chunk", "300 steps, recurrent", "no filter, spiking readout"):
        network, x, _ = build(case_of(reset, "attached", neuron, shape), torch.float64)
        same_spikes_and_membranes(network, x)


def network_of(reset: str, gradient: str, **options: Any) -> Network:
    lif = LIF(tau_mem=6e-3, reset=reset, reset_gradient=gradient, surrogate=SURROGATE, **options)  # type: ignore[arg-type]
    return small_network(lif=lif, readout="leaky", tau_out=5e-3, bias=True)


@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize("adaptation", [0.0, 0.4])
@pytest.mark.parametrize(("steps", "chunk"), [(12, None), (12, 5), (300, None)])
@pytest.mark.parametrize("when", ["every-step", "last"])
def test_one_hidden_layer_learns_the_gradient_itself(
    reset: str, gradient: str, adaptation: float, steps: int, chunk: int | None, when: Any
) -> None:
    """Symmetric feedback and the exact trace: backpropagation through time, from the other end."""
    network = network_of(reset, gradient, adaptation=adaptation, tau_adapt=8e-3, tau_syn=4e-3)
    x, loss = spike_train(steps=steps), CrossEntropy(when=when)
    assert 0.05 < float(network.run(x).spikes[0].mean()) < 0.8
    options = {"loss": loss, "engine": "events", "chunk": chunk}
    got = Trainer(network, EProp(feedback="symmetric"), **options).gradients(x, LABELS)
    expected = Trainer(network, BPTT(), loss=loss).gradients(x, LABELS)
    for g, e in zip(got, expected, strict=True):
        assert float(e.norm()) > 1e-6
        assert relative(g, e) < 1e-10


@pytest.mark.parametrize("modes", [(a, b) for a in RESETS for b in RESETS if a != b])
def test_another_reset_is_noticed(modes: tuple[tuple[str, str], tuple[str, str]]) -> None:
    """The comparison cannot pass with the reset factor of another mode."""
    mine, other = modes
    network, x = network_of(*mine), spike_train()
    spec = spec_of(network)._replace(hard=other[0] == "hard", attached=other[1] == "attached")
    expected = reference_gradients(network, x, LABELS, "every-step", spec=spec)
    right = reference_gradients(network, x, LABELS, "every-step")
    got = Trainer(network, EProp(feedback="symmetric"), engine="events").gradients(x, LABELS)
    assert relative(got[0], expected[0]) > 1e-2
    assert relative(got[0], right[0]) < 1e-10
