"""Thinning of input spikes."""

import numpy as np
import pytest
import torch

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.density import thinned
from neurofdfa.data.event_lists import EventList, Events
from neurofdfa.data.load import load
from neurofdfa.data.recordings import EventStore
from neurofdfa.errors import UserError


@pytest.mark.parametrize("encode", ["poisson", "latency"])
def test_encoded_images_keep_a_share_of_their_spikes(encode: str) -> None:
    data = load("digits", steps=12, encoder=encode, max_rate=1.0)
    thin = thinned(data, 0.25)
    counts = []
    for one in (data, thin):
        x, _ = next(one.validation.batches(200))
        assert set(x.unique().tolist()) == {0.0, 1.0}
        counts.append(float(x.sum()))
    assert counts[1] / counts[0] == pytest.approx(0.25, abs=0.02)
    fresh = [next(thin.train.batches(8, seed=s))[0] for s in (1, 1, 2)]
    assert torch.equal(fresh[0], fresh[1])
    assert not torch.equal(fresh[0], fresh[2])


def test_evaluation_does_not_depend_on_the_batch_size() -> None:
    thin = thinned(load("digits", steps=5, encoder="poisson"), 0.5)
    sizes = [torch.cat([x for x, _ in thin.validation.batches(n)], 1) for n in (7, 360)]
    assert torch.equal(*sizes)


def test_recordings_lose_the_same_spikes_for_good() -> None:
    options = {"train": 60, "validation": 30, "test": 30}
    data = load("randman", steps=20, **options)
    thin, again = (thinned(load("randman", steps=20, **options), 0.6) for _ in range(2))
    assert torch.equal(thin.train.inputs, again.train.inputs)
    for full, part in ((data.train, thin.train), (data.open_test(), thin.open_test())):
        assert bool((part.inputs <= full.inputs).all())
        assert float(part.inputs.sum() / full.inputs.sum()) == pytest.approx(0.6, abs=0.06)
    with pytest.raises(UserError):
        thin.open_test()


def test_lists_of_events_lose_the_same_spikes_for_good() -> None:
    lists = [EventList.of_events(range(200), [k] * 200, 200, 5) for k in range(5)]
    recordings = EventStore.of(lists, 5).recordings()
    data = Dataset("lists", "spikes", 5, 5, 200, *(Split(recordings, torch.arange(5)),) * 2, SealedSplit(
        Split(recordings, torch.arange(5))
    ))  # fmt: skip
    thin, again = (next(thinned(data, 0.5).train.batches(5))[0] for _ in range(2))
    assert isinstance(thin, Events)
    assert isinstance(again, Events)
    assert np.array_equal(thin.channels, again.channels)
    assert len(thin) / 1000 == pytest.approx(0.5, abs=0.06)
    assert bool((thin.dense() <= Events.of_lists(lists).dense()).all())
    assert not torch.equal(thin.dense()[:, 0, 0], thin.dense()[:, 1, 1])


def test_currents_have_no_density() -> None:
    with pytest.raises(UserError, match="currents"):
        thinned(load("digits", encoder="direct"), 0.5)
    with pytest.raises(UserError, match="density"):
        thinned(load("digits", encoder="poisson"), 0.0)
