"""Lists of events instead of tensors: the same numbers, and refusals."""

from typing import Any

import numpy as np
import pytest
import torch

from neurofdfa import events
from neurofdfa.data.event_lists import check_total
from neurofdfa.errors import UserError
from neurofdfa.events import Events
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DRTP, FDFA
from neurofdfa.train.trainer import Trainer


def spikes(steps: int = 23, batch: int = 5, n: int = 70) -> torch.Tensor:
    x = (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(0)) < 0.1).double()
    x[:, 2] = 0  # an empty list
    return x


@pytest.mark.parametrize(("rule", "readout"), [(FDFA(fraction=0.5), "integrator"), (DRTP(), "spike-count")])
def test_the_same_as_a_tensor(rule: Any, readout: Any) -> None:
    x, target = spikes(), torch.tensor([0, 1, 2, 0, 1])
    results: list[list[torch.Tensor]] = []
    for given in (x, Events.of(x)):
        network = feed_forward(
            70,
            [40, 90],
            3,
            generator=torch.Generator().manual_seed(1),
            input_dropout=0.2,
            readout=readout,
            neuron=LIF(reset="soft", decay_bits=None),
        ).double()
        for p in network.parameters():
            p.data.mul_(5)
        learner = Trainer(
            network,
            rule,
            torch.optim.Adam(network.parameters(), lr=1e-3),
            threads=2,
            chunk=10,
            engine="events",
        )
        for _ in range(3):
            learner.step(given, target)
        y = events.run(network, given).y
        results.append([y, *(p.detach() for p in network.parameters())])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)
    assert float(results[0][0].abs().max()) > 0


def test_round_trip_in_any_order() -> None:
    x = spikes()
    given = Events.of(x)
    assert len(given) == int(x.sum())
    assert torch.equal(given.dense(torch.float64), x)
    shuffle = np.random.default_rng(0)
    samples: list[tuple[Any, Any]] = []
    for b in range(x.shape[1]):
        times, neurons = x[:, b].nonzero().numpy().T
        order = shuffle.permutation(len(times))
        samples.append((times[order], neurons[order].tolist()))
    assert torch.equal(Events(samples, 23, 70).dense(torch.float64), x)


def test_events_twice_are_refused_or_merged() -> None:
    samples = [([1, 1, 0], [3, 3, 2]), ([], [])]
    with pytest.raises(UserError, match="sample 0 has 1 events twice"):
        Events(samples, 4, 5)
    assert len(Events(samples, 4, 5, merge=True)) == 2


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (([0, 4], [0, 0]), "at time 4, outside 0..3"),
        (([0, -1], [0, 0]), "at time -1"),
        (([0], [5]), "at neuron 5, outside 0..4"),
        (([0, 1], [0]), "two lists alike"),
        (([0.5], [0]), "whole times"),
    ],
)
def test_bad_events(sample: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Events([sample], 4, 5)


def test_no_samples_other_network_too_many() -> None:
    with pytest.raises(UserError, match="events need"):
        Events([], 4, 5)
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    given = Events([([0], [1])], 4, 5)
    with pytest.raises(UserError):
        events.run(network, given)
    with pytest.raises(UserError):
        Trainer(network, FDFA(), threads=1, engine="events").step(given, torch.zeros(1, dtype=torch.int64))
    check_total(2**31 - 1)
    with pytest.raises(UserError, match="at most 2147483647 events"):
        check_total(2**31)
