"""Convolutions and pools on the event engine against the reference: same spikes, same gradients."""

from typing import Any

import pytest
import torch

from neurofdfa.engine import EventLearner, Events, RunStream, run
from neurofdfa.engine.inference import run_membranes
from neurofdfa.engine.tiling import Tiling
from neurofdfa.homeostasis import RateTarget
from neurofdfa.learner import Learner, adam
from neurofdfa.network import Network, feed_forward, scale_to_rate
from neurofdfa.neuron import LIF
from neurofdfa.signal import DFA, DKP, DRTP, FDFA, SBD, EProp, ReadoutOnly
from neurofdfa.synapse import Conv2d
from neurofdfa.trace import PerSynapse

HARD = LIF(reset="hard", tau_syn=3e-3)
SOFT = LIF(reset="soft", tau_syn=3e-3)
PLAIN = ["conv 8x3x3 pad 1", "pool 2", "conv 16x3x3"]
DEEP = ["pool 2", "conv 5x3x2 pad 2", "conv 20x2x3 stride 2 pad 1", "pool 2", 33]
CASES: dict[str, dict[str, Any]] = {
    "fdfa": {"rule": FDFA(fraction=0.5), "hidden": PLAIN},
    "fdfa per channel, bias, chunks": {
        "rule": FDFA(fraction=0.5, feedback_per="channel"),
        "hidden": PLAIN,
        "net": {"bias": True, "readout": "leaky"},
        "chunk": 6,
        "threads": 2,
    },
    "pool first, odd kernels, dense on top, hard reset, chunks": {
        "rule": FDFA(kernel="output"),
        "hidden": DEEP,
        "shape": (2, 10, 16),
        "net": {"neuron": HARD, "readout": "leaky", "bias": True},
        "chunk": 6,
    },
    "dkp, many channels": {
        "rule": DKP(),
        "hidden": ["conv 100x3x3 stride 2", "pool 3"],
        "shape": (3, 7, 7),
        "net": {"dropout": 0.3, "input_dropout": 0.2},
        "chunk": 7,
    },
    "dkp per channel, rate target": {
        "rule": DKP(feedback_per="channel"),
        "hidden": PLAIN,
        "rate": RateTarget(strength=0.5),
        "chunk": 6,
        "threads": 2,
    },
    "dfa, one sample": {"rule": DFA(feedback_per="channel"), "hidden": PLAIN, "batch": 1},
    "dfa, one step": {"rule": DFA(), "hidden": DEEP, "steps": 1},
    "readout-only": {"rule": ReadoutOnly(), "hidden": PLAIN},
    "sbd per channel": {"rule": SBD(feedback_per="channel"), "hidden": PLAIN},
    "drtp": {"rule": DRTP(), "hidden": PLAIN},
    "symmetric e-prop": {"rule": EProp(feedback="symmetric"), "hidden": PLAIN},
    "spiking readout": {
        "rule": FDFA(),
        "hidden": [*PLAIN, "pool 2"],
        "net": {"readout": "spike-count", "bias": True},
    },
    "trace per synapse": {
        "rule": DFA(trace=PerSynapse(downstream=True)),
        "hidden": ["conv 8x3x3 pad 1", 20],
        "net": {"neuron": SOFT, "readout": "leaky", "bias": True},
    },
    "recurrent on top": {
        "rule": FDFA(),
        "hidden": [*PLAIN, 24],
        "recurrent": True,
        "net": {"neuron": SOFT},
        "chunk": 6,
    },
    "analogue input behind a pool": {
        "rule": FDFA(fraction=0.5),
        "hidden": DEEP,
        "shape": (2, 10, 16),
        "analogue": True,
        "chunk": 6,
    },
    "updates inside a sequence": {"rule": FDFA(feedback_per="channel"), "hidden": PLAIN, "every": 4},
    "weights of 4 bits": {"rule": DFA(), "hidden": PLAIN, "net": {"weight_bits": 4}},
    "a pool, no convolution": {"rule": FDFA(), "hidden": ["pool 2", 20], "chunk": 6},
}


def build(case: dict[str, Any], dtype: torch.dtype) -> tuple[Network, torch.Tensor, torch.Tensor]:
    steps, batch, shape = case.get("steps", 20), case.get("batch", 5), case.get("shape", (1, 8, 8))
    n = shape[0] * shape[1] * shape[2]
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, batch, n, generator=g) < 0.25).to(dtype)
    options = case.get("net", {}) | {"recurrent": case.get("recurrent", False)}
    network = feed_forward(n, case["hidden"], 7, shape=shape, **options).to(dtype)
    for layer in network.hidden:
        if isinstance(layer.recurrent, Conv2d):
            layer.recurrent = None
    scale_to_rate(network, (torch.rand(8, batch, n, generator=g) < 0.25).to(dtype), 0.1, rounds=6)
    for layer in network.hidden:
        if layer.synapse.bias is not None:
            torch.nn.init.uniform_(layer.synapse.bias, -0.05, 0.05, generator=g)
    if case.get("analogue"):
        x = x * torch.rand(x.shape, generator=g).to(dtype)
    return network, x, torch.randint(0, 7, (batch,), generator=g)


