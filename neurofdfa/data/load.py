"""One name or path in, one `Dataset` out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from neurofdfa.data.arrays import npz_file
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.digits import digits
from neurofdfa.data.encode import DIRECT, POISSON, encoder
from neurofdfa.data.events import FORMATS, event_recordings
from neurofdfa.data.idx import SOURCES, idx_images
from neurofdfa.data.randman import randman
from neurofdfa.data.series import Timing, csv_file, japanese_vowels, pendigits
from neurofdfa.data.timing import cue_accumulation, delayed_xor, pattern
from neurofdfa.errors import UserError, unknown

STATIC_STEPS, SERIES_STEPS = 16, 100
LEVEL_DELTA = 0.25
VOWELS, PENDIGITS = "japanese-vowels", "pendigits"

GENERATED: Mapping[str, Callable[..., Dataset]] = {
    "randman": randman,
    "delayed-xor": delayed_xor,
    "cue-accumulation": cue_accumulation,
    "pattern": pattern,
}


def names() -> tuple[str, ...]:
    """Every data set that has a name; besides these, `load` takes the path of a file."""
    return ("digits", *SOURCES, *FORMATS, VOWELS, PENDIGITS, *GENERATED)


def load(
    name: str,
    *,
    data_root: Path | str | None = None,
    steps: int | None = None,
    seed: int = 0,
    encode: str = POISSON,
    max_rate: float = 0.5,
    gain: float = 1.0,
    download: bool = False,
    options: Mapping[str, object] | None = None,
) -> Dataset:
    """Load the data set called `name`, or the user's own .npz or .csv file at that path.

    data_root: folder of the files of a named set; download: fetch them when missing (image and event sets).
    steps: time steps; None for 16 with static images, 100 with time series and events, or the
        data's own.
    seed: of generated tasks; the splits of real data are fixed.
    encode, max_rate, gain: how static images become input (see `neurofdfa.data.encode.encoder`). Time series
        become level-crossing spikes, or with "direct" standardised currents.
    options: further settings by name: the arguments of a generated task, `delta` of level crossings (in
        standard deviations), `channels` of a .csv file whose rows are series; `window`, `pool` and `limit` of
        events (see `neurofdfa.data.events.event_recordings`); `shift`, `train` and `validation` of MNIST and
        Fashion-MNIST (see `neurofdfa.data.idx.idx_images`).
    Raises UserError for an unknown name or option and for every file that cannot be used.
    """
    if steps is not None and steps < 1:
        raise UserError(f"the number of time steps is {steps}; give a positive number")
    encode_images = encoder(encode, max_rate=max_rate, gain=gain)
    if name in GENERATED:
        known = {key: p.default for key, p in inspect.signature(GENERATED[name]).parameters.items()}
        given = checked_options(name, {k: v for k, v in known.items() if k not in {"steps", "seed"}}, options)
        return GENERATED[name](seed=seed, steps=known["steps"] if steps is None else steps, **given)
    if name in {VOWELS, PENDIGITS} or Path(name).suffix == ".csv":
        return _series(name, data_root, steps, keep_values=encode == DIRECT, options=options)
    if name in FORMATS:
        return _events(name, data_root, steps, download=download, options=options)
    if name in SOURCES:
        given = checked_options(name, {"shift": 0, "train": 0, "validation": 0}, options)
        whole = {key: int(value) for key, value in given.items()}
        root = _required(name, data_root)
        return idx_images(name, root, steps or STATIC_STEPS, encode_images, download=download, **whole)
    checked_options(name, {}, options)
    if name == "digits":
        return digits(steps or STATIC_STEPS, encode_images)
    if Path(name).suffix == ".npz":
        return npz_file(Path(name), steps, encode_images, default_steps=STATIC_STEPS)
    raise unknown("data set", name, names(), ", or a .npz or .csv file")


def checked_options(
    name: str, known: Mapping[str, int | float], options: Mapping[str, object] | None
) -> dict[str, int | float]:
    """Return the options given. Raises UserError unless each is known and of the type of its default."""
    given: dict[str, int | float] = {}
    for key, value in (options or {}).items():
        if key not in known:
            takes = f"it has {', '.join(known)}" if known else "it takes none"
            raise UserError(f"{name} has no option '{key}'; {takes}")
        whole = isinstance(known[key], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            kind = "a whole number" if whole else "a number"
            raise UserError(f"{name}: {key} is {value!r}; give {kind}, like its default {known[key]}")
        given[key] = value
    return given


def _series(
    name: str,
    data_root: Path | str | None,
    steps: int | None,
    *,
    keep_values: bool,
    options: Mapping[str, object] | None,
) -> Dataset:
    known: dict[str, int | float] = {} if keep_values else {"delta": LEVEL_DELTA}
    if name not in {VOWELS, PENDIGITS}:
        known["channels"] = 1
    given = checked_options(name, known, options)
    delta = None if keep_values else float(given.get("delta", LEVEL_DELTA))
    timing = Timing(SERIES_STEPS if steps is None else steps, delta)
    if name == VOWELS:
        return japanese_vowels(_required(name, data_root), timing)
    if name == PENDIGITS:
        return pendigits(_required(name, data_root), timing)
    return csv_file(Path(name), timing, channels=int(given.get("channels", 1)))


def _events(
    name: str,
    data_root: Path | str | None,
    steps: int | None,
    *,
    download: bool,
    options: Mapping[str, object] | None,
) -> Dataset:
    given = checked_options(name, {"window": 0.0, "pool": 0, "limit": 0}, options)
    return event_recordings(
        name,
        _required(name, data_root),
        steps=SERIES_STEPS if steps is None else steps,
        window=float(given.get("window", 0.0)),
        pool=int(given.get("pool", 0)),
        limit=int(given.get("limit", 0)),
        download=download,
    )


def _required(name: str, data_root: Path | str | None) -> Path:
    if data_root is None:
        raise UserError(f"{name} needs --data-root: the folder that holds its files")
    return Path(data_root)
