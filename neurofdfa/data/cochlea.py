"""Sound as spikes: a bank of band-pass filters like the cochlea's, its levels in decibels, and their changes.

Filters are gammatones (Slaney 1993, Apple TR 35, after Patterson and Holdsworth) spaced evenly on the scale
of equivalent rectangular bandwidths (Glasberg and Moore 1990), or triangles on the mel scale. Encoding is
causal: a stream, fed in pieces of any size, gives exactly what the whole recording gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.level_crossing import cross_levels
from neurofdfa.errors import UserError

Float = NDArray[np.float64]
Filters = Literal["gammatone", "mel"]
Output = Literal["level-crossing", "hair-cells", "currents"]
FILTERS, OUTPUTS = ("gammatone", "mel"), ("level-crossing", "hair-cells", "currents")
MOST_BANDS = 4096


@dataclass(frozen=True)
class Cochlea:
    """How sound becomes input, one time step after the other.

    sample_rate: of the sound, Hz. bands: how many filters, evenly spaced from `low` to `high` (Hz; None:
    0.45 of the sample rate, at most 8000 Hz). filters: "gammatone", or "mel". step: length of a time step, s.
    floor: level below which a band counts as silent, dB relative to a sine at full scale.
    output: "level-crossing" tells changes of the level by `delta` dB, with `bands` channels of rises and
    then as many of falls, at most one spike per channel and step; "hair-cells" are leaky integrate-and-fire
    neurons, one per band, of time constant `tau` (s), driven by the level above the floor, that fire when
    they reach `threshold` (dB) and start again at 0; "currents" are the levels themselves, 0 at the floor
    and 1 at full scale.
    Raises `UserError` for settings that no sound can be encoded with.

    >>> cochlea = Cochlea(sample_rate=8000.0, bands=40)
    >>> spikes = cochlea(sound)            # sound [L] in −1…1; spikes [T, 80]
    """

    sample_rate: float
    bands: int = 40
    low: float = 100.0
    high: float | None = None
    filters: Filters = "gammatone"
    step: float = 0.01
    floor: float = -60.0
    output: Output = "level-crossing"
    delta: float = 3.0
    tau: float = 0.02
    threshold: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not 1.0 <= self.sample_rate < float("inf"):
            raise UserError(f"the sample rate is {self.sample_rate:g} Hz: give a positive number")
        if not 1 <= self.bands <= MOST_BANDS:
            raise UserError(f"a cochlea of {self.bands} bands: give 1 to {MOST_BANDS}")
        if not 0.0 < self.low < self.highest <= self.sample_rate / 2:
            raise UserError(
                f"bands from {self.low:g} to {self.highest:g} Hz at {self.sample_rate:g} samples a second: "
                f"give 0 < low < high <= {self.sample_rate / 2:g}"
            )
        if not 1.0 <= self.step * self.sample_rate < float("inf"):
            raise UserError(f"a step of {self.step:g} s is shorter than a sample: give a longer one")
        if self.filters not in FILTERS or self.output not in OUTPUTS:
            raise UserError(
                f"unknown cochlea '{self.filters}', '{self.output}': choose filters of "
                f"{', '.join(FILTERS)} and an output of {', '.join(OUTPUTS)}"
            )
        if not -200.0 <= self.floor < 0.0:
            raise UserError(f"the floor is {self.floor:g} dB: give a level below full scale, −200 to 0")
        for name, value in (("delta", self.delta), ("tau", self.tau), ("threshold", self.threshold)):
            if not 0.0 < value < float("inf"):
                raise UserError(f"the cochlea's {name} is {value:g}: give a positive number")

    @property
    def n(self) -> int:
        """How many channels come out."""
        return self.bands * (2 if self.output == "level-crossing" else 1)

    @property
    def highest(self) -> float:
        """Centre of the highest band, Hz."""
        return min(8000.0, 0.45 * self.sample_rate) if self.high is None else self.high

    @cached_property
    def centres(self) -> Float:
        """Centre frequency of every band, lowest first, Hz."""
        if self.filters == "mel":
            low, high = _to_mel(np.array([self.low, self.highest]))
            return _from_mel(np.linspace(float(low), float(high), self.bands))
        low, high = _to_erb_rate(np.array([self.low, self.highest]))
        return _from_erb_rate(np.linspace(float(low), float(high), self.bands))

    def __call__(self, sound: NDArray[np.floating]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Encode a whole recording `[L]`, full scale ±1, as `[T, n]`; a last step that is not full is left
        out.
        """
        return self.stream().push(sound)

    def stream(self) -> CochleaStream:
        """Begin a sound that comes in pieces, as from a microphone."""
        return CochleaStream(self)


