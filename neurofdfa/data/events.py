"""Event recordings that have a name (SHD, SSC, N-MNIST, DVS Gesture), and any data set object of tonic's
kind.

tonic reads them; it comes with the extra `events`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.binning import Binning
from neurofdfa.data.cache import cached_store
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import EventStore, joined
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
HELD_OUT = 0.2
FOLDS = 5
FOLD_HELD_OUT = 0.1


class EventDataset(Protocol):
    """What this module needs of a tonic data set: (events with fields t in µs, x, y, p; class) per index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.void], int]: ...


@dataclass(frozen=True)
class EventFormat:
    """Where a data set's files lie and how its events are binned unless told otherwise.

    folder: tonic's class, and the folder below data_root. parts: the files of the training, the test and,
    where there is one, the validation part, which must be there.
    sensor: (width, height, polarities). window: seconds of a recording that are used.
    pool: pixels per channel, along each side.
    from_first: time counts from the first event, not from the start of the recording.
    """

    folder: str
    parts: dict[str, str]
    classes: int
    sensor: tuple[int, int, int]
    window: float
    pool: int
    from_first: bool = False

    def asked(self, part: str) -> dict[str, Any]:
        """How tonic's class is asked for a part."""
        return {"split": part} if "valid" in self.parts else {"train": part == "train"}


class _Part(NamedTuple):
    """The recordings of one of a set's parts, and their classes."""

    store: EventStore
    labels: NDArray[np.int64]

    @property
    def split(self) -> Split:
        return Split(self.store.recordings(), torch.as_tensor(self.labels))


FORMATS = {
    "shd": EventFormat("SHD", {"train": "shd_train.h5", "test": "shd_test.h5"}, 20, (700, 1, 1), 1.0, 1),
    "ssc": EventFormat(
        "SSC",
        {"train": "ssc_train.h5", "test": "ssc_test.h5", "valid": "ssc_valid.h5"},
        35,
        (700, 1, 1),
        1.0,
        1,
    ),
    "nmnist": EventFormat(
        "NMNIST", {"train": "Train/**/*.bin", "test": "Test/**/*.bin"}, 10, (34, 34, 2), 0.3, 2
    ),
    "dvsgesture": EventFormat(
        "DVSGesture",
        {"train": "ibmGestureTrain/**/*.npy", "test": "ibmGestureTest/**/*.npy"},
        11,
        (128, 128, 2),
        1.5,
        4,
        True,
    ),
}


def event_recordings(
    name: str,
    data_root: Path,
    *,
    steps: int = 100,
    window: float = 0.0,
    pool: int = 0,
    limit: int = 0,
    whole: bool = False,
    fold: int = 0,
    download: bool = False,
) -> Dataset:
    """Load `name` (shd, ssc, nmnist, dvsgesture) as lists of events from tonic's files below data_root.

    A channel spikes in a step when it had at least one event there. window: seconds of each recording that
    the steps divide; pool: pixels that share a channel, along each side (0: the set's default for both).
    limit: recordings to keep of each part, a fixed random choice (0: all). whole: every recording has as many
    steps of window / steps as it lasts.
    A fifth of the training recordings becomes the validation split, fixed and stratified, where there is
    none.
    fold: 1 to 5 for cross-validation, where the set has too few recordings for one test split to say much: of
    all recordings together, shuffled once and stratified, the fold's fifth is the test and a tenth of the
    others validates (0: the set's own split).
    download: let tonic fetch missing files; nothing touches the network otherwise. What the recordings
    become is kept in the cache, see `neurofdfa.data.cache`.
    Raises UserError without tonic, without files, and for events outside the sensor.
    """
    form = FORMATS[name]
    if limit < 0:
        raise UserError(f"{name}: limit {limit}; give 0 or more recordings")
    if not 0 <= fold <= FOLDS:
        raise UserError(f"{name}: fold {fold}; give 1 to {FOLDS}, or 0 for the set's own split")
    binning = Binning(
        form.sensor, steps, window or form.window, pool or form.pool, form.from_first, whole=whole
    )
    parts = {part: _read(name, form, data_root, part, download, limit, binning) for part in form.parts}
    train, test = parts["train"].split, parts["test"].split
    if fold:
        train, validation, test = _fold(name, list(parts.values()), fold)
    elif "valid" in parts:
        validation = parts["valid"].split
    else:
        size = max(1, int(len(train) * HELD_OUT))
        index = stratified_split(train.targets.numpy(), (size,), np.random.default_rng(SPLIT_SEED))
        train, validation = (train.select(torch.as_tensor(i)) for i in index)
    return Dataset(
        name=name,
        kind="spikes",
        n_in=binning.n,
        n_out=form.classes,
        steps=steps,
        train=train,
        validation=validation,
        sealed_test=SealedSplit(test),
        shape=binning.shape,
    )


