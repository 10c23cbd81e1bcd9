"""Samples that are read when they are needed; event lists in flat arrays, in memory or on disk."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.data.event_lists import EventList
from neurofdfa.errors import UserError

Sample = EventList | Tensor
"""One recording: a list of events, or values over time `[T, n]`."""
Flat = NDArray[np.integer[Any]]
ARRAYS = ("channels", "counts", "event_starts", "step_starts")
FORMAT = 1


class Recordings:
    """Samples of any lengths, each read at the moment that somebody asks for it.

    read: gives the sample of a number; it must be picklable for a `DataLoader` with workers. size: how many
    there are. n: channels of every sample. lengths: time steps of each, `[N]`; None where all have the same.
    measured: whether lengths says so; without it, how long a sample is shows when it is read, each time anew.
    """

    def __init__(
        self,
        read: Callable[[int], Sample],
        size: int,
        n: int,
        lengths: NDArray[np.int64] | None = None,
        index: NDArray[np.int64] | None = None,
        *,
        measured: bool = True,
    ) -> None:
        self._read, self.n, self.measured = read, n, measured
        self._index = np.arange(size, dtype=np.int64) if index is None else index
        same = lengths is None or len(np.unique(lengths)) <= 1
        self._lengths = None if same else torch.as_tensor(lengths)

    def __len__(self) -> int:
        """Count the samples."""
        return len(self._index)

    def __getitem__(self, number: int) -> Sample:
        """Read one sample. Raises IndexError beyond the last one, which ends a loop over them."""
        return self._read(int(self._index[number]))

    def __repr__(self) -> str:
        """Show the size, not the contents."""
        return f"Recordings({len(self)} of {self.n} channels)"

    @property
    def lengths(self) -> Tensor | None:
        """Time steps of each sample, `[N]`; None where all have the same. Reads all that are not measured."""
        if self.measured:
            return self._lengths
        found = [x.steps if isinstance(x, EventList) else len(x) for x in self]
        return None if len(set(found)) <= 1 else torch.tensor(found)

    def changed(self, change: Callable[[Sample, int], Sample]) -> Recordings:
        """Return the same samples as `change` makes them of each and its number, when they are read."""
        other = object.__new__(Recordings)
        other._read, other.n, other._index = _Changed(self._read, change), self.n, self._index
        other._lengths, other.measured = self._lengths, self.measured
        return other

    def select(self, index: Tensor | slice) -> Recordings:
        """Return some of the samples, unread. index: numbers or a mask, or a slice."""
        where = index if isinstance(index, slice) else index.cpu().numpy()
        chosen = object.__new__(Recordings)
        chosen._read, chosen.n, chosen._index = self._read, self.n, self._index[where]
        chosen._lengths = None if self._lengths is None else self._lengths[index]
        chosen.measured = self.measured
        return chosen


@dataclass(frozen=True)
class _Changed:
    """Reads a sample and changes it; a class so that it travels to a worker."""

    read: Callable[[int], Sample]
    change: Callable[[Sample, int], Sample]

    def __call__(self, number: int) -> Sample:
        return self.change(self.read(number), number)


class EventStore:
    """Event lists of many samples, one after the other in four flat arrays.

    channels `[E]` and counts `[S]`: as of `EventList`. event_starts, step_starts: where each sample's part of
    them begins, `[N + 1]`. n: channels. 2 bytes per event and 2 per step where n fits into 16 bits.
    """

    def __init__(
        self,
        channels: Flat,
        counts: Flat,
        event_starts: Flat,
        step_starts: Flat,
        n: int,
        folder: Path | None = None,
    ) -> None:
        self.channels, self.counts, self.n, self._folder = channels, counts, n, folder
        self.event_starts, self.step_starts = event_starts, step_starts

    @classmethod
    def of(cls, samples: Iterable[EventList], n: int) -> EventStore:
        """Hold samples in memory."""
        channel_type, count_type = widths(n)
        channels: list[Flat] = [np.zeros(0, channel_type)]
        counts: list[Flat] = [np.zeros(0, count_type)]
        for sample in samples:
            channels.append(sample.channels.astype(channel_type))
            counts.append(sample.counts.astype(count_type))
        starts = (np.cumsum([len(part) for part in parts], dtype=np.int64) for parts in (channels, counts))
        return cls(np.concatenate(channels), np.concatenate(counts), *starts, n=n)

    @classmethod
    def open(cls, folder: Path) -> EventStore:
        """Map a folder that `write_store` has written; nothing is read yet. Raises `UserError` if damaged."""
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise UserError(f"{folder} was written by another neurofdfa: delete it, it is made again")
            mapped = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS]
            arrays = [array.view(np.ndarray) for array in mapped]  # slices of a memmap take ten times as long
            store = cls(*arrays, n=int(about["n"]), folder=folder)
            ends = (int(store.event_starts[-1]), int(store.step_starts[-1]))
            if ends != (len(store.channels), len(store.counts)):
                raise ValueError(f"{ends} events and steps are promised")
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError) as error:
            raise UserError(
                f"the cache {folder} is damaged ({error}): delete it, it is made again"
            ) from error
        return store

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.event_starts) - 1

    def __getitem__(self, number: int) -> EventList:
        """Copy one sample's list out of the arrays."""
        first, last = self.event_starts[number : number + 2]
        begin, end = self.step_starts[number : number + 2]
        return EventList(np.array(self.channels[first:last]), np.array(self.counts[begin:end]), self.n)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker by the folder's name where there is one, rather than with all that it holds."""
        if self._folder is not None:
            return EventStore.open, (self._folder,)
        return EventStore, (self.channels, self.counts, self.event_starts, self.step_starts, self.n)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Time steps of each sample, `[N]`."""
        return np.diff(self.step_starts)

    def recordings(self) -> Recordings:
        """Return the samples as `Recordings`."""
        return Recordings(self.__getitem__, len(self), self.n, self.lengths)


@dataclass(frozen=True)
class _Joined:
    """Reads from several stores, numbered one after the other; a class so that it travels to a worker."""

    stores: tuple[EventStore, ...]

    def __call__(self, number: int) -> Sample:
        for store in self.stores:
            if number < len(store):
                return store[number]
            number -= len(store)
        raise IndexError("beyond the last sample")


def joined(stores: Sequence[EventStore]) -> Recordings:
    """Return the samples of several stores, of the same channels, as one: the first one's come first."""
    lengths = np.concatenate([store.lengths for store in stores])
    return Recordings(_Joined(tuple(stores)), len(lengths), stores[0].n, lengths)


