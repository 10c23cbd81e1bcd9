"""Recordings of an event camera, or of any sensor that tells events, as steps and channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.event_lists import EventList
from neurofdfa.errors import UserError

MOST_CHANNELS = 2**31 - 1
MOST_STEPS = 1_000_000
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
NAMES = {
    "t": ("t", "ts", "timestamp", "timestamps", "time", "times"),
    "x": ("x", "units", "channel", "channels"),
    "y": ("y",),
    "p": ("p", "pol", "polarity", "polarities"),
}


@dataclass(frozen=True)
class Binning:
    """How events become spikes in time steps.

    sensor: (width, height, polarities) in pixels; 1 polarity merges both. steps: T. window: the seconds that
    the T steps divide; later events are left out. pool: pixels that share a channel, along each side.
    from_first: time counts from the first event, not from the start of the recording. unit: of the times,
    one of s, ms, us, ns. whole: every recording has as many steps of window / T as it lasts, not T.
    Raises `UserError` for settings that leave no channel or no time.
    """

    sensor: tuple[int, int, int]
    steps: int = 100
    window: float = 1.0
    pool: int = 1
    from_first: bool = False
    unit: str = "us"
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be binned."""
        if self.steps < 1 or not 0.0 < self.window < float("inf"):
            raise UserError(
                f"{self.steps} steps in a window of {self.window:g} s: give at least 1 step, and "
                "seconds above 0"
            )
        if self.pool < 1:
            raise UserError(f"pool is {self.pool}: give 1 pixel or more per channel and side")
        if min(self.sensor) < 1:
            raise UserError(f"a sensor of {self.sensor} pixels and polarities: each must be at least 1")
        if self.n > MOST_CHANNELS:
            raise UserError(f"{self.n} channels are more than {MOST_CHANNELS}: pool more pixels")
        if self.unit not in UNITS:
            raise UserError(f"unknown unit of time '{self.unit}'; choose one of {', '.join(UNITS)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels as (polarities, height, width), after pooling."""
        width, height, polarities = self.sensor
        return polarities, -(-height // self.pool), -(-width // self.pool)

    @property
    def n(self) -> int:
        """How many channels there are."""
        return math.prod(self.shape)

    def __call__(self, events: Any) -> EventList:
        """Bin one recording, in any order and with repetitions: a channel spikes in a step if it had an
        event.

        events: a structured array or a mapping with fields t, x, and where the sensor has them y and p.
        Polarities may be 0 and 1, −1 and 1, or booleans. Step ⌊t · T / window⌋, channel (p · h + ⌊y / pool⌋)
        · w + ⌊x / pool⌋ of n = polarities · h · w. Raises `UserError` for events outside the sensor or
        before the recording's start, and where the unit of time is plainly another one.
        """
        seconds, x, y, p = columns(events, self)
        for axis, values, limit in (("x", x, self.sensor[0]), ("y", y, self.sensor[1])):
            if len(values) and (values.min() < 0 or values.max() >= limit):
                worst = int(values.min() if values.min() < 0 else values.max())
                raise UserError(f"a recording has events at {axis} {worst}, outside 0 to {limit - 1}")
        if len(seconds) and self.from_first:
            seconds = seconds - seconds.min()
        if len(seconds) and seconds.min() < 0:
            raise UserError(f"a recording has events before its start, at {seconds.min():g} s")
        self._check_unit(seconds)
        step = np.floor(seconds * (self.steps / self.window)).astype(np.int64)
        steps = self.steps
        if self.whole:
            steps = int(step.max()) + 1 if len(step) else 1
            if steps > MOST_STEPS:
                raise UserError(
                    f"a recording lasts {seconds.max():g} s, {steps} steps of "
                    f"{self.window / self.steps:g} s, and at "
                    f"most {MOST_STEPS} are possible: take longer steps, or check the unit of time"
                )
        _, height, width = self.shape
        channel = (p * height + y // self.pool) * width + x // self.pool
        inside = step < steps
        return EventList.of_events(step[inside], channel[inside], steps, self.n)

    def _check_unit(self, seconds: NDArray[np.float64]) -> None:
        """Many events within a step, or a start or an end long after the window, mean another unit."""
        if len(seconds) < 16:
            return
        first, last = float(seconds.min()), float(seconds.max())
        if 0 < last - first < self.window / self.steps / 10 and last < self.window / self.steps:
            raise UserError(
                f"a recording of {len(seconds)} events lasts {last - first:g} s if its times are in "
                f"{self.unit}, less "
                "than a tenth of a step: state the unit of its times, or take a shorter window"
            )
        if not self.whole and first >= self.window:
            raise UserError(
                f"a recording's first event is at {first:g} s if its times are in {self.unit}, after "
                f"the window of {self.window:g} s: state the unit of its times, a longer window, or count "
                "from the first event"
            )
        if not self.whole and last >= 1000 * self.window:
            raise UserError(
                f"a recording lasts {last:g} s if its times are in {self.unit}, a thousand times the window "
                f"of {self.window:g} s: state the unit of its times, or a longer window"
            )


Columns = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def columns(events: Any, form: Binning) -> Columns:
    """Return times in seconds, x, y and polarity (0 or 1) of a recording; 0 for what the sensor has not.

    Raises `UserError` for missing fields, unequal lengths, values that are no numbers, and other polarities.
    """
    time = _field(events, "t", form)
    if not bool(np.isfinite(time.astype(np.float64)).all()):
        raise UserError("a recording has times that are NaN or infinite: leave those events out")
    seconds = time.astype(np.float64) * UNITS[form.unit]
    x = _whole(_field(events, "x", form), "x")
    zero = np.zeros(len(x), dtype=np.int64)
    y = _whole(_field(events, "y", form), "y") if form.sensor[1] > 1 else zero
    p = polarity(_field(events, "p", form)) if form.sensor[2] > 1 else zero
    if len({len(seconds), len(x), len(y), len(p)}) > 1:
        raise UserError(
            f"a recording has {len(seconds)} times and {len(x)} places: give one of each per event"
        )
    return seconds, x, y, p


def polarity(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return polarities as 0 and 1. Raises `UserError` for others than 0 and 1, −1 and 1, or booleans."""
    if values.dtype == np.bool_:
        return values.astype(np.int64)
    codes = np.unique(values)
    if np.isin(codes, (0, 1)).all():
        return values.astype(np.int64)
    if np.isin(codes, (-1, 1)).all():
        return (values > 0).astype(np.int64)
    shown = ", ".join(f"{code:g}" for code in codes[:5])
    raise UserError(f"a recording has events of polarity {shown}, outside 0 to 1 and −1 and 1")


def has_field(events: Any, name: str) -> bool:
    """Whether a recording has a column for t, x, y or p, by any name that `columns` knows."""
    return any(known in _names(events) for known in NAMES[name])


def _names(events: Any) -> tuple[str, ...]:
    if isinstance(events, Mapping):
        return tuple(cast(Mapping[str, Any], events))
    return (cast(NDArray[Any], events).dtype.names or ()) if isinstance(events, np.ndarray) else ()


def _field(events: Any, name: str, form: Binning) -> NDArray[Any]:
    names = _names(events)
    found = next((known for known in NAMES[name] if known in names), None)
    if found is None:
        have = f"it has {', '.join(names)}" if names else "it has no named fields"
        raise UserError(f"a recording has no field '{name}' for a sensor of {form.sensor} ({have})")
    values = np.asarray(events[found])
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
        raise UserError(f"a recording's field '{found}' is no list of numbers")
    return values


def _whole(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    whole = values.astype(np.int64)
    if np.issubdtype(values.dtype, np.floating) and not bool((whole == values).all()):
        raise UserError(f"a recording's {name} has values that are not whole")
    return whole
