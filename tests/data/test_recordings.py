"""Event lists from file to batch: stores, splits as torch data sets, batches of unequal lengths."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from neurofdfa.data import Dataset, EventList, Events, SealedSplit, Split, collate
from neurofdfa.data.cache import cached_store
from neurofdfa.data.recordings import EventStore, Recordings, write_store
from neurofdfa.errors import UserError


def lists(size: int = 7, n: int = 30, unequal: bool = False) -> list[EventList]:
    rng = np.random.default_rng(0)
    made = [rng.random((20 - k * unequal, n)) < 0.1 for k in range(size)]
    made[2][:] = False  # an empty recording
    return [EventList.of_dense(x) for x in made]


def split(unequal: bool = False) -> Split:
    return Split(EventStore.of(lists(unequal=unequal), 30).recordings(), torch.arange(7) % 2)


def same(one: EventList, two: EventList) -> bool:
    return np.array_equal(one.channels, two.channels) and np.array_equal(one.counts, two.counts)


def test_lists_by_hand() -> None:
    events = EventList.of_events([3, 0, 3, 3], [1, 2, 1, 0], steps=5, n=3)
    assert events.channels.tolist() == [2, 0, 1]
    assert events.counts.tolist() == [1, 0, 0, 2, 0]
    assert (len(events), events.steps, events.times.tolist()) == (3, 5, [0, 3, 3])
    assert events.dense().nonzero().tolist() == [[0, 2], [3, 0], [3, 1]]
    assert same(EventList.of_dense(events.dense().numpy()), events)
    with pytest.raises(UserError, match=r"the recording has an event at time 5, outside 0\.\.4"):
        EventList.of_events([5], [0], steps=5, n=3)


@pytest.mark.parametrize("n", [30, 70_000])
def test_a_store_gives_back_what_it_was_given(tmp_path: Path, n: int) -> None:
    given = [EventList(sample.channels, sample.counts, n) for sample in lists(unequal=True)]
    write_store(tmp_path / "kept", iter(given), n)
    mapped = EventStore.open(tmp_path / "kept")
    assert isinstance(mapped.channels.base, np.memmap)
    assert mapped.channels.dtype.itemsize == (2 if n == 30 else 4)
    assert np.load(tmp_path / "kept" / "channels.npy", mmap_mode="r").shape == (sum(map(len, given)),)
    for store in (mapped, EventStore.of(given, n), pickle.loads(pickle.dumps(mapped))):
        assert len(store) == len(given)
        assert store.lengths.tolist() == [sample.steps for sample in given]
        assert all(same(store[i], sample) for i, sample in enumerate(given))
    assert len(pickle.dumps(mapped)) < 500  # a worker is sent the folder's name, not what is in it


def test_a_store_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield lists()[0]
        raise UserError("the second recording is damaged")

    with pytest.raises(UserError, match="second recording"):
        write_store(tmp_path / "kept", broken(), 30)
    assert not list(tmp_path.iterdir())
    write_store(tmp_path / "kept", lists(), 30)
    content = (tmp_path / "kept" / "channels.npy").read_bytes()
    (tmp_path / "kept" / "channels.npy").write_bytes(content[:-10])
    with pytest.raises(UserError, match="kept is damaged"):
        EventStore.open(tmp_path / "kept")


def test_the_cache_is_found_again_and_made_anew_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recording.bin"
    file.write_bytes(b"12345")
    calls: list[int] = []

    def make() -> list[EventList]:
        calls.append(1)
        return lists()

    def load(settings: int = 1) -> EventStore:
        return cached_store("toy", [file], settings, 30, make)

    load()
    load()
    assert len(calls) == 2  # tests run without a cache unless they ask for one
    monkeypatch.setenv("NEUROFDFA_CACHE", str(tmp_path / "cache"))
    assert same(load()[1], load()[1])
    assert len(calls) == 3
    load(settings=2)
    file.write_bytes(b"1234567890")
    load()
    assert len(calls) == 5
    for folder in (tmp_path / "cache").iterdir():
        (folder / "counts.npy").write_bytes(b"")
    load()
    assert len(calls) == 6
    monkeypatch.setenv("NEUROFDFA_CACHE", str(file))
    with pytest.warns(UserWarning, match="cannot be written"):
        load()


def test_splits_are_torch_data_sets_of_lists() -> None:
    data = split()
    assert isinstance(data, torch.utils.data.Dataset)
    sample, target = data[3]
    assert isinstance(sample, EventList)
    assert target == 1
    assert isinstance(data[-1][0], EventList)
    with pytest.raises(IndexError):
        data[7]
    assert len(data.select(torch.tensor([5, 1]))) == 2
    assert same(data.select(torch.tensor([5, 1]))[0][0], data[5][0])  # type: ignore[arg-type]
    assert data.to("cpu").lengths is None


def test_batches_are_lists_in_an_order_that_the_seed_gives() -> None:
    data, dense = split(), torch.stack([sample.dense() for sample in lists()], 1)
    parts = list(data.batches(3))
    assert [part[0].shape for part in parts] == [(20, 3, 30), (20, 3, 30), (20, 1, 30)]
    assert all(isinstance(part[0], Events) and len(part) == 2 for part in parts)
    assert torch.equal(torch.cat([part[0].dense() for part in parts], 1), dense)  # type: ignore[union-attr]
    one, two, three = (
        torch.cat([part[1] for part in data.batches(3, seed=seed)]).tolist() for seed in (0, 0, 1)
    )
    assert one == two
    assert one != three
    assert sorted(one) == sorted(three)
    with pytest.raises(UserError, match="batch size is 0"):
        next(data.batches(0))


def test_unequal_lengths_are_filled_up_with_silence_and_told() -> None:
    data = split(unequal=True)
    assert data.lengths is not None
    assert data.lengths.tolist() == [20, 19, 18, 17, 16, 15, 14]
    for first, (x, target, lengths) in zip((0, 3, 6), data.batches(3), strict=True):  # type: ignore[misc]
        assert lengths.tolist() == data.lengths[first : first + 3].tolist()
        assert x.shape == (int(lengths.max()), len(target), 30)
        for b, length in enumerate(lengths.tolist()):
            sample = data[first + b][0]
            assert isinstance(sample, EventList)
            assert torch.equal(x.dense()[:length, b], sample.dense())
            assert not x.dense()[length:, b].any()


def test_collate_pads_values_and_targets_over_time() -> None:
    samples = [(torch.ones(3, 2), torch.full((3, 1), 5.0)), (torch.ones(5, 2), torch.full((5, 1), 6.0))]
    x, target, lengths = collate(samples)  # type: ignore[misc]
    assert (x.shape, target.shape, lengths.tolist()) == ((5, 2, 2), (5, 2, 1), [3, 5])
    assert x[:, 0, 0].tolist() == [1, 1, 1, 0, 0]
    assert target[:, 0, 0].tolist() == [5, 5, 5, 0, 0]
    assert len(collate(samples[:1])) == 2
    assert len(collate(samples[:1], lengths=True)) == 3
    frames = np.zeros((4, 1, 2, 3), np.uint8)
    images, labels = collate([(frames, 1), (frames, 0)])  # type: ignore[misc]
    assert (images.shape, images.dtype, labels.tolist()) == ((4, 2, 6), torch.float32, [1, 0])
    values = collate([(torch.ones(3, 2), [0.5, 1.0])] * 2)[1]
    assert (values.shape, values.dtype) == ((2, 2), torch.float32)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "at least one sample"),
        ([(torch.ones(3, 2), 0), (torch.ones(3, 4), 0)], r"differ in channels: \[2, 4\]"),
        ([(torch.ones(3), 0)], r"shape \[3\]"),
        ([(torch.ones(3, 2), "yes")], "a target is 'yes'"),
        ([(torch.ones(3, 2), 0), (EventList.of_dense(np.ones((3, 2))), 0)], "event lists and tensors"),
        ([(torch.ones(3, 2), torch.ones(4, 1))], "as many steps"),
        ([("spikes", 0)], "a sample is a str"),
        ([(torch.ones(3, 2), 0), (torch.ones(3, 2), torch.ones(2))], "must all be"),
    ],
)
def test_samples_that_do_not_fit_together(samples: list[tuple[object, object]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        collate(samples)
    with pytest.raises(UserError, match="3 to 5 time steps"):
        collate([(torch.ones(3, 2), 0), (torch.ones(5, 2), 0)], lengths=False)


@pytest.mark.parametrize("unequal", [False, True])
def test_torch_loads_with_workers(tmp_path: Path, unequal: bool) -> None:
    write_store(tmp_path / "kept", lists(unequal=unequal), 30)
    data = Split(EventStore.open(tmp_path / "kept").recordings(), torch.arange(7) % 2)
    loader = DataLoader(data, batch_size=3, num_workers=2, collate_fn=collate, pin_memory=True)
    for loaded, own in zip(loader, data.batches(3), strict=True):
        assert isinstance(loaded[0], Events)
        assert torch.equal(loaded[0].dense(), own[0].dense())  # type: ignore[union-attr]
        assert all(torch.equal(a, b) for a, b in zip(loaded[1:], own[1:], strict=False))


def test_torch_loads_encoded_images() -> None:
    from neurofdfa.data import load

    data = load("digits", steps=6, encoder="poisson")
    x, target = next(iter(DataLoader(data.train, batch_size=5, collate_fn=collate)))
    assert (x.shape, target.shape) == ((6, 5, 64), (5,))
    assert torch.equal(x, x.bool().float())
    torch.manual_seed(3)
    one = data.train[0][0]
    torch.manual_seed(3)
    assert torch.equal(one, data.train[0][0])  # type: ignore[arg-type]
    assert not torch.equal(one, data.train[0][0])  # type: ignore[arg-type]
    assert next(data.train.batches(64, seed=2))[0].shape == (6, 64, 64)


def test_a_sealed_split_stays_open_once_it_was_opened() -> None:
    from dataclasses import replace

    data = Dataset("toy", "spikes", 30, 2, 20, split(), split(), SealedSplit(split()))
    data.open_test()
    with pytest.raises(UserError, match="opened already"):
        replace(data, name="again").open_test()


def test_recordings_are_read_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def read(number: int) -> EventList:
        asked.append(number)
        return lists()[number]

    data = Split(Recordings(read, 7, 30), torch.arange(7) % 2)
    part = data.select(slice(2, 6))
    assert asked == []
    next(part.batches(2))
    assert asked == [2, 3]


SIXTY_THOUSAND = """
import resource, sys, time
from pathlib import Path
import numpy as np, torch
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import EventStore, write_store
from neurofdfa.data.dataset import Split

# 4100 events in 100 steps of 2 x 34 x 34 pixels, like a recording of N-MNIST; 200 are drawn and take turns.
rng = np.random.default_rng(0)
drawn = []
for _ in range(200):
    counts = rng.multinomial(4100, np.full(100, 0.01)).astype(np.int32)
    channels = np.concatenate([np.sort(rng.choice(2312, k, replace=False)) for k in counts])
    drawn.append(EventList(channels.astype(np.int32), counts, 2312))
folder = Path(sys.argv[1]) / "kept"
write_store(folder, (drawn[k % 200] for k in range(60_000)), 2312)
data = Split(EventStore.open(folder).recordings(), torch.arange(60_000) % 10)
started, events = time.process_time(), 0
for x, target in data.batches(64, seed=0):
    events += len(x)
assert events == 60_000 * 4100
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, time.process_time() - started)
"""


@pytest.mark.serial
def test_sixty_thousand_recordings_fit_into_bounded_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIXTY_THOUSAND, str(tmp_path)], capture_output=True, text=True, check=True
    )
    gibibytes, _ = map(float, done.stdout.split())
    assert gibibytes <= 1.5
