"""Streams: the same numbers as the reference step by step, also when the tables have come to rest."""

from typing import Any

import pytest
import torch

from neurofdfa import events
from neurofdfa.errors import UserError
from neurofdfa.events import RunStream
from neurofdfa.events.stream import LearnStream
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import DFA, DKP, DRTP, FDFA, SBD, EProp
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.stream import OnlineStream
from neurofdfa.train.trainer import Engine, Trainer
from tests.layers import conv_layer, pool_layer

FAST = LIF(tau_mem=2e-3, tau_syn=1e-3, reset="soft", decay_bits=None)
HARD = LIF(tau_mem=2e-3, tau_syn=1e-3, reset="hard", reset_gradient="attached", decay_bits=None)
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
        "rule": FDFA(feedback_per="channel", trace=PerNeuron()),
        "net": {"hidden": [conv_layer(9, (3, 2)), pool_layer(2), conv_layer(12, (1, 2))], "shape": (1, 4, 5)},
        "every": 2,
    },
    "sbd": {"rule": SBD(), "every": 3},
    "dfa, trace per synapse, recurrent, rate target": {
        "rule": DFA(trace=PerSynapse()),
        "net": {"recurrent": True, "neuron": HARD},
        "rate": RateRegulariser(),
    },
    "fdfa, trace per synapse, values": {
        "rule": FDFA(trace=PerSynapse(filtered=False), fraction=0.5),
        "net": {"neuron": HARD},
        "values": True,
        "every": 3,
    },
    "e-prop, symmetric feedback": {"rule": EProp(feedback="symmetric", trace=PerNeuron()), "every": 2},
}


def network(hidden: Any = (24, 30), **options: Any) -> Network:
    made = feed_forward(
        20, hidden, 4, readout="leaky", tau_out=2e-3, bias=True,
        generator=torch.Generator().manual_seed(2), **({"neuron": FAST} | options),
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
    engines: tuple[Engine, ...] = ("reference", "events")
    learners: list[Trainer] = []
    for engine in engines:
        net = network(**case.get("net", {}))
        learners.append(
            Trainer(
                net,
                case["rule"],
                torch.optim.Adam(net.parameters(), lr=1e-3),
                update_every=every,
                rate_regulariser=case.get("rate"),
                generator=torch.Generator().manual_seed(3),
                engine=engine,
                probes="reference",
            )
        )
    reference, events = learners
    slow, stream = (
        learner.stream(batch, horizon=50, values=case.get("values", False)) for learner in learners
    )
    assert isinstance(stream, LearnStream)
    assert steps > stream.last + 20
    for t in range(steps):
        expected, y = slow.step(x[t], target[t]), stream.step(x[t], target[t])
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-11)
    for a, b in zip(reference.network.parameters(), events.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(reference.rule_state.matrices, events.rule_state.matrices, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(slow.end(), stream.end(), strict=True):
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
    with pytest.raises(UserError, match="no last step"):
        Trainer(net, DFA(), loss=CrossEntropy("last"), engine="events").stream()
    for bad, message in (
        (feed_forward(20, [8], 4, neuron=LIF(reset="soft", decay_bits=None)), "readout that forgets"),
        (
            feed_forward(20, [8], 4, readout="leaky", dropout=0.2, neuron=LIF(reset="soft", decay_bits=None)),
            "dropout",
        ),
    ):
        with pytest.raises(UserError, match=message):
            Trainer(bad, DFA(), engine="events").stream()
        with pytest.warns(UserWarning, match=message):
            assert isinstance(Trainer(bad, DFA()).stream(), OnlineStream)
    with pytest.raises(UserError, match="1 to 128 samples"):
        Trainer(net, DFA(), engine="events").stream(129)


def test_a_stream_has_an_end() -> None:
    net = network()
    trainer = Trainer(net, DFA(), engine="events")
    before = [p.detach().clone() for p in net.parameters()]
    stream = trainer.stream(2)
    x, labels = torch.ones(2, 20), torch.tensor([0, 1])
    stream.step(x, labels)
    with pytest.raises(UserError, match="still open"):
        trainer.step(x.expand(3, 2, 20), labels)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    stream.end()
    assert not torch.equal(before[-1], list(net.parameters())[-1])
    with pytest.raises(UserError, match="has ended"):
        stream.step(x, labels)
    trainer.step(x.expand(3, 2, 20), labels)
