"""Other people's data sets go into training as they are: torch's, tonic's, tables of columns, streams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import neurofdfa as nf
from neurofdfa.data import Binning, Dataset, EventList, Samples, collate
from neurofdfa.errors import UserError


def spikes(number: int, steps: int = 20) -> np.ndarray:
    """A sample whose class can be seen: its half of the channels is the busy one."""
    rng = np.random.default_rng(number)
    busy = np.repeat([0.6, 0.05] if number % 2 else [0.05, 0.6], 4)
    return (rng.random((steps, 8)) < busy).astype(np.float32)


class OfTorch(torch.utils.data.Dataset[Any]):
    def __init__(self, size: int = 40, unequal: bool = False) -> None:
        self.size, self.unequal, self.read = size, unequal, 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        self.read += 1
        return spikes(number, 20 + (number % 3 if self.unequal else 0)), number % 2


class Table:
    """Rows and columns, as Hugging Face's data sets hand them out."""

    def __init__(self, size: int = 40) -> None:
        self.size = size
        self.column_names = ["spikes", "label"]
        self.features = {"spikes": None, "label": SimpleNamespace(names=["low", "high", "none"])}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: int | str) -> Any:
        if key == "label":
            return [number % 2 for number in range(self.size)]
        assert isinstance(key, int)
        return {"spikes": spikes(key).tolist(), "label": key % 2}


class Stream:
    """Rows of which nobody knows how many there are."""

    def __init__(self, size: int = 40) -> None:
        self.size, self.epochs = size, []  # type: ignore[var-annotated]

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self.size):
            yield {"spikes": spikes(number), "label": number % 2}


