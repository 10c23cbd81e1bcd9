"""One name or path in, one `Dataset` out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neurofdfa.data.arrays import STATIC_STEPS, ArrayEncoding, npz_file
from neurofdfa.data.augment import ChannelShift, DropEvents, Speed, TimeJitter, TimeShift, chain
from neurofdfa.data.cifar import cifar10
from neurofdfa.data.dataset import Augmentation, Dataset
from neurofdfa.data.digits import digits
from neurofdfa.data.encode import DIRECT, POISSON, Encoder, encoder_named
from neurofdfa.data.event_files import SUFFIXES, EventFolder, event_folder
from neurofdfa.data.events import FORMATS, event_recordings
from neurofdfa.data.idx import SOURCES, idx_images
from neurofdfa.data.randman import randman
from neurofdfa.data.series import Timing, csv_file, csv_folder, japanese_vowels, pendigits
from neurofdfa.data.sound import SoundFolder, fsdd, sound_folder
from neurofdfa.data.timing import cue_accumulation, delayed_xor, pattern
from neurofdfa.errors import UserError, unknown

SERIES_STEPS = 100
LEVEL_DELTA = 0.25
DIGITS, VOWELS, PENDIGITS, FSDD, CIFAR = "digits", "japanese-vowels", "pendigits", "fsdd", "cifar10"
WAV = (".wav", ".wave")

GENERATED: Mapping[str, Callable[..., Dataset]] = {
    "randman": randman,
    "delayed-xor": delayed_xor,
    "cue-accumulation": cue_accumulation,
    "pattern": pattern,
}
Settings = Mapping[str, object]
AUGMENTATIONS: Mapping[str, Any] = {
    "time_jitter": 0.0,
    "time_shift": 0,
    "drop": 0.0,
    "speed": 0.0,
    "channel_shift": 0,
}
"""Settings of recordings that change them for learning, see `neurofdfa.data.augment`; 0 leaves them as they
are.
"""


@dataclass(frozen=True)
class _Request:
    """What `load` was asked for."""

    name: str
    root: Path | None
    steps: int | None
    encode: Encoder
    direct: bool
    download: bool
    settings: Settings

    def files(self) -> Path:
        """The folder of a named set's files."""
        if self.root is None:
            raise UserError(f"{self.name} needs --data-root: the folder that holds its files")
        return self.root

    def take(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The settings given, checked against the names and defaults known."""
        return checked_settings(self.name, known, self.settings)

    def take_for_recordings(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """As `take`, with those that augment recordings left out, which `augmented` applies."""
        given = self.take({**known, **AUGMENTATIONS})
        return {key: value for key, value in given.items() if key not in AUGMENTATIONS}

    def augmented(self, data: Dataset) -> Dataset:
        """The data set with the augmentations that were asked for, in the order of `AUGMENTATIONS`."""
        given: dict[str, Any] = {key: self.settings[key] for key in AUGMENTATIONS if self.settings.get(key)}
        make: dict[str, Callable[[Any], Augmentation]] = {
            "time_jitter": TimeJitter,
            "time_shift": TimeShift,
            "drop": DropEvents,
            "speed": Speed,
            "channel_shift": lambda most: ChannelShift(most, data.shape),
        }
        parts = [make[key](value) for key, value in given.items()]
        return replace(data, augment=chain(parts)) if parts else data


def names() -> tuple[str, ...]:
    """Every data set that has a name; besides these, `load` takes the path of a file or folder."""
    return (DIGITS, *SOURCES, CIFAR, FSDD, *FORMATS, VOWELS, PENDIGITS, *GENERATED)


def load(
    name: str,
    *,
    data_root: Path | str | None = None,
    steps: int | None = None,
    seed: int = 0,
    encoder: str = POISSON,
    max_rate: float = 0.5,
    gain: float = 1.0,
    download: bool = False,
    **settings: object,
) -> Dataset:
    """Load the data set called `name`, or the user's own file or folder at that path.

    A path is an .npz or .csv file, or a folder of recordings: WAV, CSV or event files in a folder per class.
    data_root: folder of the files of a named set; download: fetch them when missing (image and event sets).
    steps: time steps; None for 16 with static images, 100 with time series and events, or the
        data's own.
    seed: of generated tasks; the splits of real data are fixed.
    encoder, max_rate, gain: how static images become input (see `neurofdfa.data.encode.encoder_named`). Time
        series become level-crossing spikes, or with "direct" standardised currents.
    settings: by the kind of data, each by its name. The arguments of a generated task. Series: `delta` of
    level
        crossings (standard deviations), `stretch` (False: every series keeps its length), `channels` of a
        .csv file whose rows are series. Sound: see `neurofdfa.data.sound.SoundFolder`. Folders of event
        files: see `neurofdfa.data.event_files.EventFolder`. Named event sets: `window`, `pool`, `limit`,
        `whole`, `fold`, see `neurofdfa.data.events.event_recordings`. MNIST and Fashion-MNIST: `shift`,
        `train`, `validation`, see `neurofdfa.data.idx.idx_images`; CIFAR-10: these, `flip` and `normalise`.
        Recordings of events and sound are augmented for learning by those of `AUGMENTATIONS`.
    Raises UserError for an unknown name or setting and for every file that cannot be used.
    """
    if steps is not None and steps < 1:
        raise UserError(f"the number of time steps is {steps}; give a positive number")
    encode = encoder_named(encoder, max_rate=max_rate, gain=gain)
    root = None if data_root is None else Path(data_root)
    request = _Request(name, root, steps, encode, encoder == DIRECT, download, settings)
    if name in GENERATED:
        known = {key: p.default for key, p in inspect.signature(GENERATED[name]).parameters.items()}
        given = request.take({k: v for k, v in known.items() if k not in {"steps", "seed"}})
        return GENERATED[name](seed=seed, steps=known["steps"] if steps is None else steps, **given)
    return _named(request) or _own(request)


def _named(request: _Request) -> Dataset | None:
    name, steps = request.name, request.steps
    if name == DIGITS:
        request.take({})
        return digits(steps or STATIC_STEPS, request.encode)
    if name in SOURCES:
        given = request.take({"shift": 0, "train": 0, "validation": 0})
        root, download = request.files(), request.download
        return idx_images(name, root, steps or STATIC_STEPS, request.encode, download=download, **given)
    if name == CIFAR:
        given = request.take({"shift": 0, "flip": False, "normalise": False, "train": 0, "validation": 0})
        if given.get("normalise") and not request.direct:
            raise UserError(
                "normalised images have values of both signs, which are currents: set the encoder to direct"
            )
        return cifar10(request.files(), steps or STATIC_STEPS, request.encode, **given)
    if name == FSDD:
        given = request.take_for_recordings(asdict(SoundFolder()))
        return request.augmented(fsdd(request.files(), steps, SoundFolder(**given)))
    if name in FORMATS:
        given = request.take_for_recordings({"window": 0.0, "pool": 0, "limit": 0, "whole": False, "fold": 0})
        given |= {"steps": SERIES_STEPS if steps is None else steps, "download": request.download}
        return request.augmented(event_recordings(name, request.files(), **given))
    if name == VOWELS:
        timing, _ = _timing(request, {})
        return japanese_vowels(request.files(), timing)
    if name == PENDIGITS:
        timing, _ = _timing(request, {})
        return pendigits(request.files(), timing)
    return None


def _own(request: _Request) -> Dataset:
    path, steps = Path(request.name), request.steps
    if path.suffix == ".csv":
        timing, given = _timing(request, {"channels": 1})
        return csv_file(path, timing, channels=int(given.get("channels", 1)))
    if path.suffix == ".npz":
        timing, _ = _timing(request, {})
        return npz_file(path, ArrayEncoding(request.encode, STATIC_STEPS, steps, timing))
    if path.is_dir():
        return _folder(request, path)
    if path.suffix.lower() in (*WAV, *SUFFIXES) and path.is_file():
        raise UserError(f"{path} is one recording: give the folder that has a folder per class")
    raise unknown("data set", request.name, names(), ", or a .npz or .csv file, or a folder of recordings")


def _folder(request: _Request, path: Path) -> Dataset:
    """The reader of a folder is chosen by the suffix that most of its files have."""
    count: dict[str, int] = {}
    for file in path.rglob("*"):
        suffix = file.suffix.lower()
        if suffix in (*WAV, *SUFFIXES, ".csv") and not file.name.startswith((".", "_")):
            count[suffix] = count.get(suffix, 0) + 1
    if not count:
        raise UserError(f"{path} holds no .wav, .csv or event files ({', '.join(SUFFIXES)})")
    most = max(count, key=lambda suffix: count[suffix])
    if most in WAV:
        given = request.take_for_recordings(asdict(SoundFolder()))
        return request.augmented(sound_folder(path, request.steps, SoundFolder(**given)))
    if most == ".csv":
        timing, given = _timing(request, {"speaker": ""})
        return csv_folder(path, timing, str(given.get("speaker", "")))
    given = request.take_for_recordings(asdict(EventFolder()))
    steps = SERIES_STEPS if request.steps is None else request.steps
    return request.augmented(event_folder(path, steps, EventFolder(**given)))


def _timing(request: _Request, known: Mapping[str, Any]) -> tuple[Timing, dict[str, Any]]:
    """How series become input, and the other settings given."""
    coding: dict[str, Any] = {} if request.direct else {"delta": LEVEL_DELTA}
    given = request.take({**coding, "stretch": True, **known})
    delta = None if request.direct else float(given.pop("delta", LEVEL_DELTA))
    steps = SERIES_STEPS if request.steps is None else request.steps
    return Timing(steps, delta, bool(given.pop("stretch", True))), given


def checked_settings(name: str, known: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the settings given. Raises UserError unless each is known and of the type of its default."""
    for key, value in settings.items():
        if key not in known:
            takes = f"it has {', '.join(known)}" if known else "it takes none"
            raise UserError(f"{name} has no option '{key}'; {takes}")
        default = known[key]
        fits = isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))
        if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
            words = {bool: "true or false", str: "a word", int: "a whole number", float: "a number"}
            raise UserError(
                f"{name}: {key} is {value!r}; give {words[type(default)]}, like its default {default}"
            )
    return dict(settings)
