from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from neurofdfa.data.dataset import Split
from neurofdfa.data.encode import direct
from neurofdfa.data.idx import IMAGES_MAGIC, LABELS_MAGIC, download_idx, idx_images, read_idx
from neurofdfa.errors import UserError


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_set(folder: Path, train: int = 120, test: int = 20, zipped: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, size in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (size, 5, 4))
        arrays[f"{part}-labels-idx1-ubyte"] = np.arange(size) % 10
    for name, array in arrays.items():
        content = idx_bytes(array)
        target = folder / (f"{name}.gz" if zipped else name)
        target.write_bytes(gzip.compress(content) if zipped else content)
    return arrays


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["mnist", "."])
def test_images_and_labels_arrive_as_written(tmp_path: Path, zipped: bool, place: str) -> None:
    written = write_set(tmp_path / place, zipped=zipped)
    data = idx_images("mnist", tmp_path, 7, direct)
    assert (data.n_in, data.n_out, data.steps, data.shape) == (20, 10, 7, (1, 5, 4))
    assert (len(data.train), len(data.validation), data.test_size) == (100, 20, 20)
    assert data.train.inputs.dtype == torch.uint8
    test = data.open_test()
    assert np.array_equal(test.inputs.numpy(), written["t10k-images-idx3-ubyte"].reshape(20, 20))
    assert np.array_equal(test.targets.numpy(), written["t10k-labels-idx1-ubyte"])
    assert data.validation.targets.bincount().tolist() == [2] * 10
    rows = torch.cat([data.train.inputs, data.validation.inputs]).numpy().tolist()
    assert sorted(rows) == sorted(written["train-images-idx3-ubyte"].reshape(120, 20).tolist())


def test_the_split_is_fixed(tmp_path: Path) -> None:
    write_set(tmp_path)
    one, two = (idx_images("mnist", tmp_path, 3, direct) for _ in range(2))
    assert torch.equal(one.validation.inputs, two.validation.inputs)


def test_only_images_to_learn_from_are_moved(tmp_path: Path) -> None:
    write_set(tmp_path)
    still, data = (idx_images("mnist", tmp_path, 2, direct, shift=most) for most in (0, 1))

    def seen(split: Split) -> torch.Tensor:
        x, _ = next(split.iterate(100, torch.Generator().manual_seed(0), shuffle=False))
        assert isinstance(x, torch.Tensor)
        return x

    moved, unmoved = seen(data.train), seen(still.train)
    assert (moved == unmoved).all(2).all(0).float().mean() < 0.3  # one of nine shifts is none
    for split, same in ((data.validation, still.validation), (data.open_test(), still.open_test())):
        x, _, _ = split.first(20)
        assert torch.equal(x, same.first(20)[0])
        assert torch.equal(split.inputs, same.inputs)


def test_fewer_samples_are_stratified_and_leave_the_test_split_alone(tmp_path: Path) -> None:
    write_set(tmp_path)
    whole, less = (idx_images("mnist", tmp_path, 3, direct, train=n, validation=n) for n in (0, 10))
    assert (len(less.train), len(less.validation), less.test_size) == (10, 10, 20)
    for split, source in ((less.train, whole.train), (less.validation, whole.validation)):
        assert split.targets.bincount().tolist() == [1] * 10
        assert all((source.inputs == row).all(1).any() for row in split.inputs)
    with pytest.raises(UserError, match="train = 101, but there are 100"):
        idx_images("mnist", tmp_path, 3, direct, train=101)


def damage(path: Path, change: str) -> None:
    content = gzip.decompress(path.read_bytes())
    damaged = {
        "cut": gzip.compress(content[:-3]),
        "longer": gzip.compress(content + b"\0"),
        "cut gzip": path.read_bytes()[:-20],
        "header only": gzip.compress(content[:6]),
        "empty": b"",
        "boast": gzip.compress(content[:4] + b"\xff" * (4 * content[3]) + content[4 + 4 * content[3] :]),
        "bomb": gzip.compress(content + bytes(1 << 28)),
        "magic": gzip.compress(b"\0\0\x0d" + content[3:]),
        "not idx": b"<html>not found</html>",
        "flipped": path.read_bytes()[:40] + bytes([path.read_bytes()[40] ^ 0xFF]) + path.read_bytes()[41:],
    }
    path.write_bytes(damaged[change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut", "truncated: its header promises 2400 values, it holds 2397"),
        ("longer", "left over"),
        ("boast", "truncated: its header promises [0-9]+ values, it holds at most"),
        ("bomb", "left over: its header promises 2400 values, it holds more"),
        ("cut gzip", "truncated or damaged"),
        ("header only", "truncated"),
        ("empty", "truncated"),
        ("magic", "magic number is 0x00000d03"),
        ("not idx", "no IDX file of images|not an IDX file of images"),
        ("flipped", "damaged gzip"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, change: str, message: str) -> None:
    write_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    damage(path, change)
    with pytest.raises(UserError, match=message) as caught:
        idx_images("mnist", tmp_path, 3, direct)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_terabytes_is_refused_cheaply(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(struct.pack(">4I", IMAGES_MAGIC, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 10)
    with pytest.raises(UserError, match="truncated"):
        read_idx(path, IMAGES_MAGIC)


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(119))))
    with pytest.raises(UserError, match=r"120 images and .* 119 labels"):
        idx_images("mnist", tmp_path, 3, direct)


def test_labels_in_place_of_images_and_labels_out_of_range(tmp_path: Path) -> None:
    write_set(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    with pytest.raises(UserError, match="IDX file of images"):
        read_idx(labels, IMAGES_MAGIC)
    labels.write_bytes(gzip.compress(idx_bytes(np.full(120, 11))))
    with pytest.raises(UserError, match="label 11"):
        idx_images("mnist", tmp_path, 3, direct)
    assert read_idx(labels, LABELS_MAGIC).tolist() == [11] * 120


def test_missing_files_say_where_they_should_be(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="--data-root"):
        idx_images("mnist", tmp_path, 3, direct)


def test_a_folder_of_another_set_is_not_taken_for_this_one(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    with pytest.raises(UserError, match="no fashion files"):
        idx_images("fashion", tmp_path / "mnist", 3, direct)
    assert idx_images("mnist", tmp_path / "mnist", 3, direct).name == "mnist"


def test_download_fetches_checks_and_leaves_nothing_half(tmp_path: Path) -> None:
    server, target = tmp_path / "server", tmp_path / "root" / "mnist"
    write_set(server)
    source = f"{server.as_uri()}/"
    good = (server / "t10k-labels-idx1-ubyte.gz").read_bytes()
    (server / "t10k-labels-idx1-ubyte.gz").write_bytes(good[:-12])
    with pytest.raises(UserError, match="did not give the file expected"):
        download_idx(source, target)
    assert sorted(p.name for p in target.iterdir()) == [
        "t10k-images-idx3-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    (server / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="cannot fetch"):
        download_idx(source, target)
    (server / "t10k-labels-idx1-ubyte.gz").write_bytes(good)
    download_idx(source, target)
    assert idx_images("mnist", tmp_path / "root", 3, direct).test_size == 20
    assert not list(target.glob("*.tmp"))
