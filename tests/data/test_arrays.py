from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurofdfa.data.arrays import ArrayEncoding, npz_file
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.encode import direct
from neurofdfa.errors import UserError


def images(n: int = 30) -> np.ndarray:
    return np.random.default_rng(0).random((n, 4, 5))


def spikes(n: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, 7, 3))


def labels(n: int = 30, classes: int = 3) -> np.ndarray:
    return np.arange(n) % classes


def load(tmp_path: Path, steps: int | None = None, **arrays: Any) -> Dataset:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return npz_file(path, ArrayEncoding(direct, 16, steps))


def test_images_are_split_and_flattened(tmp_path: Path) -> None:
    data = load(tmp_path, images=images(), labels=labels())
    assert (data.name, data.kind, data.n_in, data.n_out, data.steps, data.shape) == (
        "mine",
        "static",
        20,
        3,
        16,
        (1, 4, 5),
    )
    test = data.open_test()
    assert (len(data.train), len(data.validation), len(test)) == (18, 6, 6)
    together = torch.cat([data.train.inputs, data.validation.inputs, test.inputs]).numpy()
    assert sorted(together.tolist()) == sorted(images().astype(np.float32).reshape(30, 20).tolist())
    for part in (data.train, data.validation, test):
        assert part.targets.bincount().tolist() == [len(part) // 3] * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.int64, np.float32])
def test_spikes_of_any_number_type(tmp_path: Path, dtype: type) -> None:
    data = load(tmp_path, spikes=spikes().astype(dtype), labels=labels())
    assert (data.kind, data.n_in, data.steps, data.encode) == ("spikes", 3, 7, None)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.inputs.shape == (18, 7, 3)


def test_bytes_stay_bytes_and_steps_are_taken(tmp_path: Path) -> None:
    data = load(tmp_path, steps=5, images=np.full((30, 6), 255, np.uint8), labels=labels())
    assert data.train.inputs.dtype == torch.uint8
    assert (data.steps, data.shape) == (5, (6,))


def test_the_users_own_splits_are_kept(tmp_path: Path) -> None:
    data = load(
        tmp_path,
        spikes=spikes(12),
        labels=labels(12),
        spikes_validation=spikes(5),
        labels_validation=labels(5),
        spikes_test=spikes(4),
        labels_test=labels(4),
    )
    assert torch.equal(data.train.inputs, torch.tensor(spikes(12), dtype=torch.uint8))
    assert torch.equal(data.validation.inputs, torch.tensor(spikes(5), dtype=torch.uint8))
    assert data.open_test().targets.tolist() == [0, 1, 2, 0]


def test_only_the_missing_split_is_taken_from_training(tmp_path: Path) -> None:
    own_test: dict[str, Any] = {"images_test": images(9), "labels_test": labels(9)}
    data = load(tmp_path, images=images(), labels=labels(), **own_test)
    assert (len(data.train), len(data.validation), data.test_size) == (24, 6, 9)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({"labels": labels()}, "either `images`"),
    "both": ({"images": images(), "spikes": spikes(), "labels": labels()}, "either `images`"),
    "nothing": ({}, "no arrays"),
    "no labels": ({"images": images()}, "no `labels`"),
    "test without labels": (
        {"images": images(), "labels": labels(), "images_test": images(3)},
        "no `labels_test`",
    ),
    "labels without test": (
        {"images": images(), "labels": labels(), "labels_test": labels(3)},
        "no `images_test`",
    ),
    "lengths": ({"images": images(29), "labels": labels()}, "29 samples, `labels` 30"),
    "two-dimensional labels": ({"images": images(), "labels": np.eye(30, dtype=int)}, r"shape \(30, 30\)"),
    "float labels": ({"images": images(), "labels": labels().astype(float)}, "integer type"),
    "bool labels": ({"images": images(), "labels": labels() == 0}, "integer type"),
    "a word that no training sample has": (
        {
            "images": images(),
            "labels": np.array(["a", "b", "c"] * 10),
            "images_test": images(1),
            "labels_test": np.array(["d"]),
        },
        "label 'd' has no training sample",
    ),
    "negative labels": ({"images": images(), "labels": labels() - 1}, "label -1"),
    "a class missing": ({"images": images(), "labels": labels() * 2}, "class 1 has no training sample"),
    "an absurd label": ({"images": images(), "labels": labels() * 10**12}, "label 2000000000000"),
    "one class": ({"images": images(), "labels": labels() * 0}, "one class only"),
    "test label out of range": (
        {"images": images(), "labels": labels(), "images_test": images(1), "labels_test": np.array([3])},
        "label 3 is out of range",
    ),
    "object images": ({"images": np.array([[1], [2, 3]], dtype=object), "labels": labels(2)}, "object array"),
    "object labels": ({"images": images(2), "labels": np.array(["a", None], dtype=object)}, "object array"),
    "text": ({"images": images().astype(str), "labels": labels()}, "real numbers"),
    "complex": ({"images": images() + 1j, "labels": labels()}, "real numbers"),
    "nan": ({"images": np.where(images() > 0.99, np.nan, images()), "labels": labels()}, "NaN"),
    "infinite spikes": ({"spikes": np.where(spikes() > 0, np.inf, 0.0), "labels": labels()}, "infinity"),
    "flat images": ({"images": images()[:, 0, 0], "labels": labels()}, r"shape \(30,\)"),
    "two-dimensional spikes": ({"spikes": spikes()[:, 0], "labels": labels()}, "samples, steps, channels"),
    "images above one": ({"images": images() * 255, "labels": labels()}, "floats in 0 to 1"),
    "images below zero": ({"images": images() - 0.5, "labels": labels()}, "floats in 0 to 1"),
    "spike counts": ({"spikes": spikes() * 2, "labels": labels()}, "other than 0 and 1"),
    "no samples": ({"images": images(0), "labels": labels(0)}, "empty"),
    "no pixels": ({"images": np.zeros((30, 0)), "labels": labels()}, "no dimension may be empty"),
    "test of another shape": (
        {"images": images(), "labels": labels(), "images_test": images(3)[:, :2], "labels_test": labels(3)},
        "must be equal",
    ),
    "too few": ({"images": images(4), "labels": labels(4, 2)}, "too few"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    arrays, message = BAD[case]
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, **arrays)
    assert "mine.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_spikes_refuse_another_number_of_steps(tmp_path: Path) -> None:
    assert load(tmp_path, steps=7, spikes=spikes(), labels=labels()).steps == 7
    with pytest.raises(UserError, match="7 time steps, not 9"):
        load(tmp_path, steps=9, spikes=spikes(), labels=labels())


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with pytest.raises(UserError, match="no file"):
        npz_file(path, ArrayEncoding(direct, 16))
    with pytest.raises(UserError, match="no file"):
        npz_file(tmp_path, ArrayEncoding(direct, 16))
    for content in (b"", b"hello", b"PK\x03\x04 and then nothing"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a readable"):
            npz_file(path, ArrayEncoding(direct, 16))
    buffer = io.BytesIO()
    np.save(buffer, images())
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="single array"):
        npz_file(path, ArrayEncoding(direct, 16))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_truncated_archives(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, images=images(), labels=labels())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match="not a readable"):
        npz_file(path, ArrayEncoding(direct, 16))


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    trapped = np.empty(2, dtype=object)
    trapped[:] = [Trap(), Trap()]
    with pytest.raises(UserError, match="object array"):
        load(tmp_path, images=trapped, labels=labels(2))
    assert not marker.exists()


