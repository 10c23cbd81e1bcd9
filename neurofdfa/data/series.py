"""Labelled time series: a user's CSV file, the pen digits, the Japanese vowels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.folders import list_recordings, split_listing
from neurofdfa.data.level_crossing import Series, level_crossing, resample
from neurofdfa.data.recordings import EventStore, Recordings
from neurofdfa.data.series_files import Labelled, read_blocks, read_csv, read_series
from neurofdfa.data.split import stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
HELD_OUT = 0.2
VOWEL_TRAIN = (30,) * 9
VOWEL_TEST = (31, 35, 88, 44, 29, 24, 40, 50, 29)


@dataclass(frozen=True)
class Timing:
    """How series become input: `steps` time steps, and `delta` of the spikes in deviations of a channel.

    delta None keeps the values: standardised currents [N, T, c] in place of spikes [N, T, 2c].
    stretch: every series is resampled to `steps`; without, a point is a step and series keep their lengths.
    """

    steps: int = 100
    delta: float | None = 0.25
    stretch: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that no series can be encoded with."""
        if self.steps < 2:
            raise UserError(f"a time series needs at least 2 time steps, got {self.steps}")
        if self.delta is not None and not 0.0 < self.delta < float("inf"):
            raise UserError(f"delta is {self.delta}: give a positive number of standard deviations")


def csv_file(path: Path, timing: Timing, *, channels: int = 1) -> Dataset:
    """Load a CSV file of labelled series (see `read_csv`); a fifth each becomes validation and test.

    channels: of the wide form, where a row is a whole series and its values are interleaved x, y, x, y, …
    Raises UserError for files that cannot be read as that.
    """
    data = read_csv(path, channels)
    size = int(len(data.labels) * HELD_OUT)
    if size < 1:
        raise UserError(f"{path} has {len(data.labels)} series: too few to split; add series")
    rest, validation, test = stratified_split(data.labels, (size, size), np.random.default_rng(SPLIT_SEED))
    parts = [data.select(index) for index in (rest, validation, test)]
    return series_dataset(path.stem, parts, timing, data.classes)


def csv_folder(folder: Path, timing: Timing, speaker: str = "") -> Dataset:
    """Load a folder per class of CSV files, one series each: a row is a time step, a column a channel.

    The folder's own parts, or fifths for validation and test, see `neurofdfa.data.folders`. Raises UserError,
    with the file's name, for files that cannot be read as that.
    """
    listing = list_recordings(folder, (".csv",))
    series = [read_series(path) for path in listing.paths]
    for path, values in zip(listing.paths, series, strict=True):
        if values.shape[1] != series[0].shape[1]:
            raise UserError(
                f"{path} has {values.shape[1]} channels where {listing.paths[0].name} has "
                f"{series[0].shape[1]}"
            )
    data = Labelled(series, listing.labels, listing.classes)
    parts = split_listing(listing, folder, speaker)
    return series_dataset(folder.name, [data.select(part) for part in parts], timing, listing.classes)


def pendigits(data_root: Path, timing: Timing) -> Dataset:
    """Load pendigits.csv: pen strokes of digits, 8 (x, y) points each (Alimoglu and Alpaydin 1996)."""
    return csv_file(_existing(data_root, "pendigits.csv"), timing, channels=2)


def japanese_vowels(
    data_root: Path,
    timing: Timing,
    *,
    train_counts: Sequence[int] = VOWEL_TRAIN,
    test_counts: Sequence[int] = VOWEL_TEST,
) -> Dataset:
    """Load the Japanese vowels: which of 9 speakers said /ae/, 12 LPC coefficients (Kudo et al. 1999).

    ae.train and ae.test lie in data_root/japanese-vowels or in data_root. A fifth of the training utterances
    becomes the validation split; the test file is the test split.
    *_counts: utterances per speaker, in the order of the file.
    Raises UserError for missing or malformed files.
    """
    train_path = _existing(data_root, "japanese-vowels/ae.train", "ae.train")
    train = _speakers(train_path, train_counts)
    test = _speakers(_existing(train_path.parent, "ae.test"), test_counts)
    size = max(1, int(len(train.labels) * HELD_OUT))
    rest, validation = stratified_split(train.labels, (size,), np.random.default_rng(SPLIT_SEED))
    return series_dataset("japanese-vowels", [train.select(rest), train.select(validation), test], timing)


def _speakers(path: Path, counts: Sequence[int]) -> Labelled:
    blocks = read_blocks(path)
    if len(blocks) != sum(counts):
        raise UserError(f"{path} has {len(blocks)} utterances, expected {sum(counts)}; fetch it again")
    return Labelled(blocks, np.repeat(np.arange(len(counts)), counts))


def _existing(root: Path, *candidates: str) -> Path:
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise UserError(f"no {' or '.join(candidates)} in {root}; name their folder with --data-root")


def series_dataset(
    name: str, parts: Sequence[Labelled], timing: Timing, classes: Sequence[str] = ()
) -> Dataset:
    """Make a data set of training, validation and test series: standardise by the training part, encode.

    Raises UserError for series that differ in their number of channels.
    """
    train = parts[0]
    channels = train.series[0].shape[1]
    if any(series.shape[1] != channels for part in parts for series in part.series):
        raise UserError(f"{name}: series differ in their number of channels")
    frames = np.concatenate(train.series)
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    deviation[deviation == 0.0] = 1.0

    def split(part: Labelled) -> Split:
        scaled = [(series - mean) / deviation for series in part.series]
        if not timing.stretch:
            return Split(_own_lengths(scaled, timing.delta), torch.as_tensor(part.labels))
        stretched = np.stack([resample(series, timing.steps) for series in scaled])
        return Split(_encode(stretched, timing.delta), torch.as_tensor(part.labels))

    n_in = channels if timing.delta is None else 2 * channels
    return Dataset(
        name=name,
        kind="sequence" if timing.delta is None else "spikes",
        n_in=n_in,
        n_out=int(max(part.labels.max() for part in parts)) + 1,
        steps=timing.steps
        if timing.stretch
        else max(len(series) for part in parts for series in part.series),
        train=split(parts[0]),
        validation=split(parts[1]),
        sealed_test=SealedSplit(split(parts[2])),
        shape=(n_in,),
        classes=tuple(classes),
    )


def _own_lengths(series: Sequence[Series], delta: float | None) -> Recordings:
    """Series as recordings, a point a step: lists of level crossings, or the values themselves."""
    channels = series[0].shape[1]
    if delta is not None:
        lists = (EventList.of_dense(level_crossing(values[None], delta)[0]) for values in series)
        return EventStore.of(lists, 2 * channels).recordings()
    tensors = [torch.as_tensor(values.astype(np.float32)) for values in series]
    return Recordings(tensors.__getitem__, len(series), channels, np.array([len(x) for x in series]))


def _encode(values: Series, delta: float | None) -> torch.Tensor:
    encoded: NDArray[np.uint8] | NDArray[np.float32]
    encoded = values.astype(np.float32) if delta is None else level_crossing(values, delta)
    return torch.as_tensor(encoded)
