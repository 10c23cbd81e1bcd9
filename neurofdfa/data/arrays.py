"""A user's own data: one .npz file, or arrays in memory, with images, spikes or sequences, and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import DIRECT, Encoder, encoder_named
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.npz import Arrays, read_npz
from neurofdfa.data.recordings import EventStore
from neurofdfa.data.series import Timing, series_dataset
from neurofdfa.data.series_files import Labelled, in_class_order
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
HELD_OUT = 0.2
"""Share of the samples in each part that the user does not bring himself."""

KEYS = ("images", "spikes", "sequences")
CONTENTS = "it must hold `labels` [N] and either `images` [N, …], `spikes` [N, T, n] or `sequences` [N, T, c]"


class ArrayEncoding(NamedTuple):
    """How arrays become input. encode: of images, shown for `steps` (None: `default_steps`). timing: of
    sequences.
    """

    encode: Encoder
    default_steps: int
    steps: int | None = None
    timing: Timing = Timing()


STATIC_STEPS = 16


def array_encoding(
    name: str, *, steps: int | None, max_rate: float, gain: float, delta: float, stretch: bool
) -> ArrayEncoding:
    """How arrays become input, by the name of an encoder and its settings; see `Dataset.from_arrays`."""
    timing = Timing(Timing().steps if steps is None else steps, None if name == DIRECT else delta, stretch)
    made = encoder_named(name, max_rate=max_rate, gain=gain)
    return ArrayEncoding(made, STATIC_STEPS, steps, timing)


class _Part(NamedTuple):
    """Samples, class numbers, and how many steps of each sample are its own (None: all)."""

    inputs: NDArray[np.generic]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64] | None

    def select(self, index: NDArray[np.int64]) -> _Part:
        return _Part(
            self.inputs[index], self.targets[index], None if self.lengths is None else self.lengths[index]
        )

    def own(self) -> list[NDArray[np.generic]]:
        """Every sample without what fills it up."""
        if self.lengths is None:
            return list(self.inputs)
        return [sample[:length] for sample, length in zip(self.inputs, self.lengths, strict=True)]


def npz_file(path: Path, encoding: ArrayEncoding) -> Dataset:
    """Load `images` [N, …], `spikes` [N, T, n] or `sequences` [N, T, c], and `labels` [N].

    images are uint8, or floats in 0…1; spikes are 0 and 1; sequences are any values over time. labels are
    whole numbers 0…K−1, or words; each class must occur in the training part. Optional: `lengths` [N], how
    many steps of each of the spikes or sequences are its own; `images_validation` (or `spikes_…`,
    `sequences_…`) with `labels_validation` (and `lengths_validation`), and the same with `_test`. A part that
    is missing is taken from the training samples: a fifth, stratified, always the same.
    Spikes have a number of steps, and others are refused.
    Raises UserError for every way in which the file can be wrong, see `neurofdfa.data.npz.read_npz`.
    """
    arrays = read_npz(path)
    keys = [key for key in KEYS if key in arrays]
    if len(keys) != 1:
        raise UserError(f"{path} has {_names(arrays)}: {CONTENTS}")
    classes = _words(arrays.get("labels", ()))
    if classes:
        labels = [name for name in arrays if name.partition("_")[0] == "labels"]
        arrays = {**arrays, **{name: _numbered(path, arrays[name], classes) for name in labels}}
    parts = {suffix: _part(path, arrays, keys[0], suffix) for suffix in ("", "_validation", "_test")}
    return _dataset(path, path.stem, keys[0], parts, encoding, classes)


def arrays_dataset(
    name: str,
    encoding: ArrayEncoding,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None,
    test: tuple[Any, Any] | None,
    kind: str | None,
) -> Dataset:
    """Make a data set of arrays in memory; see `Dataset.from_arrays`."""
    key = kind or _guess(train[0])
    if key not in KEYS:
        raise UserError(f"unknown kind of arrays '{kind}'; choose one of {', '.join(KEYS)}")
    where, classes = Path(name), _words(train[1])
    arrays: dict[str, NDArray[Any]] = {}
    for suffix, pair in (("", train), ("_validation", validation), ("_test", test)):
        if pair is not None:
            arrays[key + suffix], own = _stacked(where, pair[0])
            arrays["labels" + suffix] = _numbered(where, pair[1], classes)
            if own is not None:
                arrays["lengths" + suffix] = own
    parts = {suffix: _part(where, arrays, key, suffix) for suffix in ("", "_validation", "_test")}
    return _dataset(where, name, key, parts, encoding, classes)


def _dataset(
    path: Path,
    name: str,
    key: str,
    parts: Mapping[str, _Part | None],
    encoding: ArrayEncoding,
    classes: tuple[str, ...] = (),
) -> Dataset:
    splits = _complete(path, parts)
    n_out = _classes(path, *splits)
    if key == "sequences":
        series = [Labelled([x.astype(np.float64) for x in part.own()], part.targets) for part in splits]
        return series_dataset(name, series, encoding.timing, classes)
    shape = tuple(splits[0].inputs.shape[1:])
    steps = encoding.steps
    if key == "images":
        train, validation, test = (Split(_flat(part), torch.tensor(part.targets)) for part in splits)
    elif steps is not None and steps != shape[0]:
        raise UserError(f"{path} has {shape[0]} time steps, not {steps}; leave the number of steps out")
    else:
        train, validation, test = (_spike_split(part) for part in splits)
    static = key == "images"
    return Dataset(
        name=name,
        kind="static" if static else "spikes",
        n_in=int(np.prod(shape)) if static else shape[-1],
        n_out=n_out,
        steps=(steps or encoding.default_steps) if static else shape[0],
        train=train,
        validation=validation,
        sealed_test=SealedSplit(test),
        encode=encoding.encode if static else None,
        shape=_image_shape(shape) if static else shape[1:],
        classes=classes,
    )


def _flat(part: _Part) -> torch.Tensor:
    return torch.tensor(part.inputs.reshape(len(part.inputs), -1))


def _spike_split(part: _Part) -> Split:
    targets = torch.tensor(part.targets)
    if part.lengths is None:
        return Split(torch.tensor(part.inputs), targets)
    lists = (EventList.of_dense(sample) for sample in part.own())
    return Split(EventStore.of(lists, part.inputs.shape[2]).recordings(), targets)


def _guess(x: Any) -> str:
    """What arrays are, from their shape and values."""
    if isinstance(x, (list, tuple)):
        samples = [np.asarray(sample) for sample in cast(Sequence[Any], x)]
        if not samples or samples[0].ndim != 2:
            return "images"
        return "spikes" if all(bool(np.isin(sample, (0, 1)).all()) for sample in samples) else "sequences"
    values = np.asarray(x)
    if values.ndim != 3 or (values.dtype == np.uint8 and values.size and values.max() > 1):
        return "images"
    if bool(np.isin(values, (0, 1)).all()):
        return "spikes"
    if values.dtype.kind in "iuf" and bool(((values >= 0) & (values <= 1)).all()):
        raise UserError(
            f"arrays of shape {values.shape} with values from 0 to 1 can be images or sequences: say "
            "which with "
            'kind="images" or kind="sequences"'
        )
    return "sequences"


def _stacked(where: Path, x: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Samples of any lengths as one array, filled up with 0, and their lengths where they differ."""
    if not isinstance(x, (list, tuple)):
        return (x.numpy() if isinstance(x, torch.Tensor) else np.asarray(x)), None
    samples = [np.asarray(sample) for sample in cast(Sequence[Any], x)]
    if len({sample.shape for sample in samples}) <= 1:
        return np.stack(samples) if samples else np.zeros((0, 1, 1)), None
    if len({sample.shape[1:] for sample in samples}) > 1 or samples[0].ndim != 2:
        raise UserError(f"{where}: samples differ in shape; give [steps, channels] each, with channels alike")
    own = np.array([len(sample) for sample in samples])
    whole = np.zeros((len(samples), own.max(), samples[0].shape[1]), np.result_type(*samples))
    for row, sample in zip(whole, samples, strict=True):
        row[: len(sample)] = sample
    return whole, own