class CochleaStream:
    """A sound that comes in pieces: `spikes = stream.push(samples)`, the steps `[t, n]` that are now
    complete.

    Whatever the pieces, the steps are those of the whole sound at once, to the last bit.
    """

    def __init__(self, cochlea: Cochlea) -> None:
        """Begin in silence."""
        self.cochlea = cochlea
        bank = _Gammatones if cochlea.filters == "gammatone" else _Mel
        self._bank: _Gammatones | _Mel = bank(cochlea)
        self._reference = np.zeros((1, cochlea.bands))
        self._membrane = np.zeros(cochlea.bands)

    def push(self, sound: NDArray[np.floating]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Take the next samples `[L]`, full scale ±1. Raises `UserError` for another shape, NaN and
        infinity.
        """
        samples = np.asarray(sound, dtype=np.float64)
        if samples.ndim != 1:
            raise UserError(f"sound has shape {samples.shape}: give one channel, [L]")
        if not bool(np.isfinite(samples).all()):
            raise UserError("sound contains NaN or infinity: leave those samples out")
        cochlea = self.cochlea
        power = self._bank.push(samples)
        level = np.maximum(10.0 * np.log10(2.0 * power + 1e-30) - cochlea.floor, 0.0)
        if cochlea.output == "currents":
            return (level / -cochlea.floor).astype(np.float32)
        if cochlea.output == "level-crossing":
            spikes, self._reference = cross_levels(level[None], cochlea.delta, self._reference)
            return spikes[0]
        return self._fire(level)

    def _fire(self, level: Float) -> NDArray[np.uint8]:
        decay = np.exp(-self.cochlea.step / self.cochlea.tau)
        spikes = np.zeros(level.shape, dtype=np.uint8)
        for t, drive in enumerate(level):
            self._membrane = decay * self._membrane + (1.0 - decay) * drive
            spikes[t] = self._membrane >= self.cochlea.threshold
            self._membrane[spikes[t] != 0] = 0.0
        return spikes


class _Gammatones:
    """Mean square per band and step of gammatone filters, four second-order sections each."""

    def __init__(self, cochlea: Cochlea) -> None:
        self.rate, self.step = cochlea.sample_rate, cochlea.step
        self.sections = gammatone_sections(cochlea.centres, cochlea.sample_rate)
        self.state = np.zeros((cochlea.bands, 4, 2))
        self.left = np.zeros((cochlea.bands, 0))
        self.done = 0

    def push(self, sound: Float) -> Float:
        # Imported here: scipy.signal takes a second that data sets without sound should not.
        from scipy.signal import sosfilt  # pyright: ignore[reportUnknownVariableType]

        heard = np.empty((len(self.sections), len(sound)))
        for band, sections in enumerate(self.sections if len(sound) else ()):
            heard[band], self.state[band] = sosfilt(sections, sound, zi=self.state[band])
        whole = np.concatenate([self.left, heard], axis=1)
        ends = _boundaries(self.done, whole.shape[1], self.rate, self.step)
        power = np.empty((len(ends) - 1, len(whole)))
        for t in range(len(power)):
            part = whole[:, ends[t] : ends[t + 1]]
            power[t] = np.square(part).mean(axis=1)
        self.left = whole[:, ends[-1] :].copy()
        self.done += len(power)
        return power


class _Mel:
    """Mean square per band and step of triangles on the mel scale, over Hann windows of two and a half
    steps.
    """

    def __init__(self, cochlea: Cochlea) -> None:
        self.rate, self.step = cochlea.sample_rate, cochlea.step
        size = max(4, round(2.5 * cochlea.step * cochlea.sample_rate))
        self.window = np.hanning(size + 1)[:-1]
        points = max(512, 2 ** int(np.ceil(np.log2(size))))
        self.points = points
        frequencies = np.fft.rfftfreq(points, 1.0 / cochlea.sample_rate).astype(np.float64)
        spacing = _to_mel(cochlea.centres)
        gap = spacing[1] - spacing[0] if cochlea.bands > 1 else 100.0
        distance = np.abs(_to_mel(frequencies)[None] - spacing[:, None]) / gap
        triangles = np.maximum(1.0 - distance, 0.0)
        # a band narrower than the spectrum's lines has one line at least
        nearest = (np.arange(cochlea.bands), np.argmin(distance, axis=1))
        triangles[nearest] = np.maximum(triangles[nearest], 0.5)
        # Parseval: a sine at full scale has a mean square of 1/2, spread over the lines of the window
        self.weights = 2.0 * triangles / (points * np.square(self.window).sum())
        self.left = np.zeros(size)
        self.done = 0

    def push(self, sound: Float) -> Float:
        size = len(self.window)
        whole = np.concatenate([self.left, sound])
        ends = _boundaries(self.done, len(whole) - size, self.rate, self.step)
        power = np.empty((len(ends) - 1, len(self.weights)))
        for t in range(len(power)):
            frame = whole[ends[t + 1] : ends[t + 1] + size] * self.window
            power[t] = self.weights @ np.square(np.abs(np.fft.rfft(frame, self.points)))
        self.left = whole[ends[-1] :].copy()
        self.done += len(power)
        return power


def gammatone_sections(centres: Float, sample_rate: float) -> Float:
    """Second-order sections `[bands, 4, 6]` of gammatone filters of order 4 with gain 1 at their centres
    (Hz).

    Slaney 1993, equations of `MakeERBFilters`; `scipy.signal.gammatone` multiplies the same sections out,
    which loses its precision for low bands at high sample rates.
    """
    period = 1.0 / sample_rate
    width = 1.019 * 2.0 * np.pi * 24.7 * (4.37e-3 * centres + 1.0)
    angle, shrink = 2.0 * np.pi * centres * period, np.exp(-width * period)
    sections = np.zeros((len(centres), 4, 6))
    roots = (np.sqrt(3 + 2**1.5), -np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5), -np.sqrt(3 - 2**1.5))
    for k, root in enumerate(roots):
        sections[:, k, 0] = period
        sections[:, k, 1] = -period * shrink * (np.cos(angle) + root * np.sin(angle))
        sections[:, k, 3] = 1.0
        sections[:, k, 4] = -2.0 * np.cos(angle) * shrink
        sections[:, k, 5] = np.square(shrink)
    delays = np.exp(-1j * angle[:, None, None] * np.arange(3))
    gain = np.abs((sections[..., :3] * delays).sum(-1) / (sections[..., 3:] * delays).sum(-1))
    sections[..., :3] /= gain[
        ..., None
    ]  # section by section: the product of four small gains would lose digits
    return sections


def _boundaries(done: int, samples: int, rate: float, step: float) -> NDArray[np.int64]:
    """Where the next steps begin and end among `samples` that follow step `done`, full steps only."""
    first = _boundary(done, rate, step)
    most = int(samples / (rate * step)) + 2
    ends = np.array([_boundary(done + k, rate, step) - first for k in range(most + 1)], dtype=np.int64)
    return ends[ends <= samples]


def _boundary(index: int, rate: float, step: float) -> int:
    return int(np.floor(index * rate * step + 0.5))


def _to_erb_rate(hertz: Float) -> Float:
    return 21.4 * np.log10(1.0 + 4.37e-3 * hertz)


def _from_erb_rate(rate: Float) -> Float:
    return (10.0 ** (rate / 21.4) - 1.0) / 4.37e-3


def _to_mel(hertz: Float) -> Float:
    return 2595.0 * np.log10(1.0 + hertz / 700.0)


def _from_mel(mel: Float) -> Float:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
