"""CIFAR-10 in its binary version: colour images of 32 × 32 pixels in ten classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.augment import Crop, Flip, chain
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.split import reduced, stratified_split
from neurofdfa.errors import UserError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
SPLIT_SEED = 1998
VALIDATION = 5000
CONTRAST_FLOOR = 0.05
"""Added to an image's standard deviation before it is divided by it, so that plain images stay plain."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Normalised:
    """Takes brightness and contrast from every image before `encode` sees it."""

    encode: Encoder

    def __call__(self, intensities: torch.Tensor, steps: int, generator: torch.Generator) -> torch.Tensor:
        """Return input [T, B, n] of intensities [B, n]."""
        centred = intensities - intensities.mean(1, keepdim=True)
        spread = centred.square().mean(1, keepdim=True).sqrt()
        return self.encode(centred / (spread + CONTRAST_FLOOR), steps, generator)


def cifar10(
    data_root: Path,
    steps: int,
    encode: Encoder,
    *,
    shift: int = 0,
    flip: bool = False,
    normalise: bool = False,
    train: int = 0,
    validation: int = 0,
) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009) from its binary files, each image a label byte and 3072 bytes R, G, B.

    data_batch_*.bin and test_batch*.bin lie in data_root/cifar10, data_root/cifar-10-batches-bin or
    data_root; whatever of them is there is used. 5000 training images (a tenth of fewer) become the
    validation split: fixed, stratified. Images stay uint8 in memory, [N, 3072] as (channel, row, column).
    shift, flip: training images move by up to so many pixels, and are mirrored half of the time, afresh at
    every sight. normalise: of every image, the mean of all its values is taken away and what is left divided
    by their standard deviation (plus 0.05); `encode` must take values of both signs. train, validation: keep
    so many samples of the split, stratified, always the same ones; 0 for all.
    Raises UserError for missing and truncated files and for labels beyond 9.
    """
    places = (data_root / "cifar10", data_root / "cifar-10-batches-bin", data_root)
    folder = next((place for place in places if any(place.glob("data_batch_*.bin"))), None)
    if folder is None or not any(folder.glob("test_batch*.bin")):
        raise UserError(
            f"no data_batch_*.bin and test_batch*.bin in {data_root}: fetch the binary version of "
            "CIFAR-10 and name its folder with --data-root"
        )
    images, labels = _read(sorted(folder.glob("data_batch_*.bin")))
    held = min(VALIDATION, len(labels) // 10)
    rest, part = stratified_split(labels, (held,), np.random.default_rng(SPLIT_SEED))
    test_images, test_labels = _read(sorted(folder.glob("test_batch*.bin")))
    return Dataset(
        name="cifar10",
        kind="static",
        n_in=RECORD - 1,
        n_out=len(CLASSES),
        steps=steps,
        train=reduced("train", _split(images[rest], labels[rest]), train),
        validation=reduced("validation", _split(images[part], labels[part]), validation),
        sealed_test=SealedSplit(_split(test_images, test_labels)),
        encode=Normalised(encode) if normalise else encode,
        shape=SHAPE,
        classes=CLASSES,
        augment=chain([*([Crop(shift, SHAPE)] if shift else []), *([Flip(SHAPE)] if flip else [])]),
    )


def _read(paths: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    parts: list[NDArray[np.uint8]] = []
    for path in paths:
        try:
            content = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        if not content.size or content.size % RECORD:
            raise UserError(
                f"{path} is truncated or no binary CIFAR-10 file: {content.size} bytes are no whole "
                f"images of {RECORD}; fetch it again"
            )
        records = content.reshape(-1, RECORD)
        if records[:, 0].max() >= len(CLASSES):
            raise UserError(f"{path} has label {int(records[:, 0].max())}; labels must be 0 to 9")
        parts.append(records)
    whole = np.concatenate(parts)
    return whole[:, 1:], whole[:, 0].astype(np.int64)


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
    return Split(torch.as_tensor(np.ascontiguousarray(images)), torch.as_tensor(labels))
