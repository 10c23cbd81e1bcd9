"""Samples of unequal lengths on events: the reference's numbers, which are each sample's on its own."""

from typing import Any

import pytest
import torch

from neurofdfa.data.collate import stacked
from neurofdfa.data.event_lists import EventList
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError, SpikeCountError
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import DFA, DKP, DRTP, FDFA, SBD, EProp, ReadoutOnly
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.events.comparing import close, same_learning

STEPS = 40
LENGTHS = torch.tensor([40, 3, 17, 40, 1, 26, 17])
"""Several samples of a group, and with short chunks groups that end in different ones."""
IMAGE: dict[str, Any] = {
    "hidden": [{"conv2d": {"out_channels": 3, "kernel_size": 3}}, 12],
    "shape": (2, 5, 5),
}
CASES: dict[str, dict[str, Any]] = {
    "fdfa": {"rule": FDFA(fraction=0.6), "dropout": 0.3, "input_dropout": 0.2},
    "recurrent": {"rule": FDFA(fraction=0.3, trace=PerSynapse()), "recurrent": True, "readout": "leaky"},
    "recurrent, short chunks": {"rule": FDFA(kernel="output"), "recurrent": True, "chunk": 7},
    "exact, short chunks, threads": {"rule": DKP(trace=PerSynapse()), "chunk": 6, "threads": 2, "hard": True},
    "spiking readout": {
        "rule": FDFA(trace=PerSynapse(downstream=True)),
        "readout": "spike-count",
        "loss": SpikeCountError(correct=3.0, wrong=0.5, when="every-step"),
        "chunk": 16,
    },
    "last step": {"rule": DFA(trace=PerNeuron()), "loss": CrossEntropy(when="last"), "readout": "leaky"},
    "from a step on": {"rule": DRTP(trace=PerNeuron()), "loss": CrossEntropy(when=5), "chunk": 9},
    "values over time": {"rule": EProp(feedback="symmetric"), "loss": MeanSquaredError(), "over time": True},
    "anchored": {"rule": SBD(trace=PerNeuron()), "readout": "leaky"},
    "without hidden learning": {"rule": ReadoutOnly(), "readout": "leaky"},
    "convolution": IMAGE | {"rule": FDFA(trace=PerNeuron()), "chunk": 11},
    "convolution, exact": IMAGE | {"rule": FDFA(trace=PerSynapse())},
    "rate target": {"rule": DFA(trace=PerNeuron()), "rate": RateRegulariser(strength=0.5), "chunk": 9},
    "rate target, exact": {
        "rule": FDFA(trace=PerSynapse(downstream=True), fraction=0.5),
        "rate": RateRegulariser(strength=0.5),
        "readout": "leaky",
        "dropout": 0.3,
        "chunk": 11,
        "threads": 2,
        "hard": True,
    },
    "rate target, convolution": IMAGE | {"rule": DFA(trace=PerSynapse()), "rate": RateRegulariser()},
    "dense": {"rule": FDFA(trace=PerNeuron()), "currents": True, "chunk": 12},
    "dense, exact": {"rule": DFA(trace=PerSynapse()), "currents": True, "hard": True},
}
NAMED = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def build(case: dict[str, Any], dtype: torch.dtype) -> tuple[Network, torch.Tensor, torch.Tensor]:
    g, batch = torch.Generator().manual_seed(1), len(LENGTHS)
    x = (torch.rand(STEPS, batch, 50, generator=g) < 0.2).to(dtype)
    if case.get("currents"):
        x = x * torch.rand(x.shape, generator=g, dtype=dtype)
    lif = LIF(tau_syn=3e-3, reset="hard" if case.get("hard") else "soft")
    options = {k: case[k] for k in ("readout", "recurrent", "dropout", "input_dropout", "shape") if k in case}
    network = feed_forward(
        50, case.get("hidden", (40, 24)), 7, neuron=lif, bias=True, generator=g, **options
    ).to(dtype)
    scale_to_rate(network, x[:20], 0.1, rounds=6)
    for layer in network.hidden:
        torch.nn.init.uniform_(layer.synapse.module.bias, -0.05, 0.05, generator=g)
    for place, own in enumerate(LENGTHS.tolist()):
        x[own:, place] = 1.0  # whatever stands behind the end: it must not count
    if isinstance(case.get("loss"), MeanSquaredError):
        return network, x, torch.randn(STEPS, batch, 7, generator=g, dtype=dtype)
    return network, x, torch.randint(0, 7, (batch,), generator=g)