def _words(y: Any) -> tuple[str, ...]:
    """The classes in order, where the labels are words."""
    labels = np.asarray(y)
    return in_class_order(map(str, labels)) if labels.ndim == 1 and labels.dtype.kind in "UO" else ()


def _numbered(where: Path, y: Any, classes: tuple[str, ...]) -> NDArray[Any]:
    labels = y.numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if not classes:
        return labels
    rank = {word: number for number, word in enumerate(classes)}
    unknown = next((word for word in map(str, labels) if word not in rank), None)
    if unknown is not None:
        raise UserError(f"{where}: label '{unknown}' has no training sample")
    return np.array([rank[str(word)] for word in labels], dtype=np.int64)


def _part(path: Path, arrays: Arrays, key: str, suffix: str) -> _Part | None:
    inputs, labels = arrays.get(key + suffix), arrays.get("labels" + suffix)
    if inputs is None and labels is None and suffix:
        return None
    if inputs is None or labels is None:
        missing = key + suffix if inputs is None else "labels" + suffix
        raise UserError(f"{path} has no `{missing}` (it has {_names(arrays)}): {CONTENTS}")
    targets = _targets(path, labels, "labels" + suffix)
    check = {"images": _images, "spikes": _spikes, "sequences": _sequences}[key]
    values = check(path, inputs, key + suffix)
    if len(values) != len(targets):
        raise UserError(
            f"{path}: `{key + suffix}` has {len(values)} samples, `labels{suffix}` {len(targets)}"
        )
    if not len(values):
        raise UserError(f"{path}: `{key + suffix}` is empty")
    lengths = arrays.get("lengths" + suffix)
    return _Part(values, targets, None if lengths is None else _lengths(path, lengths, values, suffix))


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


