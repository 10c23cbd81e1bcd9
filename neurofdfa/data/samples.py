"""Samples that another data set reads: torch's or tonic's with their transforms, rows of a table, a stream.

Nothing is copied and nothing is kept: every sample is read, with whatever its data set does to it, at the
moment that its batch is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from neurofdfa.data.collate import Batch, collate
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import Recordings, Sample
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
TARGETS = ("label", "labels", "target", "targets", "y")
"""Columns that hold the class of a row unless another one is named."""


class Samples:
    """Batches of the samples that a data set, or any other iterable, hands out one by one.

    source: what has a length and gives sample number k (a data set of torch or tonic, or of Hugging Face), or
    what can be gone through, as often as there are epochs, without knowing how long it is. A sample is
    (x, target), or a row: a mapping of columns.
    x: the column that is the input; None where there is one beside the target. target: the column that is the
    target; None for the first of "label", "labels", "target", "targets" and "y".
    transform: makes of an input what can be learnt from, an `EventList` or values over time `[T, …]`. A
    `Binning` does that with events of a camera, a `Cochlea` with sound.
    classes: words that the targets are, in the order of the outputs; None where targets are numbers.

    What has a length is drawn in random order, by the seed. What has none comes in its own order: shuffle it
    where it comes from. It is told the epoch where it has a method `set_epoch`.
    """

    def __init__(
        self,
        source: Any,
        *,
        x: str | None = None,
        target: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if not numbered(source) and not isinstance(source, Iterable):
            raise UserError(
                f"samples come from a data set or an iterable, not from a {type(source).__name__}"
            )
        self.source: Any = source
        self.transform = transform
        self._x, self._target = x, target
        self._numbers = None if classes is None else {word: number for number, word in enumerate(classes)}

    def __len__(self) -> int:
        """Count the samples. Raises `TypeError` where the source does not know, as its own `len` does."""
        return len(self.source)

    def __getitem__(self, number: int) -> tuple[Sample, Any]:
        """Read one sample: an `EventList` or float32 `[T, n]`, and its target."""
        return self.read(self.source[number], number)

    def batches(self, batch_size: int, *, seed: int | None = None) -> Iterator[Batch]:
        """Yield (x, target), or (x, target, lengths) where the samples of a batch differ, time-major.

        seed: of the order, None for the source's own. Raises `UserError` for a batch size below 1 and, with
        the number of the sample, for one that cannot be learnt from.
        """
        if batch_size < 1:
            raise UserError(f"the batch size is {batch_size}; give a positive number")
        samples = self._drawn(seed)
        while part := list(islice(samples, batch_size)):
            yield collate(part)

    def read(self, row: Any, number: int) -> tuple[Sample, Any]:
        """Make of what the source hands out a sample and its target; number: of the sample, for messages."""
        x, target = self.with_word(row, number)
        return x, self._class(target, number)

    def with_word(self, row: Any, number: int) -> tuple[Sample, Any]:
        """As `read`, with the target as the source has it."""
        given, target = self._pair(row, number)
        if self.transform is not None:
            given = self.transform(given)
        return _learnable(given, number), target

    def shape(self) -> tuple[int, ...]:
        """Channels, height and width where the first sample is frames `[T, c, h, w]`, else nothing."""
        given, _ = self._pair(self.source[0], 0)
        given = given if self.transform is None else self.transform(given)
        shape = tuple(np.shape(given)) if not isinstance(given, EventList) else ()
        if len(shape) == 4:
            return shape[1:]
        return getattr(self.transform, "shape", ())

    def targets(self) -> list[Any]:
        """The targets of all samples, read one by one where the source does not list them."""
        size, source = len(self.source), self.source
        listed: Any = None
        if size and isinstance(source[0], Mapping):
            named = self._target or next((name for name in TARGETS if name in source[0]), None)
            names = getattr(source, "column_names", None)
            listed = source[named] if named is not None and isinstance(names, list) else None
        elif getattr(source, "target_transform", None) is None:
            listed = getattr(source, "targets", None)
        if listed is None or len(listed) != size:
            return [_plain(self._pair(source[number], number)[1]) for number in range(size)]
        return [_plain(target) for target in listed]

    def _drawn(self, seed: int | None) -> Iterator[tuple[Sample, Any]]:
        if numbered(self.source):
            size = len(self.source)
            order = torch.arange(size)
            if seed is not None:
                order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
            return (self[int(number)] for number in order)
        told = getattr(self.source, "set_epoch", None)
        if told is not None and seed is not None:
            told(seed)
        return (self.read(row, number) for number, row in enumerate(self.source))

    def _pair(self, row: Any, number: int) -> tuple[Any, Any]:
        if isinstance(row, Mapping):
            columns = cast(Mapping[str, Any], row)
            target = self._target or next((name for name in TARGETS if name in columns), None)
            others = [name for name in columns if name != target]
            x = self._x or (others[0] if len(others) == 1 else None)
            if target is None or x is None or target not in columns or x not in columns:
                raise UserError(
                    f"sample {number} has the columns {', '.join(map(str, columns))}: say which is the input "
                    "and which the target, Samples(data, x=…, target=…)"
                )
            return columns[x], columns[target]
        if isinstance(row, tuple | list) and len(cast(Sequence[Any], row)) == 2:
            given, target = cast(Sequence[Any], row)
            return given, target
        raise UserError(
            f"sample {number} is a {type(cast(object, row)).__name__}: a data set gives (x, target), or rows "
            "with columns"
        )

    def _class(self, target: Any, number: int) -> Any:
        if self._numbers is not None:
            if target not in self._numbers:
                raise UserError(f"sample {number} is of class {target!r}, which is none of the classes given")
            return self._numbers[target]
        if isinstance(target, str):
            raise UserError(
                f"targets are numbers, and sample {number} is of class '{target}': give the words in the "
                "order of the outputs, Samples(data, classes=[…])"
            )
        return target


def samples_dataset(
    name: str,
    parts: tuple[Any, Any, Any],
    *,
    x: str | None = None,
    target: str | None = None,
    transform: Callable[[Any], Any] | None = None,
) -> Dataset:
    """As `Dataset.from_samples`. parts: of training, validation and test, None for what is not given."""
    read = [None if p is None else _Part(Samples(p, x=x, target=target, transform=transform)) for p in parts]
    train = read[0]
    if train is None or not len(train.samples):
        raise UserError(f"{name} has no sample to learn from")
    words = sorted({t for part in read if part for t in part.targets if isinstance(t, str)})
    number = {word: k for k, word in enumerate(words)}
    sample, _ = train.samples.with_word(train.samples.source[0], 0)
    n = sample.n if isinstance(sample, EventList) else sample.shape[1]
    splits = [None if part is None else part.split(number, n) for part in read]
    missing = [k for k in (1, 2) if splits[k] is None]
    whole = splits[0]
    assert whole is not None
    if missing:
        sizes = [max(1, len(whole) // 5)] * len(missing)
        drawn = stratified_split(whole.targets.numpy(), sizes, np.random.default_rng(SPLIT_SEED))
        splits[0], *held = (whole.select(torch.as_tensor(index)) for index in drawn)
        for k, part in zip(missing, held, strict=True):
            splits[k] = part
    learnt, validating, sealed = splits
    assert learnt is not None
    assert validating is not None
    assert sealed is not None
    most = 1 + max(int(s.targets.max()) for s in (learnt, validating, sealed))
    named = _named_classes(train.samples.source, x, target)
    classes = words if words or len(named) < most else named
    return Dataset(
        name=name,
        kind="spikes" if isinstance(sample, EventList) else "sequence",
        n_in=n,
        n_out=max(most, len(classes)),
        steps=sample.steps if isinstance(sample, EventList) else len(sample),
        train=learnt,
        validation=validating,
        sealed_test=SealedSplit(sealed),
        shape=train.shape,
        classes=tuple(classes),
    )


def _named_classes(source: Any, x: str | None, target: str | None) -> list[str]:
    """What a data set of torchvision, tonic or Hugging Face calls its classes; nothing where it is silent."""
    listed: Any = getattr(source, "classes", None)
    features: Any = getattr(source, "features", None)
    if isinstance(features, Mapping):
        columns = cast(Mapping[str, Any], features)
        column = target or next((name for name in TARGETS if name in columns and name != x), "")
        listed = getattr(columns.get(column), "names", None)
    return [str(name) for name in cast(Sequence[Any], listed)] if isinstance(listed, list | tuple) else []


class _Part:
    """Samples with the targets of all of them."""

    def __init__(self, samples: Samples) -> None:
        if not numbered(samples.source):
            read = [samples.with_word(row, number) for number, row in enumerate(samples.source)]
            samples = Samples([(_compact(x), target) for x, target in read])
        self.samples = samples
        self.targets = samples.targets()

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of frames, else nothing."""
        return self.samples.shape()

    def split(self, number: Mapping[str, int], n: int) -> Split:
        targets = [number[t] if isinstance(t, str) else t for t in self.targets]
        labels = torch.as_tensor(np.asarray(targets))
        if labels.dim() != 1 or labels.is_floating_point() or (len(labels) and int(labels.min()) < 0):
            raise UserError("the targets of samples are class numbers from 0, or words")
        read = _Checked(self.samples, n)
        return Split(Recordings(read, len(labels), n, measured=False), labels.to(torch.int64))