def widths(n: int) -> tuple[type[np.integer[Any]], type[np.integer[Any]]]:
    """Give the narrowest types for channels 0 … n − 1 and for counts 0 … n."""
    return (np.uint16, np.uint16) if n <= np.iinfo(np.uint16).max else (np.int32, np.int32)


def write_store(folder: Path, samples: Iterable[EventList], n: int, **columns: NDArray[Any]) -> None:
    """Write event lists as .npy files into `folder`, one sample at a time, whole or not at all.

    columns: further arrays to lie beside them, such as targets. Nothing happens when `folder` is there by the
    time that it is finished. Raises `UserError` when the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    except OSError as error:
        raise UserError(f"cannot write the cache {folder}: {error.strerror}") from error
    try:
        channel_type, count_type = widths(n)
        event_starts, step_starts = [0], [0]
        with (
            _growing(temporary / "channels.npy", channel_type) as channels,
            _growing(temporary / "counts.npy", count_type) as counts,
        ):
            for sample in samples:
                channels.write(sample.channels.astype(channel_type).tobytes())
                counts.write(sample.counts.astype(count_type).tobytes())
                event_starts.append(event_starts[-1] + len(sample))
                step_starts.append(step_starts[-1] + sample.steps)
        starts = {"event_starts": np.array(event_starts), "step_starts": np.array(step_starts)}
        for name, array in (starts | columns).items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / "about.json").write_text(json.dumps({"format": FORMAT, "n": n}), encoding="utf-8")
        if not folder.exists():
            temporary.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write the cache {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _growing(path: Path, kind: type[np.integer[Any]]) -> Generator[BinaryIO]:
    """A .npy file of one dimension that is written part by part; its length is put in at the end."""
    with open(path, "w+b") as file:
        start = _write_header(file, kind, 0)
        yield file
        size = (file.tell() - start) // np.dtype(kind).itemsize
        file.seek(0)
        if _write_header(file, kind, size) != start:
            raise OSError(f"the header of {path.name} has no room for {size} values")


def _write_header(file: BinaryIO, kind: type[np.integer[Any]], size: int) -> int:
    description = np.lib.format.dtype_to_descr(np.dtype(kind))
    header = {"descr": description, "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
