"""Streams: the same numbers as the reference step by step, also when the tables have come to rest."""

from typing import Any

import pytest
import torch

from neurofdfa import events
from neurofdfa.errors import UserError
from neurofdfa.events import EventTrainer, LearnStream, RunStream
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import DFA, DKP, DRTP, FDFA, SBD, EProp
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer, adam
from tests.layers import conv_layer, pool_layer

FAST = LIF(tau_mem=2e-3, tau_syn=1e-3, reset="soft", decay_bits=None)
CASES: dict[str, dict[str, Any]] = {
    "fdfa": {"rule": FDFA(fraction=0.5)},
    "fdfa, output kernel, adam": {"rule": FDFA(kernel="output", optimizer="adam"), "every": 3},
    "dkp": {"rule": DKP(), "every": 4},
    "dfa, recurrent, rate target": {
        "rule": DFA(),
        "net": {"recurrent": True},
        "rate": RateRegulariser(),
        "every": 2,
    },
    "values": {"rule": DFA(), "values": True},
    "drtp": {"rule": DRTP()},
    "fdfa through a convolution": {
        "rule": FDFA(feedback_per="channel"),
        "net": {"hidden": [conv_layer(9, (3, 2)), pool_layer(2), conv_layer(12, (1, 2))], "shape": (1, 4, 5)},
        "every": 2,
    },
    "sbd": {"rule": SBD(), "every": 3},
    "e-prop, symmetric feedback": {"rule": EProp(feedback="symmetric", trace=PerNeuron()), "every": 2},
}


def network(hidden: Any = (24, 30), **options: Any) -> Network:
    made = feed_forward(
        20, hidden, 4, neuron=FAST, readout="leaky", tau_out=2e-3, bias=True,
        generator=torch.Generator().manual_seed(2), **options,
    )  # fmt: skip
    for layer in made.hidden:
        layer.synapse.weight.data.mul_(3)
    return made.double()


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_the_reference(name: str) -> None:
    case = CASES[name]
    steps, batch, every = 150, 3, case.get("every", 1)
    g = torch.Generator().manual_seed(5)
    x = (torch.rand(steps, batch, 20, generator=g) < 0.3).double()
    if case.get("values"):
        x = x * torch.rand(x.shape, generator=g).double()
    target = torch.randint(0, 4, (steps, batch), generator=g)
    options = {"rate_target": case.get("rate")}
    learners: list[Any] = []
    for kind, more in (
        (Trainer, {"update_every": every}),
        (EventTrainer, {"chunk": 1, "probes": "reference"}),
    ):
        generator = torch.Generator().manual_seed(3)
        net = network(**case.get("net", {}))
        learners.append(kind(net, case["rule"], adam(1e-3), generator=generator, **options, **more))
    reference, events = learners
    stream = LearnStream(events, batch, horizon=50, update_every=every, values=case.get("values", False))
    assert steps > stream.last + 20
    reference.begin(batch, 50)
    for t in range(steps):
        expected, y = reference.step(x[t], target[t]), stream.step(x[t], target[t])
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-11)
    for a, b in zip(reference.network.parameters(), events.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(reference.rule_state.matrices, events.rule_state.matrices, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_inference_step_by_step() -> None:
    net = network(recurrent=True)
    x = (torch.rand(40, 2, 20, generator=torch.Generator().manual_seed(0)) < 0.3).double()
    stream = RunStream(net, 2)
    y = torch.stack([stream.step(row) for row in x])
    torch.testing.assert_close(y, net.run(x).y, rtol=1e-11, atol=1e-12)
    assert torch.equal(y, events.run(net, x, threads=1).y)


def test_refusals() -> None:
    net = network()
    for batch in (0, 129):
        with pytest.raises(UserError, match="1 to 128 samples"):
            RunStream(net, batch)
    stream = RunStream(net)
    for step, message in ((torch.zeros(2, 20), r"is \[1, 20\]"), (torch.full((1, 20), 0.5), "values=True")):
        with pytest.raises(UserError, match=message):
            stream.step(step.double())
    for options, message in (
        ({"chunk": 2}, "chunk=1"),
        ({"chunk": 1, "loss": CrossEntropy("last")}, "no last step"),
        ({"chunk": 1, "update_every": 2}, "an update_every of its own"),
    ):
        with pytest.raises(UserError, match=message):
            LearnStream(EventTrainer(net, DFA(), **options))
    for bad, message in (
        (feed_forward(20, [8], 4, neuron=LIF(reset="soft", decay_bits=None)), "readout that forgets"),
        (
            feed_forward(20, [8], 4, readout="leaky", dropout=0.2, neuron=LIF(reset="soft", decay_bits=None)),
            "dropout",
        ),
    ):
        with pytest.raises(UserError, match=message):
            LearnStream(EventTrainer(bad, DFA(), chunk=1))
