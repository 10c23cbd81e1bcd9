"""Recordings of sound as spikes: the user's own WAV files, and the Free Spoken Digit Dataset."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.cache import cached_store
from neurofdfa.data.cochlea import Cochlea
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.folders import Listing, list_recordings, recorded_dataset, split_listing
from neurofdfa.data.recordings import Recordings
from neurofdfa.data.split import Index
from neurofdfa.data.wav import WavHeader, read_wav, read_wav_header
from neurofdfa.errors import UserError

FSDD_TEST, FSDD_VALIDATION, FSDD_STEPS = 5, 10, 100
"""Recordings 0–4 of every digit and speaker are the official test, 5–9 validate here, the others are
learnt.
"""


@dataclass(frozen=True)
class SoundFolder:
    """How a folder of WAV files is read.

    rate: samples a second that all are resampled to; 0 where they agree already. normalise: every recording
    is scaled to a peak of full scale. whole: every recording has as many steps as it lasts, rather than all
    the same number. speaker: whose recordings make the test split, where the names of the files tell it.
    bands, low, high (Hz, 0 for the cochlea's own), filters, step (s), floor (dB), output, delta (dB), tau
    (s), threshold (dB): of `neurofdfa.data.cochlea.Cochlea`.
    """

    rate: int = 0
    normalise: bool = True
    whole: bool = False
    speaker: str = ""
    bands: int = 40
    low: float = 100.0
    high: float = 0.0
    filters: str = "gammatone"
    step: float = 0.01
    floor: float = -60.0
    output: str = "level-crossing"
    delta: float = 6.0
    tau: float = 0.02
    threshold: float = 10.0

    def cochlea(self, rate: int) -> Cochlea:
        """The encoder of sounds with `rate` samples a second. Raises `UserError` where it cannot be built."""
        filters: Any = self.filters
        output: Any = self.output
        return Cochlea(
            float(rate),
            self.bands,
            self.low,
            self.high or None,
            filters,
            self.step,
            self.floor,
            output,
            self.delta,
            self.tau,
            self.threshold,
        )


def sound_folder(folder: Path, steps: int | None, settings: SoundFolder) -> Dataset:
    """Load a folder per class of WAV files, or flat names `{label}_{speaker}_{index}.wav`, as spikes.

    steps: T; what lasts longer is cut off (None: as the longest recording needs). Shorter ones are followed
    by silence. Channels are mixed down, which is said once. What the recordings become is kept in the cache,
    see `neurofdfa.data.cache`. Raises `UserError`, with the file's name, for every file that cannot be used.
    """
    listing = list_recordings(folder, (".wav", ".wave"))
    return _dataset(folder.name, listing, split_listing(listing, folder, settings.speaker), steps, settings)


def fsdd(data_root: Path, steps: int | None, settings: SoundFolder) -> Dataset:
    """Load the Free Spoken Digit Dataset (Jackson et al.): ten digits by six speakers, 8 kHz.

    The files lie in data_root/recordings, data_root/fsdd/recordings or data_root itself. Test: recordings 0
    to 4 of every digit and speaker, which is the official split; validation: 5 to 9; the others are for
    learning.
    speaker: everything by this one is the test instead, 0 to 4 of the others validate.
    Raises `UserError` for missing files and for names that are not `{digit}_{speaker}_{index}.wav`.
    """
    places = (data_root / "fsdd" / "recordings", data_root / "recordings", data_root)
    folder = next((place for place in places if any(place.glob("*_*_*.wav"))), None)
    if folder is None:
        raise UserError(f"no recordings of fsdd in {data_root}; name their folder with --data-root")
    listing = list_recordings(folder, (".wav",))
    numbers = [path.stem.rpartition("_")[2] for path in listing.paths]
    odd = next((path for path, k in zip(listing.paths, numbers, strict=True) if not k.isdecimal()), None)
    if odd is not None or not listing.speakers:
        raise UserError(f"{odd or folder} is not named digit_speaker_index.wav, as fsdd is")
    take = np.array([int(number) for number in numbers])
    others = np.ones(len(take), dtype=bool)
    test = take < FSDD_TEST
    validation = (take >= FSDD_TEST) & (take < FSDD_VALIDATION)
    if settings.speaker:
        split_listing(listing, folder, settings.speaker)  # raises for a speaker who is not there
        others = np.array(listing.speakers) != settings.speaker
        test, validation = ~others, others & (take < FSDD_TEST)
    parts = [np.flatnonzero(part) for part in (~test & ~validation, validation, test)]
    if not all(map(len, parts)):
        raise UserError(f"{folder} has recordings for training, validation and test: {[*map(len, parts)]}")
    return _dataset("fsdd", listing, (parts[0], parts[1], parts[2]), steps or FSDD_STEPS, settings)


def _dataset(
    name: str, listing: Listing, parts: tuple[Index, Index, Index], steps: int | None, settings: SoundFolder
) -> Dataset:
    headers = [read_wav_header(path) for path in listing.paths]
    rate = settings.rate or _one_rate(listing, headers)
    if any(header.channels > 1 for header in headers):
        warnings.warn(f"{name} has recordings of several channels, which are mixed down to one", stacklevel=4)
    cochlea = settings.cochlea(rate)
    longest = max(math.ceil(header.seconds / settings.step) for header in headers)
    steps = longest if steps is None else steps
    span = None if settings.whole else steps
    read = partial(_encoded, listing.paths, cochlea, rate, settings.normalise, span)
    if settings.output == "currents":  # values, not events: they are held in memory
        tensors = [torch.as_tensor(read(number)) for number in range(len(listing.paths))]
        lengths = np.array([len(tensor) for tensor in tensors])
        recordings = Recordings(tensors.__getitem__, len(tensors), cochlea.n, lengths)
        steps = int(lengths.max())
    else:
        kept = (replace(settings, speaker=""), rate, span)
        store = cached_store(name, listing.paths, kept, cochlea.n, partial(_lists, read, len(listing.paths)))
        recordings, steps = store.recordings(), int(store.lengths.max())
    return recorded_dataset(
        name,
        recordings,
        listing.labels,
        parts,
        steps=steps,
        classes=listing.classes,
        shape=(cochlea.n // cochlea.bands, 1, cochlea.bands),
        kind="sequence" if settings.output == "currents" else "spikes",
    )


def _lists(read: Callable[[int], NDArray[Any]], size: int) -> Iterator[EventList]:
    return (EventList.of_dense(read(number)) for number in range(size))


def _encoded(
    paths: tuple[Path, ...], cochlea: Cochlea, rate: int, normalise: bool, steps: int | None, number: int
) -> NDArray[Any]:
    """One recording as input, [T, n]; cut off or followed by silence to `steps`, where given."""
    sound = read_wav(paths[number], rate)
    peak = float(np.abs(sound).max())
    if normalise and peak > 0.0:
        sound = sound / peak
    if steps is not None:
        sound = sound[: math.ceil(steps * cochlea.step * rate)]
    encoded = cochlea(sound)
    missing = 1 - len(encoded) if steps is None else steps - len(encoded)
    return np.pad(encoded, ((0, max(0, missing)), (0, 0)))[:steps]


def _one_rate(listing: Listing, headers: list[WavHeader]) -> int:
    """The sample rate that all recordings share."""
    rate = headers[0].rate
    for path, header in zip(listing.paths, headers, strict=True):
        if header.rate != rate:
            raise UserError(
                f"{path} has {header.rate} samples a second and {listing.paths[0].name} {rate}: set rate = "
                f"{min(rate, header.rate)} to resample all of them"
            )
    return rate
