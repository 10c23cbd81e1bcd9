"""The control without timing: the same steps in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from neurofdfa.data import Dataset, EventList, SealedSplit, Split
from neurofdfa.data.augment import DropEvents, ShuffleSteps
from neurofdfa.data.load import load
from neurofdfa.data.order import shuffled
from neurofdfa.data.recordings import EventStore
from neurofdfa.errors import UserError
from neurofdfa.lab.build import build_data
from neurofdfa.lab.config import RunConfig


def recordings(lengths: tuple[int, ...] = (12, 7, 12, 9)) -> Split:
    rng = np.random.default_rng(0)
    lists = [EventList.of_dense(rng.random((steps, 6)) < 0.3) for steps in lengths]
    return Split(EventStore.of(lists, 6).recordings(), torch.arange(len(lists)) % 2)


def steps_of(x: torch.Tensor) -> list[tuple[float, ...]]:
    """The steps of one sample, [T, n], without their order."""
    return sorted(tuple(map(float, row)) for row in x)


def test_lists_and_values_are_put_in_the_same_order() -> None:
    for seed in range(5):
        events = EventList.of_dense(np.random.default_rng(seed).random((20, 7)) < 0.2)
        dense = events.dense(torch.float32)
        one = ShuffleSteps()(events, torch.Generator().manual_seed(seed))
        two = ShuffleSteps()(dense, torch.Generator().manual_seed(seed))
        assert isinstance(one, EventList)
        assert torch.equal(one.dense(torch.float32), two)
        assert not torch.equal(two, dense)
        assert steps_of(two) == steps_of(dense)
    assert len(ShuffleSteps()(EventList.of_events([], [], 5, 3), torch.Generator())) == 0


def test_recordings_keep_their_steps_and_their_lengths() -> None:
    split = recordings()
    data = Dataset("toy", "spikes", 6, 2, 12, split, split, SealedSplit(split), augment=DropEvents(0.0))
    control = shuffled(data)
    for part, same in (
        (control.train, False),
        (control.validation, True),
        (control.open_test(), True),
    ):
        x, _, lengths = next(part.batches(4))
        before, _, own = next(data.validation.batches(4))
        assert torch.equal(lengths, own)
        if same:
            assert not torch.equal(x.dense(), before.dense())
            assert torch.equal(x.dense(), next(part.batches(4))[0].dense())
            for row, length in enumerate(own):
                assert steps_of(x.dense()[:length, row]) == steps_of(before.dense()[:length, row])
                assert not bool(x.dense()[length:, row].any())
    one, two = (next(control.train.batches(4, seed=seed)) for seed in (1, 2))
    order = [torch.randperm(4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    first = [batch[0].dense()[:, where.argsort()] for batch, where in zip((one, two), order, strict=True)]
    assert not torch.equal(*first)
    assert [steps_of(a) for a in first[0].unbind(1)] == [steps_of(b) for b in first[1].unbind(1)]
    # one sample does not depend on the others in its batch, nor on the batch size
    alone = [x.dense()[: int(n[0])] for x, _, n in control.validation.batches(1)]
    x, _, lengths = next(control.validation.batches(4))
    assert all(torch.equal(x.dense()[:n, row : row + 1], alone[row]) for row, n in enumerate(lengths))


@pytest.mark.parametrize("name", ["randman", "digits"])
def test_generated_and_encoded_samples_lose_their_order(name: str) -> None:
    options: dict[str, Any] = {"train": 40, "validation": 20, "test": 20} if name == "randman" else {}
    encoder = "latency" if name == "digits" else "poisson"
    data, control = (load(name, steps=15, encoder=encoder, **options) for _ in range(2))
    control = shuffled(control)
    before, after = (next(d.validation.batches(20))[0] for d in (data, control))
    before, after = (x if isinstance(x, torch.Tensor) else x.dense().float() for x in (before, after))
    assert not torch.equal(before, after)
    assert [steps_of(x) for x in before.unbind(1)] == [steps_of(x) for x in after.unbind(1)]
    learnt = next(control.train.batches(20, seed=3))[0]
    again = next(control.train.batches(20, seed=3))[0]
    assert torch.equal(torch.as_tensor(learnt), torch.as_tensor(again))


def test_a_run_asks_for_it_by_name() -> None:
    settings = {"data.name": "digits", "data.encoder": "latency", "data.steps": 10}
    kept = build_data(RunConfig().with_settings(settings).data, 0)
    lost = build_data(RunConfig().with_settings(settings | {"data.order": "shuffled"}).data, 0)
    assert not torch.equal(*(next(d.validation.batches(9))[0] for d in (kept, lost)))  # type: ignore[arg-type]


def test_targets_over_time_have_an_order() -> None:
    split = Split(torch.zeros(4, 5, 2), torch.zeros(4, 5, 1))
    data = Dataset("line", "sequence", 2, 1, 5, split, split, SealedSplit(split), task="regression")
    with pytest.raises(UserError, match="target at every step"):
        shuffled(data)
