"""CIFAR-10's binary files: whatever is there, each pixel where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurofdfa.data import load
from neurofdfa.errors import UserError


def write(folder: Path) -> np.ndarray:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (120, 3073)).astype(np.uint8)
    records[:, 0] = np.arange(120) % 10
    for k in range(2):
        records[50 * k : 50 * k + 50].tofile(folder / f"data_batch_{k + 1}.bin")
    records[100:].tofile(folder / "test_batch_20.bin")
    return records


def test_images_labels_and_splits(tmp_path: Path) -> None:
    records = write(tmp_path / "cifar10")
    data = load("cifar10", data_root=tmp_path, steps=4, encoder="direct")
    assert (data.n_in, data.n_out, data.shape, data.steps) == (3072, 10, (3, 32, 32), 4)
    assert (len(data.train), len(data.validation), data.test_size) == (90, 10, 20)
    assert data.classes[3] == "cat"
    test = data.open_test()
    assert np.array_equal(test.inputs.numpy(), records[100:, 1:])
    assert test.targets.tolist() == [k % 10 for k in range(20)]
    assert data.validation.targets.bincount().tolist() == [1] * 10


def test_training_images_are_moved_and_mirrored_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path / "cifar10")
    plain, changed = (
        load("cifar10", data_root=tmp_path, steps=1, encoder="direct", **given)  # type: ignore[arg-type]
        for given in ({}, {"shift": 4, "flip": True})
    )
    one, two = (next(data.train.batches(30, seed=1))[0] for data in (plain, changed))
    assert not torch.equal(one, two)  # type: ignore[arg-type]
    one, two = (next(data.validation.batches(10))[0] for data in (plain, changed))
    assert torch.equal(one, two)  # type: ignore[arg-type]


def test_fewer_samples_for_a_quick_look(tmp_path: Path) -> None:
    records = write(tmp_path / "cifar10")
    one, two = (load("cifar10", data_root=tmp_path, steps=1, train=30, validation=10) for _ in range(2))
    assert (len(one.train), len(one.validation), one.test_size) == (30, 10, 20)
    assert one.train.targets.bincount().tolist() == [3] * 10
    assert torch.equal(one.train.inputs, two.train.inputs)
    images = {image.tobytes() for image in records[:100, 1:]}
    assert all(row.numpy().tobytes() in images for row in one.train.inputs)
    with pytest.raises(UserError, match="train = 91, but there are 90 samples"):
        load("cifar10", data_root=tmp_path, train=91)


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name its folder with --data-root"):
        load("cifar10", data_root=tmp_path)
    write(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "data_batch_2.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"data_batch_2\.bin is truncated"):
        load("cifar10", data_root=tmp_path)
    path.write_bytes(b"\x0b" + content[1:])
    with pytest.raises(UserError, match=r"data_batch_2\.bin has label 11"):
        load("cifar10", data_root=tmp_path)


def test_brightness_and_contrast_can_be_taken_from_every_image(tmp_path: Path) -> None:
    write(tmp_path / "cifar10")
    data = load("cifar10", data_root=tmp_path, steps=2, encoder="direct", normalise=True)
    x, _ = next(data.validation.batches(10))  # type: ignore[misc]
    assert isinstance(x, torch.Tensor)
    values = data.validation.inputs.double() / 255
    expected = (values - values.mean(1, keepdim=True)) / (values.std(1, correction=0, keepdim=True) + 0.05)
    assert torch.allclose(x[0].double(), expected, atol=1e-5)
    assert torch.equal(x[0], x[1])
    with pytest.raises(UserError, match=r"normalised images .* set the encoder to direct"):
        load("cifar10", data_root=tmp_path, normalise=True)
