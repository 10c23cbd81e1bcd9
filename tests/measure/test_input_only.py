"""The control without a network, by hand."""

import numpy as np
import pytest
import torch

from neurofdfa.data import Dataset, SealedSplit, Split, load
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import EventStore
from neurofdfa.errors import UserError
from neurofdfa.measure.input_only import input_only


def recordings(size: int, seed: int, by_time: bool) -> Split:
    """Two classes that differ in how often channel 0 spikes, or only in when it does."""
    rng = np.random.default_rng(seed)
    lists: list[EventList] = []
    for number in range(size):
        spikes = rng.random((20, 5)) < 0.2
        spikes[:, 0] = False
        late = number % 2
        if by_time:
            spikes[10 * late : 10 * late + 5, 0] = True
        else:
            spikes[: 3 + 6 * late, 0] = True
        lists.append(EventList.of_dense(spikes))
    return Split(EventStore.of(lists, 5).recordings(), torch.arange(size) % 2)


def made(by_time: bool) -> Dataset:
    train, validation, test = (recordings(n, k, by_time) for k, n in enumerate((80, 40, 40)))
    return Dataset("toy", "spikes", 5, 2, 20, train, validation, SealedSplit(test))


def test_counts_are_seen_and_times_are_not() -> None:
    found = input_only(made(by_time=False))
    assert found.validation == found.test == 1.0
    assert found.strength in dict(found.candidates)
    assert found.validation == max(dict(found.candidates).values())
    assert input_only(made(by_time=True)).test < 0.75


def test_generated_timing_says_nothing_to_it() -> None:
    data = load("randman", classes=4, n_in=8, steps=30, train=300, validation=200, test=200)
    assert input_only(data, [0.1]).test < 0.4
    with pytest.raises(UserError, match="opened already"):
        input_only(data)


def test_what_it_cannot_do() -> None:
    with pytest.raises(UserError, match="positive"):
        input_only(made(True), [])
    split = Split(torch.zeros(4, 5, 2), torch.zeros(4, 5, 1))
    line = Dataset("line", "sequence", 2, 1, 5, split, split, SealedSplit(split), task="regression")
    with pytest.raises(UserError, match="values to predict"):
        input_only(line)