def trainer(**given: Any) -> nf.Trainer:
    network = nf.feed_forward(8, [16], 2, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    return nf.Trainer(network, nf.FDFA(), optimizer, generator=torch.Generator().manual_seed(1), **given)


@pytest.mark.parametrize("batch_first", [None, False, True])
@pytest.mark.parametrize("make", [OfTorch, Table, Stream, lambda: Samples(Stream())])
def test_any_of_them_is_learnt_from(make: Any, batch_first: bool | None) -> None:
    learner = trainer(batch_first=batch_first)
    stats = learner.fit(make(), make(), epochs=4, batch=8, progress=False)
    assert stats[-1].validation_accuracy == 1.0
    assert learner.evaluate(make()).accuracy == 1.0


def test_the_numbers_are_those_of_the_same_batches_by_hand() -> None:
    source = OfTorch(unequal=True)
    one, two = trainer(), trainer()
    one.fit(source, epochs=2, batch=8, progress=False)
    for epoch in range(2):
        order = torch.randperm(40, generator=torch.Generator().manual_seed(epoch))
        for part in order.split(8):
            two.step(*collate([source[int(number)] for number in part]))
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_stream_keeps_its_order_and_hears_of_the_epoch() -> None:
    source = Stream(6)
    trainer().fit(source, epochs=3, batch=4, progress=False)
    assert source.epochs == [0, 1, 2]
    (first, target), (second, _) = Samples(Stream(6)).batches(4, seed=3)  # type: ignore[misc]
    assert first.shape == (20, 4, 8)
    assert second.shape == (20, 2, 8)
    assert target.tolist() == [0, 1, 0, 1]
    assert np.array_equal(first[:, 1].numpy(), spikes(1))  # type: ignore[index]


def test_an_iterator_loses_none_of_its_samples_and_ends_after_an_epoch() -> None:
    seen: list[int] = []
    rows = ((spikes(number), number % 2) for number in range(10))
    learner = trainer()
    found = learner.fit(rows, epochs=1, batch=5, progress=False)
    seen.append(len(found))
    with pytest.raises(UserError, match="an iterator is used up after one epoch"):
        learner.fit(rows, epochs=1, batch=5, progress=False)


def test_loaders_and_lists_of_batches_stay_what_they_are() -> None:
    source = OfTorch()
    loader = torch.utils.data.DataLoader(source, batch_size=8, collate_fn=collate)
    batches = [collate([source[k] for k in range(start, start + 8)]) for start in range(0, 40, 8)]
    one, two = trainer(), trainer()
    first, second = (
        learner.fit(data, epochs=1, progress=False)[0].train_loss
        for learner, data in ((one, loader), (two, batches))
    )
    assert first == second


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ([{"a": spikes(0), "b": 1, "c": 0}], {}, r"sample 0 has the columns a, b, c: say which is the input"),
        ([{"x": spikes(0), "label": "yes"}], {}, r"sample 0 is of class 'yes': give the words"),
        ([{"x": spikes(0), "label": "no"}], {"classes": ["yes"]}, "'no', which is none of the classes"),
        ([("a word", 0)], {}, r"sample 0 is a str, of which no values over time|sample 0 has the shape"),
        ([(np.zeros(8), 0)], {}, r"sample 0 has the shape \[8\]: give values over time"),
        ([(np.zeros((0, 8)), 0)], {}, r"sample 0 has the shape \[0, 8\]"),
        ([(np.zeros(3, [("t", "i8"), ("x", "i2")]), 0)], {}, r"sample 0 holds events as a camera .*ToFrame"),
        ([1, 2], {}, r"sample 0 is a int: a data set gives \(x, target\)"),
        (5, {}, "not from a int"),
    ],
)
def test_what_cannot_be_learnt_from(source: Any, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list(Samples(source, **settings).batches(2))
    assert "\n" not in str(caught.value)


def test_columns_and_words_are_named() -> None:
    rows = [{"sound": spikes(k), "word": ("no", "yes")[k % 2], "who": "me"} for k in range(8)]
    ((_, target),) = Samples(rows, x="sound", target="word", classes=("yes", "no")).batches(8)  # type: ignore[misc]
    assert target.tolist() == [1, 0] * 4
    data = Dataset.from_samples(rows, x="sound", target="word")
    assert data.classes == ("no", "yes")
    assert [len(data.train), len(data.validation), data.test_size] == [6, 1, 1]


def few_of_nmnist(folder: Path) -> Any:
    """tonic's class for a few recordings in N-MNIST's five bytes; it would fetch the others otherwise."""
    tonic: Any = pytest.importorskip("tonic")

    class NMNIST(tonic.datasets.NMNIST):  # type: ignore[misc]
        def _check_exists(self) -> bool:
            return True

    rng = np.random.default_rng(0)
    for part, size in (("Train", 10), ("Test", 4)):
        for digit in range(2):
            (folder / "NMNIST" / part / str(digit)).mkdir(parents=True)
            for k in range(size):
                t = np.sort(rng.integers(0, 300_000, 400))
                x, y = rng.integers(0, 34, 400), rng.integers(17 * digit, 17 + 17 * digit, 400)
                raw = np.stack([x, y, (k % 2 << 7) | (t >> 16), (t >> 8) & 255, t & 255], axis=1)
                (folder / "NMNIST" / part / str(digit) / f"{k}.bin").write_bytes(
                    raw.astype(np.uint8).tobytes()
                )
    return NMNIST


def test_data_sets_and_transforms_of_tonic(tmp_path: Path) -> None:
    tonic: Any = pytest.importorskip("tonic")
    few = few_of_nmnist(tmp_path)
    frames = tonic.transforms.Compose(
        [
            tonic.transforms.Denoise(filter_time=100_000),
            tonic.transforms.ToFrame(sensor_size=few.sensor_size, n_time_bins=12),
        ]
    )
    train, test = (few(str(tmp_path), train=t, transform=frames) for t in (True, False))
    network = nf.feed_forward(2 * 34 * 34, [8], 10, generator=torch.Generator().manual_seed(0))
    learner = nf.Trainer(network, nf.FDFA(), torch.optim.Adam(network.parameters(), lr=0.01))
    found = learner.fit(train, test, epochs=3, batch=4, progress=False)
    assert found[-1].validation_accuracy == 1.0
    data = Dataset.from_samples(train, test=test, name="nmnist")
    assert (data.n_in, data.n_out, data.shape, data.steps, data.test_size) == (2312, 10, (2, 34, 34), 12, 8)
    assert len(data.classes) == 10
    run = nf.fit(network, data, nf.FDFA(), epochs=2, out=tmp_path / "run", progress=False)
    assert run.summary is not None
    assert run.summary.test_accuracy == 1.0


def test_events_of_a_camera_are_binned_without_frames(tmp_path: Path) -> None:
    source = few_of_nmnist(tmp_path)(str(tmp_path), train=True)
    binning = Binning((34, 34, 2), steps=30, window=0.3, pool=2)
    sample, target = Samples(source, transform=binning)[3]
    assert isinstance(sample, EventList)
    assert (sample.n, sample.steps, target) == (578, 30, source[3][1])
    data = Dataset.from_samples(source, transform=binning)
    assert (data.shape, data.kind, data.n_in) == ((2, 17, 17), "spikes", 578)


def test_parts_are_fixed_read_lazily_and_keep_their_lengths() -> None:
    source = OfTorch(50, unequal=True)
    one, two = Dataset.from_samples(source), Dataset.from_samples(source)
    assert [len(one.train), len(one.validation), one.test_size] == [30, 10, 10]
    assert torch.equal(one.train.targets, two.train.targets)
    before = source.read
    x, _, lengths = next(one.train.batches(16, seed=0))  # type: ignore[misc]
    assert source.read == before + 16
    assert x.shape == (22, 16, 8)
    assert sorted(set(lengths.tolist())) == [20, 21, 22]  # type: ignore[union-attr]
    table = Dataset.from_samples(Table())
    assert (table.n_out, table.classes) == (3, ("low", "high", "none"))
    kept = Dataset.from_samples(Stream(50))
    assert isinstance(kept.train[0][0], EventList)
    assert len(kept.train) == 30


@pytest.mark.parametrize("targets", [[0.5] * 10, [-1] * 10, [[0, 1]] * 10])
def test_targets_that_are_no_classes(targets: list[Any]) -> None:
    rows = [(spikes(k), target) for k, target in enumerate(targets)]
    with pytest.raises(UserError, match="class numbers from 0, or words"):
        Dataset.from_samples(rows)


def test_samples_that_differ_in_channels() -> None:
    rows = [(spikes(k)[:, : 8 - (k == 7)], k % 2) for k in range(10)]
    data = Dataset.from_samples(rows)
    parts = (data.train, data.validation, data.open_test())
    with pytest.raises(UserError, match="sample 7 has 7 channels and the first one 8"):
        _ = [list(split.batches(4)) for split in parts]
