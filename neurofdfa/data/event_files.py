"""A user's own event recordings: a file each, in a folder per class, read by tonic and expelliarmus."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.aedat4 import read_aedat4
from neurofdfa.data.binning import Binning, columns, has_field
from neurofdfa.data.cache import cached_store
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.folders import list_recordings, recorded_dataset, split_listing
from neurofdfa.data.npz import UNREADABLE, read_npy, read_npz
from neurofdfa.errors import UserError

SUFFIXES = (".bin", ".aedat4", ".raw", ".dat", ".npy", ".npz", ".h5", ".hdf5")
GROUPS = ("events", "CD/events", "spikes", "")
LARGEST = 2**14
"""Pixels along a side beyond which a coordinate is taken for damage when the sensor is not stated."""


@dataclass(frozen=True)
class EventFolder:
    """How a folder of event recordings is read.

    width, height: of the sensor, in pixels; 0 to find them in the files. polarities: 2, or 1 to merge both.
    window: seconds that the steps divide; 0 for the longest recording's. pool, from_first, unit, whole: see
    `neurofdfa.data.binning.Binning`. order: of the columns in .npy files without names. speaker: whose
    recordings make the test split, where the names of the files tell it.
    """

    width: int = 0
    height: int = 0
    polarities: int = 2
    window: float = 0.0
    pool: int = 1
    from_first: bool = False
    unit: str = "us"
    whole: bool = False
    order: str = "txyp"
    speaker: str = ""


def event_folder(folder: Path, steps: int, settings: EventFolder) -> Dataset:
    """Load a folder of event recordings, see `neurofdfa.data.folders.list_recordings`, as lists of events.

    The files are read once; what they become is kept in the cache, see `neurofdfa.data.cache`.
    Raises `UserError`, with the file's name, for every file that cannot be used.
    """
    if sorted(settings.order) not in (sorted("txyp"), sorted("tx"), sorted("txy"), sorted("txp")):
        raise UserError(
            f"the order of columns is '{settings.order}': name t, x, y and p once each, like txyp"
        )
    listing = list_recordings(folder, SUFFIXES)
    parts = split_listing(listing, folder, settings.speaker)
    form = _measured(listing.paths, steps, settings)

    def lists() -> Iterator[EventList]:
        for path in listing.paths:
            with _named(path):
                yield form(read_events(path, settings.order))

    store = cached_store(folder.name, listing.paths, (form, settings.order), form.n, lists)
    return recorded_dataset(
        folder.name,
        store.recordings(),
        listing.labels,
        parts,
        steps=int(store.lengths.max()),
        classes=listing.classes,
        shape=form.shape,
    )


def read_events(path: Path, order: str = "txyp") -> Mapping[str, NDArray[Any]] | NDArray[Any]:
    """Read one recording: named columns t, x, y, p, as the file has them.

    .bin: N-MNIST's five bytes an event (tonic). .aedat4: DV software (aedat), its times counted from the
    first event. .raw: Prophesee EVT2 and EVT3, .dat (expelliarmus). .npy: a structured array, or columns in
    `order`. .npz, .h5: arrays t, x, y, p, in a group `events`, `CD/events` or `spikes` or at the root.
    Pickles are never loaded.
    Raises `UserError`, with the file's name, for what cannot be read, and for a missing package.
    """
    suffix = path.suffix.lower()
    readers = {
        ".bin": _aer,
        ".aedat4": read_aedat4,
        ".raw": _raw,
        ".dat": partial(_prophesee, encoding="dat"),
    }
    readers |= {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".npy": partial(_npy, order=order)}
    if suffix not in readers:
        raise UserError(f"{path} is no event file that can be read: give {', '.join(SUFFIXES)}")
    try:
        return readers[suffix](path)
    except (*UNREADABLE, KeyError) as error:
        raise UserError(f"{path} cannot be read as events ({error}); is it whole?") from error


def _measured(paths: tuple[Path, ...], steps: int, settings: EventFolder) -> Binning:
    """The binning asked for, with the size of the sensor and the window taken from the files where not
    stated.
    """
    known = bool(settings.width and settings.height)
    form = Binning(
        (settings.width or LARGEST, settings.height or LARGEST, settings.polarities),
        steps,
        settings.window or 1.0,
        settings.pool,
        settings.from_first,
        settings.unit,
        settings.whole,
    )
    if known and settings.window:
        return form
    width, height, longest = 1, 1, 0.0
    for path in paths:
        with _named(path):
            events = read_events(path, settings.order)
            height_of = form.sensor[1] if has_field(events, "y") else 1
            narrow = replace(form, sensor=(form.sensor[0], height_of, settings.polarities))
            seconds, x, y, _ = columns(events, narrow)
            if not len(seconds):
                continue
            if max(x.max(), y.max()) >= LARGEST:
                raise UserError(
                    f"a recording has events at {max(x.max(), y.max())}: state the sensor's width"
                )
            width, height = max(width, int(x.max()) + 1), max(height, int(y.max()) + 1)
            begin = seconds.min() if settings.from_first else 0.0
            longest = max(longest, float(seconds.max() - begin))
    return replace(
        form,
        sensor=(settings.width or width, settings.height or height, settings.polarities),
        # the last event lies within the last step
        window=settings.window or max(longest, 1e-6) * (1.0 + 1e-9),
    )


class _named:
    """Puts the file's name before what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError) and str(self.path) not in str(error):
            raise UserError(f"{self.path}: {error}") from error


def _package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{path} is read by {name.split('.')[0]}, which is not installed: pip install 'neurofdfa[events]'"
        ) from error


def _aer(path: Path) -> NDArray[Any]:
    size = path.stat().st_size
    if size % 5:
        raise UserError(f"{path} is cut off: {size} bytes are no whole events of five bytes")
    kinds = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])
    return _package("tonic.io", path).read_mnist_file(str(path), dtype=kinds)


def _raw(path: Path) -> NDArray[Any]:
    with open(path, "rb") as file:
        header = file.read(4096)
    found = re.search(rb"(?im)^% (?:evt|format)\s+(?:EVT)?([23])", header)
    if found is None:
        raise UserError(f"{path} does not say in its header that it is EVT2 or EVT3: convert it")
    return _prophesee(path, f"evt{found.group(1).decode()}")


def _prophesee(path: Path, encoding: str) -> NDArray[Any]:
    wizard = _package("expelliarmus", path).Wizard(encoding=encoding)
    return wizard.read(str(path))


def _npy(path: Path, order: str) -> Mapping[str, NDArray[Any]] | NDArray[Any]:
    values = read_npy(path)
    if values.dtype.names is not None:
        return values
    if values.ndim != 2 or values.shape[1] != len(order):
        raise UserError(
            f"{path} has shape {values.shape}: give [events, {len(order)}], columns in the order {order}, or "
            "a structured array with fields t, x, y, p"
        )
    return {name: values[:, k] for k, name in enumerate(order)}


def _npz(path: Path) -> Mapping[str, NDArray[Any]]:
    return read_npz(path)


def _hdf5(path: Path) -> Mapping[str, NDArray[Any]] | NDArray[Any]:
    h5py: Any = importlib.import_module("h5py")
    with h5py.File(path, "r") as file:
        for group in GROUPS:
            found = file.get(group) if group else file
            if found is None:
                continue
            if isinstance(found, h5py.Dataset):
                return found[()]
            arrays = {name: found[name] for name in found if isinstance(found[name], h5py.Dataset)}
            if arrays:
                return {name: array[()] for name, array in arrays.items()}
    raise UserError(f"{path} has no events in {', '.join(group or 'its root' for group in GROUPS)}")