def train(case: dict[str, Any], dtype: torch.dtype, events: bool, batches: int = 2) -> tuple[Any, ...]:
    network, x, target = build(case, dtype)
    options: dict[str, Any] = {"rate_target": case.get("rate"), "update_every": case.get("every")}
    options["generator"] = torch.Generator().manual_seed(3)
    if events:
        options |= {"threads": case.get("threads", 1), "chunk": case.get("chunk"), "probes": "reference"}
    learner = (EventLearner if events else Learner)(network, case["rule"], adam(1e-3), **options)
    gradients = learner.gradients(x, target)
    return learner, gradients, [learner.train(x, target) for _ in range(batches)]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * float(a.abs().max()) + 1e-30


@pytest.mark.parametrize("name", CASES)
def test_same_numbers_in_double_precision(name: str) -> None:
    (reference, gradients, stats), (events, gradients2, stats2) = (
        train(CASES[name], torch.float64, kind) for kind in (False, True)
    )
    for a, b in zip(gradients, gradients2, strict=True):
        close(a, b, 1e-11)
    for a, b in zip(reference.network.parameters(), events.network.parameters(), strict=True):
        close(a.detach(), b.detach(), 1e-11)
    matrices = (getattr(x.rule_state, "matrices", ()) for x in (reference, events))
    for a, b in zip(*matrices, strict=True):
        close(a, b, 1e-10)
    for before, after in zip(stats, stats2, strict=True):
        for a, b in zip(before, after, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(reference.rates, events.rates, strict=True):
        close(a, b, 1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "fdfa",
        "pool first, odd kernels, dense on top, hard reset, chunks",
        "dkp, many channels",
        "a pool, no convolution",
    ],
)
def test_same_spikes_and_membranes(name: str) -> None:
    network, x, _ = build(CASES[name], torch.float64)
    expected, seen = network.run(x), run_membranes(network, x)
    for a, b in zip(expected.spikes, seen.trajectory.spikes, strict=True):
        assert torch.equal(a, b)
        assert 0 < float(a.mean()) < 1
    torch.testing.assert_close(expected.y, seen.trajectory.y, rtol=1e-11, atol=1e-12)
    for t, step in enumerate(network.steps(x)):
        for layer, membranes in zip(step.layers, seen.membranes, strict=True):
            torch.testing.assert_close(layer.after.u, membranes[t], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["fdfa per channel, bias, chunks", "dkp, many channels"])
def test_single_precision_within_rounding(name: str) -> None:
    (_, gradients, _), (_, gradients2, _) = (
        train(CASES[name], torch.float32, kind, batches=0) for kind in (False, True)
    )
    for a, b in zip(gradients, gradients2, strict=True):
        close(a, b, 1e-5)


def test_lists_of_events_and_many_samples() -> None:
    case = CASES["pool first, odd kernels, dense on top, hard reset, chunks"] | {"batch": 40}
    network, x, target = build(case, torch.float64)
    events = Events.of(x)
    assert torch.equal(run(network, x).y, run(network, events).y)
    whole, listed = (
        EventLearner(network, DFA(), threads=1, chunk=6).gradients(given, target) for given in (x, events)
    )
    for a, b in zip(whole, listed, strict=True):
        close(a, b, 1e-13)


def test_probes_of_the_counter_find_the_readout() -> None:
    network, x, target = build({"hidden": ["conv 6x3x3 pad 1", "pool 4"]}, torch.float64)
    learner = EventLearner(network, FDFA(), threads=1, generator=torch.Generator().manual_seed(1))
    for _ in range(150):
        learner.train(x, target)
    wo = network.readout.synapse.back(torch.eye(7, dtype=torch.float64)).t()
    assert (
        torch.nn.functional.cosine_similarity(learner.rule_state.matrices[-1].flatten(), wo.flatten(), 0)
        > 0.8
    )


def test_step_by_step_is_the_same() -> None:
    network, x, _ = build(CASES["fdfa"], torch.float64)
    stream = RunStream(network, batch=x.shape[1])
    torch.testing.assert_close(torch.stack([stream.step(x_t) for x_t in x]), network.run(x).y)


@pytest.mark.parametrize("channels", [1, 3, 8, 20, 64, 100])
def test_every_neuron_has_a_place_of_its_own(channels: int) -> None:
    tiling = Tiling(Conv2d((2, 9, 7), channels, (3, 2), stride=2, padding=1))
    assert len(set(tiling.places.tolist())) == len(tiling.places) == channels * 5 * 4
    assert tiling.places.max() < tiling.width
    values = torch.rand(3, len(tiling.places))
    assert torch.equal(tiling.gather(tiling.spread(values)), values)