def _sequences(path: Path, values: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    if values.ndim != 3:
        raise UserError(
            f"{path}: `{name}` has shape {values.shape}; give [N, T, c]: samples, steps, channels"
        )
    return _numbers(path, values, name)


def _lengths(
    path: Path, lengths: NDArray[np.generic], values: NDArray[np.generic], suffix: str
) -> NDArray[np.int64]:
    if lengths.shape != (len(values),) or not np.issubdtype(lengths.dtype, np.integer) or values.ndim != 3:
        raise UserError(f"{path}: `lengths{suffix}` must be whole numbers of steps, one per sample")
    own = lengths.astype(np.int64)
    if own.min() < 1 or own.max() > values.shape[1]:
        raise UserError(
            f"{path}: `lengths{suffix}` reach from {own.min()} to {own.max()}, outside 1 to {values.shape[1]}"
        )
    return own


def _complete(path: Path, parts: Mapping[str, _Part | None]) -> tuple[_Part, _Part, _Part]:
    train, validation, test = parts[""], parts["_validation"], parts["_test"]
    assert train is not None  # _part raised otherwise
    free = 1 if train.lengths is None else 2  # samples with lengths of their own may be filled up differently
    for other, suffix in ((validation, "_validation"), (test, "_test")):
        if other is not None and other.inputs.shape[free:] != train.inputs.shape[free:]:
            raise UserError(
                f"{path}: a training sample has shape {tuple(train.inputs.shape[1:])}, one of `{suffix[1:]}` "
                f"{tuple(other.inputs.shape[1:])}; they must be equal"
            )
    missing = [part is None for part in (validation, test)]
    if any(missing):
        size = int(len(train.targets) * HELD_OUT)
        if size < 1:
            raise UserError(
                f"{path} has {len(train.targets)} samples: too few to split; add samples or `_test` arrays"
            )
        index = stratified_split(train.targets, [size] * sum(missing), np.random.default_rng(SPLIT_SEED))
        rest, *taken = (train.select(i) for i in index)
        train = rest
        validation = taken.pop(0) if validation is None else validation
        test = taken.pop(0) if test is None else test
    assert validation is not None
    assert test is not None
    return train, validation, test


def _classes(path: Path, train: _Part, *others: _Part) -> int:
    """Count the classes: the training part must show every one of 0…K−1, and the others none beyond."""
    present = np.unique(train.targets)
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
