"""A user's own data: one .npz file with images or spikes, and labels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
HELD_OUT = 0.2
"""Shard of the samples in each part that the file does not bring itself."""

Arrays = Mapping[str, NDArray[np.generic]]
CONTENTS = "it must hold `labels` [N] and either `images` [N, …] or `spikes` [N, T, n]"


def npz_file(path: Path, steps: int | None, encode: Encoder, *, default_steps: int) -> Dataset:
    """Load `images` [N, …] (uint8, or floats in 0…1) or `spikes` [N, T, n] (0 and 1), and `labels` [N].

    labels are whole numbers 0…K−1; each class must occur in the training part. Optional: `images_validation`
    (or `spikes_validation`) with `labels_validation`, and the same with `_test`. A part that is missing is
    taken from the training samples: a fifth, stratified, always the same.
    steps: time steps to show images for (None: default_steps); spikes have their own, and others are refused.
    Raises UserError for every way in which the file can be wrong. Pickled objects are never loaded.
    """
    arrays = _read(path)
    static = "images" in arrays
    if static == ("spikes" in arrays):
        raise UserError(f"{path} has {_names(arrays)}: {CONTENTS}")
    key = "images" if static else "spikes"
    parts = {suffix: _part(path, arrays, key, suffix) for suffix in ("", "_validation", "_test")}
    train, validation, test = _complete(path, parts)
    n_out = _classes(path, train, validation, test)
    shape = tuple(train.inputs.shape[1:])
    if static:
        train, validation, test = (Split(p.inputs.flatten(1), p.targets) for p in (train, validation, test))
    elif steps is not None and steps != shape[0]:
        raise UserError(f"{path} has {shape[0]} time steps, not {steps}; leave the number of steps out")
    return Dataset(
        name=path.stem,
        kind="static" if static else "spikes",
        n_in=train.inputs.shape[-1],
        n_out=n_out,
        steps=(steps or default_steps) if static else shape[0],
        train=train,
        validation=validation,
        sealed_test=SealedSplit(test),
        encode=encode if static else None,
        shape=_image_shape(shape) if static else shape[1:],
    )


def _read(path: Path) -> Arrays:
    if not path.is_file():
        raise UserError(f"no file {path}")
    try:
        archive = np.load(path, allow_pickle=False)
        if not hasattr(archive, "files"):
            raise UserError(f"{path} holds a single array: {CONTENTS} (write it with numpy.savez)")
        with archive:
            return {name: _array(path, archive, name) for name in archive.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a readable .npz file ({error}); write it with numpy.savez") from error


def _array(path: Path, archive: Mapping[str, object], name: str) -> NDArray[np.generic]:
    try:
        return cast("NDArray[np.generic]", archive[name])
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise UserError(
                f"{path}: `{name}` is an object array, and those are never loaded; "
                "give numbers, of the same shape for every sample"
            ) from error
        raise


def _part(path: Path, arrays: Arrays, key: str, suffix: str) -> Split | None:
    inputs, labels = arrays.get(key + suffix), arrays.get("labels" + suffix)
    if inputs is None and labels is None and suffix:
        return None
    if inputs is None or labels is None:
        missing = key + suffix if inputs is None else "labels" + suffix
        raise UserError(f"{path} has no `{missing}` (it has {_names(arrays)}): {CONTENTS}")
    targets = _targets(path, labels, "labels" + suffix)
    check = _images if key == "images" else _spikes
    values = check(path, inputs, key + suffix)
    if len(values) != len(targets):
        raise UserError(
            f"{path}: `{key + suffix}` has {len(values)} samples, `labels{suffix}` {len(targets)}"
        )
    if not len(values):
        raise UserError(f"{path}: `{key + suffix}` is empty")
    return Split(torch.tensor(values), torch.tensor(targets))


def _targets(path: Path, labels: NDArray[np.generic], name: str) -> NDArray[np.int64]:
    if labels.ndim != 1:
        raise UserError(f"{path}: `{name}` has shape {labels.shape}; give one label per sample, shape [N]")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{path}: `{name}` is of type {labels.dtype}; give an integer type, 0 to K−1")
    if labels.size and int(labels.min()) < 0:
        raise UserError(f"{path}: `{name}` has label {int(labels.min())}; labels must be 0 to K−1")
    if labels.size and int(labels.max()) > np.iinfo(np.int32).max:
        raise UserError(f"{path}: `{name}` has label {int(labels.max())}; labels must be 0 to K−1")
    return labels.astype(np.int64)


def _numbers(path: Path, values: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_) or np.iscomplexobj(values):
        raise UserError(f"{path}: `{name}` is of type {values.dtype}; give real numbers")
    if np.issubdtype(values.dtype, np.floating) and not bool(np.isfinite(values).all()):
        raise UserError(f"{path}: `{name}` contains NaN or infinity; remove or replace those samples")
    if 0 in values.shape[1:]:
        raise UserError(f"{path}: `{name}` has shape {values.shape}; no dimension may be empty")
    return values


def _images(path: Path, values: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    if values.ndim < 2:
        raise UserError(
            f"{path}: `{name}` has shape {values.shape}; give [N, n], [N, height, width] or [N, c, h, w]"
        )
    values = _numbers(path, values, name)
    if values.dtype == np.uint8:
        return values
    low, high = (float(x) for x in (np.min(values), np.max(values))) if values.size else (0.0, 0.0)
    if low < 0.0 or high > 1.0:
        raise UserError(
            f"{path}: `{name}` reaches from {low:g} to {high:g}; give floats in 0 to 1, or uint8 in 0 to 255"
        )
    return values.astype(np.float32)


def _spikes(path: Path, values: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    if values.ndim != 3:
        raise UserError(
            f"{path}: `{name}` has shape {values.shape}; give [N, T, n]: samples, steps, channels"
        )
    values = _numbers(path, values, name)
    if not bool(((values == 0) | (values == 1)).all()):
        raise UserError(f"{path}: `{name}` has values other than 0 and 1; a channel spikes or not in a step")
    return values.astype(np.uint8)


def _complete(path: Path, parts: Mapping[str, Split | None]) -> tuple[Split, Split, Split]:
    train, validation, test = parts[""], parts["_validation"], parts["_test"]
    assert train is not None  # _part raised otherwise
    for other, suffix in ((validation, "_validation"), (test, "_test")):
        if other is not None and other.inputs.shape[1:] != train.inputs.shape[1:]:
            raise UserError(
                f"{path}: a training sample has shape {tuple(train.inputs.shape[1:])}, one of `{suffix[1:]}` "
                f"{tuple(other.inputs.shape[1:])}; they must be equal"
            )
    missing = [part is None for part in (validation, test)]
    if any(missing):
        size = int(len(train) * HELD_OUT)
        if size < 1:
            raise UserError(
                f"{path} has {len(train)} samples: too few to split; add samples or `_test` arrays"
            )
        labels = train.targets.numpy()
        index = stratified_split(labels, [size] * sum(missing), np.random.default_rng(SPLIT_SEED))
        rest, *taken = (train.select(torch.tensor(i)) for i in index)
        train = rest
        validation = taken.pop(0) if validation is None else validation
        test = taken.pop(0) if test is None else test
    assert validation is not None
    assert test is not None
    return train, validation, test


def _classes(path: Path, train: Split, *others: Split) -> int:
    """Count the classes: the training part must show every one of 0…K−1, and the others none beyond."""
    present = np.unique(train.targets.numpy())
    n_out = len(present)
    highest = int(present[-1])
    if highest != n_out - 1:
        gap = next(c for c in range(n_out) if int(present[c]) != c)
        raise UserError(
            f"{path}: labels go up to {highest} but class {gap} has no training sample; "
            "number the classes 0 to K−1"
        )
    for part in others:
        if int(part.targets.max()) >= n_out:
            raise UserError(
                f"{path}: label {int(part.targets.max())} is out of range: "
                f"the training part has classes 0 to {n_out - 1}"
            )
    if n_out < 2:
        raise UserError(f"{path} has one class only; give at least two")
    return n_out


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape) if len(shape) == 2 else shape


def _names(arrays: Arrays) -> str:
    return ", ".join(f"`{name}`" for name in arrays) if arrays else "no arrays"
