"""Augmentations by hand, on events and on frames alike, seeded, in training alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neurofdfa.data import Dataset, EventList, SealedSplit, Split, augment
from neurofdfa.data.recordings import EventStore
from neurofdfa.errors import UserError


def sample(seed: int = 0, share: float = 0.2) -> EventList:
    return EventList.of_dense(np.random.default_rng(seed).random((25, 2 * 4 * 5)) < share)


def dense(x: Any) -> torch.Tensor:
    return x.dense(torch.float32) if isinstance(x, EventList) else x


ALIKE: dict[str, Callable[[], augment.Augmentation]] = {
    "shift": lambda: augment.TimeShift(6),
    "places": lambda: augment.ChannelShift(3, (2, 4, 5)),
    "line": lambda: augment.ChannelShift(7, (40,)),
    "speed, slower or faster": lambda: augment.Speed(0.0),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("seed", range(4))
def test_events_and_frames_are_changed_alike(name: str, seed: int) -> None:
    change, events = ALIKE[name](), sample()
    one = change(events, torch.Generator().manual_seed(seed))
    two = change(dense(events), torch.Generator().manual_seed(seed))
    assert torch.equal(dense(one), two)


def test_shifts_by_hand() -> None:
    events = EventList.of_events([0, 3], [0, 39], steps=5, n=40)
    moves = [augment.TimeShift(1)(events, torch.Generator().manual_seed(s)) for s in range(20)]
    found = {tuple(map(tuple, dense(moved).nonzero().tolist())) for moved in moves}
    assert found == {((0, 0), (3, 39)), ((1, 0), (4, 39)), ((2, 39),)}
    change = augment.ChannelShift(1, (2, 4, 5))
    moves = [change(events, torch.Generator().manual_seed(s)) for s in range(60)]
    places = {tuple(moved.channels.tolist()) for moved in moves}  # type: ignore[union-attr]
    # down and right by −1, 0 or 1: the first pixel of the first group and the last of the second
    assert places == {(0, 39), (1,), (5,), (6,), (38,), (34,), (33,), ()}


def test_events_jitter_and_none_is_lost() -> None:
    events = sample(share=0.02)
    moved = augment.TimeJitter(2.0)(events, torch.Generator().manual_seed(0))
    assert moved.channels.max() < 40
    assert 0.9 * len(events) <= len(moved) <= len(events)
    assert not torch.equal(dense(moved), dense(events))
    assert torch.equal(dense(augment.TimeJitter(0.0)(events, torch.Generator())), dense(events))
    frames = augment.TimeJitter(1.0)(dense(events), torch.Generator().manual_seed(0))
    assert frames.shape == (25, 40)


def test_events_are_dropped_at_random() -> None:
    events = sample(share=0.9)
    for given in (events, dense(events)):
        left = dense(augment.DropEvents(0.3)(given, torch.Generator().manual_seed(0)))
        assert bool((left <= dense(events)).all())
        assert float(left.sum() / len(events)) == pytest.approx(0.7, abs=0.05)


def test_speed_stretches_time() -> None:
    events = EventList.of_events([2, 10], [0, 1], steps=25, n=2)
    ends: list[float] = []
    for seed in range(50):
        times = augment.Speed(0.5)(events, torch.Generator().manual_seed(seed)).times
        ends.append(float(times[1]))
    assert min(ends) == 7.0
    assert 14 <= max(ends) <= 15
    frames = torch.zeros(25, 2)
    frames[10:20, 0] = 1.0
    lengths = {int(augment.Speed(0.5)(frames, torch.Generator().manual_seed(s)).sum()) for s in range(50)}
    assert min(lengths) < 8
    assert max(lengths) > 11


def test_images_are_cropped_and_mirrored() -> None:
    images = torch.arange(2 * 3 * 4 * 4).float().view(2, -1)
    flipped = augment.Flip((3, 4, 4))
    rows = {tuple(flipped(images, torch.Generator().manual_seed(s))[0, :4].tolist()) for s in range(20)}
    assert rows == {(0.0, 1.0, 2.0, 3.0), (3.0, 2.0, 1.0, 0.0)}
    both = augment.chain([augment.Crop(1, (3, 4, 4)), flipped])
    assert both is not None
    assert both(images, torch.Generator().manual_seed(0)).shape == images.shape
    assert augment.chain([]) is None


def test_training_is_augmented_and_repeats_with_its_seed() -> None:
    store = EventStore.of([sample(seed) for seed in range(6)], 40)
    split = Split(store.recordings(), torch.arange(6) % 2)
    data = Dataset(
        "toy", "spikes", 40, 2, 25, split, split, SealedSplit(split), augment=augment.DropEvents(0.5)
    )
    plain = torch.cat([x.dense() for x, _ in data.validation.batches(6)], 1)  # type: ignore[union-attr,misc]
    assert int(plain.sum()) == len(store.channels)
    one, two, three = (next(data.train.batches(6, seed=s))[0].dense() for s in (1, 1, 2))  # type: ignore[union-attr]
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert 0.3 < float(one.sum() / plain.sum()) < 0.7
    assert torch.equal(next(data.train.batches(6))[0].dense(), plain)  # type: ignore[union-attr]
    torch.manual_seed(0)
    first = data.train[0][0]
    assert isinstance(first, EventList)
    assert len(first) < len(store[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.TimeJitter(-1.0), "time_jitter is -1"),
        (lambda: augment.TimeShift(-1), "time_shift is -1"),
        (lambda: augment.ChannelShift(-1, (5,)), "channel_shift is -1"),
        (lambda: augment.DropEvents(1.0), "drop is 1"),
        (lambda: augment.Speed(float("nan")), "speed is nan"),
        (lambda: augment.Crop(4, (3, 4, 4)), "shift by 0 to 3"),
    ],
)
def test_augmentations_that_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