@dataclass(frozen=True)
class _Checked:
    """Reads the input of a sample; a class so that it travels to a worker."""

    samples: Samples
    n: int

    def __call__(self, number: int) -> Sample:
        sample, _ = self.samples.with_word(self.samples.source[number], number)
        found = sample.n if isinstance(sample, EventList) else sample.shape[1]
        if found != self.n:
            raise UserError(f"sample {number} has {found} channels and the first one {self.n}")
        return sample


def _plain(target: Any) -> Any:
    """A number or word, out of whatever array it stands in."""
    return target.item() if hasattr(target, "item") and np.ndim(target) == 0 else target


def _compact(x: Sample) -> Sample:
    """Spikes as a list of events, other values as they are."""
    if isinstance(x, EventList) or not bool(((x == 0) | (x == 1)).all()):
        return x
    return EventList.of_dense(x.numpy())


def numbered(source: object) -> bool:
    """Whether a source has a length and gives sample number k."""
    return hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, Mapping)


def as_samples(source: Any, epoch: int | None) -> tuple[Samples | None, Any]:
    """The samples of a source that hands out single ones, None where it hands out batches; and the source.

    A data set of torch has samples, a row with columns is one, and so is a pair whose target is one number or
    word. To know, the first is looked at, and handed back with the others. epoch: for `set_epoch`.
    """
    kind: Any = type(cast(object, source))
    if issubclass(kind, torch.utils.data.DataLoader):
        return None, source
    if numbered(source):
        of_torch = issubclass(kind, torch.utils.data.Dataset)
        return (Samples(source) if of_torch or (len(source) and _single(source[0])) else None), source
    told = getattr(source, "set_epoch", None)
    if told is not None and epoch is not None:
        told(epoch)
    rows = iter(source)
    for first in rows:
        begun = chain([first], rows)
        return (Samples(begun) if _single(first) else None), begun
    return None, ()