def trainer_of(network: Network, case: dict[str, Any], *, events: bool) -> Trainer:
    more = {"threads": case.get("threads", 1), "chunk": case.get("chunk")} if events else {}
    return Trainer(
        network, case["rule"], torch.optim.SGD(network.parameters(), lr=0.05), loss=case.get("loss"),
        rate_regulariser=case.get("rate"), generator=torch.Generator().manual_seed(3), probes="reference",
        engine="events" if events else "reference", **more,
    )  # fmt: skip


@NAMED
def test_same_numbers_in_double_precision(case: dict[str, Any]) -> None:
    found, scores = list[tuple[Any, ...]](), list[torch.Tensor]()
    for events in (False, True):
        network, x, target = build(case, torch.float64)
        trainer = trainer_of(network, case, events=events)
        gradients = trainer.gradients(x, target, LENGTHS)
        found.append((trainer, gradients, [trainer.step(x, target, LENGTHS) for _ in range(3)]))
        scores.append(trainer.predict(x, LENGTHS))
    same_learning(found[0], found[1], weights=1e-10)
    torch.testing.assert_close(*scores, rtol=1e-9, atol=1e-12)


@NAMED
def test_single_precision_within_rounding(case: dict[str, Any]) -> None:
    network, x, target = build(case, torch.float32)
    there = trainer_of(network, case, events=False).gradients(x, target, LENGTHS)
    here = trainer_of(network, case, events=True).gradients(x, target, LENGTHS)
    for a, b in zip(there, here, strict=True):
        close(a, b, 1e-5)


def test_batches_of_one_shape_with_and_without_lengths_do_not_mix() -> None:
    case = CASES["recurrent"]
    network, x, target = build(case, torch.float64)
    trainer = trainer_of(network, case, events=True)
    own = LENGTHS.flip(0)
    for lengths in (LENGTHS, None, own, torch.full_like(own, 11), LENGTHS):
        fresh = trainer_of(network, case, events=True)
        found, wanted = (each.gradients(x, target, lengths) for each in (trainer, fresh))
        for a, b in zip(found, wanted, strict=True):
            close(a, b, 1e-13)


def test_lists_of_events_have_lengths_of_their_own() -> None:
    case = CASES["fdfa"]
    network, x, target = build(case, torch.float32)
    samples = [EventList.of_dense(x[:n, place].numpy()) for place, n in enumerate(LENGTHS.tolist())]
    events, own = stacked(samples)
    lengths = torch.tensor(own)
    trainer = trainer_of(network, case, events=True)
    for a, b in zip(
        trainer.gradients(events, target, lengths), trainer.gradients(x, target, LENGTHS), strict=True
    ):
        assert torch.equal(a, b)
    for x_t, own in ((events, lengths), (x, LENGTHS)):
        stats = trainer_of(build(case, torch.float32)[0], case, events=True).step(x_t, target, own)
        assert bool(stats.loss > 0)


def test_what_stands_behind_the_end_counts_nowhere() -> None:
    """Two batches that differ there alone, one of them in its length, too."""
    case = CASES["recurrent, short chunks"]
    network, x, target = build(case, torch.float32)
    longer = torch.cat([x, torch.ones(200, *x.shape[1:])])
    trainer = trainer_of(network, case, events=True)
    here, there = trainer.gradients(x, target, LENGTHS), trainer.gradients(longer, target, LENGTHS)
    for a, b in zip(here, there, strict=True):
        close(a, b, 1e-5)