def _fold(name: str, parts: Sequence[_Part], fold: int) -> tuple[Split, Split, Split]:
    """Most of the recordings outside the fold, those held out of them to validate, and the fold."""
    labels, rng = np.concatenate([part.labels for part in parts]), np.random.default_rng(SPLIT_SEED)
    size = len(labels) // FOLDS
    if size < 1:
        raise UserError(f"{name} has {len(labels)} recordings, too few for {FOLDS} folds")
    folds = stratified_split(labels, [size] * (FOLDS - 1), rng)
    test = folds.pop(fold - 1)
    others = np.sort(np.concatenate(folds))
    rest, held = stratified_split(labels[others], [max(1, int(len(others) * FOLD_HELD_OUT))], rng)
    whole = Split(joined([part.store for part in parts]), torch.as_tensor(labels))
    chosen = (whole.select(torch.as_tensor(index)) for index in (others[rest], others[held], test))
    train, validation, last = chosen
    return train, validation, last


def _read(
    name: str, form: EventFormat, data_root: Path, part: str, download: bool, limit: int, binning: Binning
) -> _Part:
    recordings = _open(name, form, data_root, part, download)
    order = _order(recordings)
    if limit and limit < len(order):
        order = np.sort(np.random.default_rng(SPLIT_SEED).permutation(len(order))[:limit])
    files = sorted((data_root / form.folder).glob(form.parts[part]))
    labels = _labels(name, recordings, order, files)
    if not len(labels) or labels.min() < 0 or labels.max() >= form.classes:
        raise UserError(
            f"{name} has no recordings, or labels outside 0 to {form.classes - 1}; fetch the data again"
        )

    def lists() -> Iterator[EventList]:
        for index in order:
            try:
                yield binning(recordings[int(index)][0])
            except (OSError, ValueError, IndexError) as error:
                raise UserError(
                    f"{name}: recording {index} cannot be read ({error}); fetch the data again"
                ) from error
            except UserError as error:
                raise UserError(f"{name}: {error}; {_named(recordings, index)} is damaged") from error

    store = cached_store(f"{name}-{part}", files, (binning, limit), binning.n, lists)
    return _Part(store, labels)


def _named(recordings: EventDataset, index: int) -> str:
    paths: Sequence[str] = getattr(recordings, "data", [])
    return str(paths[index]) if len(paths) == len(recordings) else f"recording {index}"


def _labels(
    name: str, recordings: EventDataset, order: NDArray[np.int64], files: Sequence[Path]
) -> NDArray[np.int64]:
    """Class numbers without reading events, from tonic's list or from the one file that holds all."""
    targets: Sequence[int] = getattr(recordings, "targets", [])
    if len(targets) == len(recordings):
        return np.array(targets, dtype=np.int64)[order]
    h5py: Any = importlib.import_module("h5py")
    try:
        with h5py.File(files[0], "r") as file:
            return file["labels"][()].astype(np.int64)[order]
    except (OSError, KeyError, IndexError) as error:
        raise UserError(f"cannot read {name} from {files[0]}: {error}") from error


def _open(name: str, form: EventFormat, data_root: Path, part: str, download: bool) -> EventDataset:
    try:
        datasets: Any = importlib.import_module("tonic.datasets")
    except ImportError as error:
        raise UserError(
            f"{name} is read by tonic, which is not installed: pip install 'neurofdfa[events]'"
        ) from error
    original: Any = getattr(datasets, form.folder)
    pattern = form.parts[part]
    folder = data_root / form.folder
    present = any(folder.glob(pattern))
    if not present and not download:
        raise UserError(
            f"no {pattern} in {folder}; name its parent folder with --data-root, or allow a download"
        )
    # tonic asks for the archive beside the files and fetches it otherwise: files that are there are enough.
    checks: dict[str, Any] = {"_check_exists": _exists} if present else {}
    try:
        return type(form.folder, (original,), checks)(save_to=str(data_root), **form.asked(part))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"cannot read {name} from {folder}: {error}") from error


def _exists(recordings: object) -> bool:
    del recordings
    return True


def _order(recordings: EventDataset) -> NDArray[np.int64]:
    """Indices in the order of the files' names: a folder's listing has another order on other machines."""
    paths: Sequence[str] = getattr(recordings, "data", [])
    if len(paths) == len(recordings):
        return np.argsort(np.array(paths), kind="stable").astype(np.int64)
    return np.arange(len(recordings), dtype=np.int64)