def _single(row: Any) -> bool:
    """Whether this is one sample rather than a batch of them."""
    if isinstance(row, Mapping):
        return True
    if not isinstance(row, tuple | list) or len(cast(Sequence[Any], row)) != 2:
        return False
    target = cast(Sequence[Any], row)[1]
    return isinstance(target, str) or (target is not None and np.ndim(target) == 0)


def _learnable(given: Any, number: int) -> Sample:
    if isinstance(given, EventList):
        return given
    fields: Any = getattr(getattr(given, "dtype", None), "names", None)
    if fields is not None:
        raise UserError(
            f"sample {number} holds events as a camera tells them ({', '.join(fields)}): put them into time "
            "steps by a transform of the data set, such as tonic.transforms.ToFrame, or by "
            "Samples(data, transform=Binning(sensor, steps=…, window=…))"
        )
    try:
        values = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"sample {number} is a {type(given).__name__}, of which no values over time [T, n] can be made: "
            "give the data set a transform, or Samples(data, transform=…)"
        ) from error
    if values.dim() < 2 or not len(values):
        raise UserError(
            f"sample {number} has the shape {list(values.shape)}: give values over time, [T, n], with a "
            "transform of the data set or Samples(data, transform=…)"
        )
    return values.to(torch.float32).flatten(1)