def test_arrays_in_memory_are_told_by_shape_and_values() -> None:
    words = [("no", "yes", "maybe")[k % 3] for k in range(30)]
    data = Dataset.from_arrays(images(), words, kind="images", steps=7, encoder="latency")
    assert (data.kind, data.n_in, data.n_out, data.steps, data.shape) == ("static", 20, 3, 7, (1, 4, 5))
    assert data.classes == ("maybe", "no", "yes")
    assert next(data.train.batches(4, seed=0))[0].shape == (7, 4, 20)
    assert Dataset.from_arrays(spikes(), labels()).kind == "spikes"
    bytes_ = np.random.default_rng(0).integers(0, 255, (30, 8, 8)).astype(np.uint8)
    assert Dataset.from_arrays(bytes_, labels()).kind == "static"
    values = np.random.default_rng(0).normal(size=(30, 12, 3))
    series = Dataset.from_arrays(
        values, labels(), encoder="direct", stretch=False, test=(values[:9], labels(9))
    )
    assert (series.kind, series.n_in, series.steps, series.test_size) == ("sequence", 3, 12, 9)
    assert Dataset.from_arrays(values, labels(), steps=40).steps == 40


def test_arrays_of_unequal_lengths_keep_them() -> None:
    rng = np.random.default_rng(0)
    own = [rng.normal(size=(8 + k % 5, 3)) for k in range(30)]
    data = Dataset.from_arrays(own, labels(), stretch=False)
    x, _, lengths = next(data.train.batches(18))  # type: ignore[misc]
    assert set(lengths.tolist()) == {8, 9, 10, 11, 12}
    assert x.shape == (12, 18, 6)
    for bad, message in (
        (([np.zeros((3, 2)), np.zeros((4, 3))] * 15, labels()), "differ in shape"),
        ((spikes(), labels(29)), "30 samples, `labels` 29"),
        ((spikes() * 2.5, ["a"] * 30), "one class only"),
    ):
        with pytest.raises(UserError, match=message):
            Dataset.from_arrays(*bad)
    with pytest.raises(UserError, match="label 'c' has no training sample"):
        Dataset.from_arrays(spikes(), ["a", "b"] * 15, test=(spikes(1), ["c"]))
    with pytest.raises(UserError, match="can be images or sequences"):
        Dataset.from_arrays(images(), labels())
    with pytest.raises(UserError, match="unknown kind of arrays 'films'"):
        Dataset.from_arrays(spikes(), labels(), kind="films")  # type: ignore[arg-type]


def test_archives_with_tricks_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    import zipfile

    def archive(name: str, *members: tuple[str, bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for member, content in members:
                file.writestr(member, content)
        return tmp_path / name

    def header(shape: tuple[int, ...]) -> bytes:
        buffer = io.BytesIO()
        kind = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, kind)
        return buffer.getvalue()

    huge = archive("huge.npz", ("images.npy", header((10**9, 10**3)) + bytes(80)))
    with pytest.raises(UserError, match=r"huge\.npz: `images` promises 8000000000000 bytes and holds 80"):
        npz_file(huge, ArrayEncoding(direct, 16))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive("twice.npz", ("a.npy", header((0,))), ("a.npy", header((0,))))
    with pytest.raises(UserError, match="two parts called"):
        npz_file(twice, ArrayEncoding(direct, 16))
    other = archive("other.npz", ("images.npy", b"cos\nsystem\n(S'true'\ntR."))
    with pytest.raises(UserError, match="no array"):
        npz_file(other, ArrayEncoding(direct, 16))


def test_labels_in_a_file_may_be_words(tmp_path: Path) -> None:
    words = load(tmp_path, spikes=spikes(), labels=np.array(["left", "right", "up"] * 10))
    numbers = load(tmp_path, spikes=spikes(), labels=labels())
    assert words.classes == ("left", "right", "up")
    assert torch.equal(words.train.targets, numbers.train.targets)
    assert torch.equal(words.train.inputs, numbers.train.inputs)
