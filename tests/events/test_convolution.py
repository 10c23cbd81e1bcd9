"""Convolutions and pools on the event engine against the reference: same spikes, same gradients."""

from typing import Any

import pytest
import torch

from neurofdfa.events import Events, RunStream, run
from neurofdfa.events.tiling import Tiling
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.nn.synapse import Convolution
from neurofdfa.rules import DFA, DKP, DRTP, FDFA, SBD, EProp, ReadoutOnly
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.events.comparing import close, same_numbers, same_spikes_and_membranes, within_rounding
from tests.layers import conv_layer, pool_layer

HARD = LIF(reset="hard", tau_syn=3e-3, decay_bits=None)
SOFT = LIF(reset="soft", tau_syn=3e-3, decay_bits=None)
PLAIN = [conv_layer(8, 3, padding=1), pool_layer(2), conv_layer(16, 3)]
DEEP = [
    pool_layer(2),
    conv_layer(5, (3, 2), padding=2),
    conv_layer(20, (2, 3), stride=2, padding=1),
    pool_layer(2),
    33,
]
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
        "hidden": [conv_layer(100, 3, stride=2), pool_layer(3)],
        "shape": (3, 7, 7),
        "net": {"dropout": 0.3, "input_dropout": 0.2},
        "chunk": 7,
    },
    "dkp per channel, rate target": {
        "rule": DKP(feedback_per="channel"),
        "hidden": PLAIN,
        "rate": RateRegulariser(strength=0.5),
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
        "hidden": [*PLAIN, pool_layer(2)],
        "net": {"readout": "spike-count", "bias": True},
    },
    "trace per synapse": {
        "rule": DFA(trace=PerSynapse(downstream=True)),
        "hidden": [conv_layer(8, 3, padding=1), 20],
        "net": {"neuron": SOFT, "readout": "leaky", "bias": True},
    },
    "trace per synapse, hard reset, chunks": {
        "rule": FDFA(trace=PerSynapse(), fraction=0.5),
        "hidden": DEEP,
        "net": {
            "neuron": LIF(
                reset="hard", reset_gradient="attached", tau_syn=3e-3, adaptation=0.2, decay_bits=None
            ),
            "readout": "leaky",
            "bias": True,
        },
        "chunk": 6,
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
    "updates inside a sequence": {
        "rule": FDFA(feedback_per="channel", trace=PerNeuron()),
        "hidden": PLAIN,
        "every": 4,
    },
    "weights of 4 bits": {"rule": DFA(), "hidden": PLAIN, "net": {"weight_bits": 4}},
    "a pool, no convolution": {"rule": FDFA(), "hidden": [pool_layer(2), 20], "chunk": 6},
}


def build(case: dict[str, Any], dtype: torch.dtype) -> tuple[Network, torch.Tensor, torch.Tensor]:
    steps, batch, shape = case.get("steps", 20), case.get("batch", 5), case.get("shape", (1, 8, 8))
    n = shape[0] * shape[1] * shape[2]
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, batch, n, generator=g) < 0.25).to(dtype)
    options = (
        {"neuron": LIF(reset="soft", decay_bits=None)}
        | case.get("net", {})
        | {"recurrent": case.get("recurrent", False)}
    )
    network = feed_forward(n, case["hidden"], 7, shape=shape, **options).to(dtype)
    for layer in network.hidden:
        if isinstance(layer.recurrent, Convolution):
            layer.recurrent = None
    scale_to_rate(network, (torch.rand(8, batch, n, generator=g) < 0.25).to(dtype), 0.1, rounds=6)
    for layer in network.hidden:
        if layer.synapse.bias is not None:
            torch.nn.init.uniform_(layer.synapse.bias, -0.05, 0.05, generator=g)
    if case.get("analogue"):
        x = x * torch.rand(x.shape, generator=g).to(dtype)
    return network, x, torch.randint(0, 7, (batch,), generator=g)


@pytest.mark.parametrize("name", CASES)
def test_same_numbers_in_double_precision(name: str) -> None:
    same_numbers(build, CASES[name], batches=2)


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
    same_spikes_and_membranes(network, x)


@pytest.mark.parametrize("name", ["fdfa per channel, bias, chunks", "dkp, many channels"])
def test_single_precision_within_rounding(name: str) -> None:
    within_rounding(build, CASES[name])


def test_lists_of_events_and_many_samples() -> None:
    case = CASES["pool first, odd kernels, dense on top, hard reset, chunks"] | {"batch": 40}
    network, x, target = build(case, torch.float64)
    events = Events.of(x)
    assert torch.equal(run(network, x).y, run(network, events).y)
    whole, listed = (
        Trainer(network, DFA(), threads=1, chunk=6, engine="events").gradients(given, target)
        for given in (x, events)
    )
    for a, b in zip(whole, listed, strict=True):
        close(a, b, 1e-13)


def test_probes_of_the_counter_find_the_readout() -> None:
    network, x, target = build({"hidden": [conv_layer(6, 3, padding=1), pool_layer(4)]}, torch.float64)
    learner = Trainer(network, FDFA(), threads=1, generator=torch.Generator().manual_seed(1), engine="events")
    for _ in range(150):
        learner.step(x, target)
    wo = network.readout.synapse.transpose(torch.eye(7, dtype=torch.float64)).t()
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
    tiling = Tiling(Convolution(Conv2d(2, channels, (3, 2), stride=2, padding=1), (2, 9, 7)))
    assert len(set(tiling.places.tolist())) == len(tiling.places) == channels * 5 * 4
    assert tiling.places.max() < tiling.width
    values = torch.rand(3, len(tiling.places))
    assert torch.equal(tiling.gather(tiling.spread(values)), values)
