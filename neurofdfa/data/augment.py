"""Other samples of the same class: recordings moved and thinned in time and place, images cropped and
mirrored.

Every augmentation is called with a sample and a generator, from which alone it draws. A sample is an
`EventList`, or values over time `[T, n]`; the image ones take intensities `[B, n]`, as data sets of images
hand them over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from neurofdfa.data.dataset import Augmentation
from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import Sample
from neurofdfa.data.shift import check_shift, shifted
from neurofdfa.errors import UserError


@dataclass(frozen=True)
class TimeJitter:
    """Move every event by a normally distributed time, of `deviation` steps; events stay within the sample.

    Of values over time `[T, n]`, every step is moved as a whole.
    """

    deviation: float

    def __post_init__(self) -> None:
        """Refuse what is no deviation."""
        _positive("time_jitter", self.deviation)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample with its events moved."""
        if isinstance(sample, EventList):
            moved = sample.times + self._offsets(len(sample), generator)
            return _sorted(sample, np.clip(moved, 0, sample.steps - 1), sample.channels)
        steps = len(sample)
        moved = np.arange(steps) + self._offsets(steps, generator)
        return sample[torch.as_tensor(np.clip(moved, 0, steps - 1))]

    def _offsets(self, size: int, generator: Generator) -> NDArray[np.int64]:
        drawn = torch.randn(size, generator=generator, device=generator.device) * self.deviation
        return drawn.round().to(torch.int64).cpu().numpy()


@dataclass(frozen=True)
class TimeShift:
    """Move the whole sample by −most … most steps, all equally likely; what leaves is lost."""

    most: int

    def __post_init__(self) -> None:
        """Refuse what is no number of steps."""
        _whole("time_shift", self.most)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample, moved."""
        by = _between(-self.most, self.most, generator)
        if isinstance(sample, EventList):
            times = sample.times + by
            inside = (times >= 0) & (times < sample.steps)
            return _in_order(sample, times[inside], sample.channels[inside])
        moved = torch.zeros_like(sample)
        length = max(0, len(sample) - abs(by))
        moved[max(by, 0) : max(by, 0) + length] = sample[max(-by, 0) : max(-by, 0) + length]
        return moved


@dataclass(frozen=True)
class ChannelShift:
    """Move the whole sample by −most … most places; what leaves is lost.

    shape: of the channels: (groups, height, width) moves by rows and by columns, each on its own; (n,) along
    the one line; groups of a line, as the rises and falls of level crossings, are (groups, 1, n / groups).
    """

    most: int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is no number of places."""
        _whole("channel_shift", self.most)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample, moved."""
        groups, height, width = (1,) * (3 - len(self.shape)) + tuple(self.shape)
        down = _between(-self.most, self.most, generator) if height > 1 else 0
        right = _between(-self.most, self.most, generator) if width > 1 else 0
        if isinstance(sample, EventList):
            place = sample.channels.astype(np.int64)
            group, rest = np.divmod(place, height * width)
            y, x = np.divmod(rest, width)
            y, x = y + down, x + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            place = (group * height + y) * width + x
            return _in_order(sample, sample.times[inside], place[inside])
        frames = sample.view(len(sample), groups, height, width)
        moved = torch.zeros_like(frames)
        rows, columns = height - abs(down), width - abs(right)
        if rows > 0 and columns > 0:
            moved[:, :, max(down, 0) : max(down, 0) + rows, max(right, 0) : max(right, 0) + columns] = frames[
                :, :, max(-down, 0) : max(-down, 0) + rows, max(-right, 0) : max(-right, 0) + columns
            ]
        return moved.view_as(sample)


@dataclass(frozen=True)
class DropEvents:
    """Leave out every event, or every value, with the probability `share`, each on its own."""

    share: float

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        if not 0.0 <= self.share < 1.0:
            raise UserError(f"drop is {self.share}, a share of the events: give a number in [0, 1)")

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return what is left."""
        shape = (len(sample),) if isinstance(sample, EventList) else sample.shape
        kept = torch.rand(shape, generator=generator, device=generator.device) >= self.share
        if isinstance(sample, EventList):
            chosen = kept.cpu().numpy()
            return _in_order(sample, sample.times[chosen], sample.channels[chosen])
        return sample * kept.to(sample.device)


@dataclass(frozen=True)
class Speed:
    """Play the sample faster or slower by a factor of up to 1 + `most`, log-uniform, within its own steps.

    What comes after the last step is lost; a sample played faster is followed by silence.
    """

    most: float

    def __post_init__(self) -> None:
        """Refuse what is no factor."""
        _positive("speed", self.most)

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample at another speed."""
        drawn = float(torch.rand((), generator=generator, device=generator.device))
        factor = math.exp((2.0 * drawn - 1.0) * math.log1p(self.most))
        if isinstance(sample, EventList):
            times = np.floor((sample.times + 0.5) * factor).astype(np.int64)
            inside = times < sample.steps
            rebuilt = _sorted if factor < 1.0 else _in_order  # slower, no two steps become one
            return rebuilt(sample, times[inside], sample.channels[inside])
        source = torch.floor((torch.arange(len(sample)) + 0.5) / factor).to(torch.int64)
        inside = source < len(sample)
        played = torch.zeros_like(sample)
        played[inside] = sample[source[inside]]
        return played


@dataclass(frozen=True)
class ShuffleSteps:
    """Put the time steps of the sample in a random order; each keeps what happened in it."""

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """Return the sample without its order."""
        steps = sample.steps if isinstance(sample, EventList) else len(sample)
        order = torch.randperm(steps, generator=generator, device=generator.device)
        if not isinstance(sample, EventList):
            return sample[order.to(sample.device)]
        drawn, before = order.cpu().numpy(), sample.counts.astype(np.int64)
        counts = before[drawn]
        first = np.cumsum(before) - before  # of each step's events, where they are
        moved = np.cumsum(counts) - counts  # and where they will be
        places = np.repeat(first[drawn] - moved, counts) + np.arange(len(sample))
        return EventList(sample.channels[places], counts.astype(sample.counts.dtype), sample.n)


@dataclass(frozen=True)
class Crop:
    """Move every image by up to `most` pixels down and right, as a crop of a padded one; see `shifted`."""

    most: int
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Refuse what leaves nothing of the image."""
        check_shift(self.most, self.shape)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return intensities [B, n], moved."""
        return shifted(self.most, self.shape, images, generator)


@dataclass(frozen=True)
class Flip:
    """Mirror every image, left and right exchanged, with probability one half."""

    shape: tuple[int, int, int]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return intensities [B, n], some of them mirrored."""
        drawn = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
        whole = images.view(len(images), *self.shape)
        return torch.where(drawn.to(images.device)[:, None, None, None], whole.flip(3), whole).flatten(1)


@dataclass(frozen=True)
class Chain:
    """Several augmentations, one after the other."""

    parts: tuple[Augmentation, ...]

    def __call__(self, sample: Any, generator: Generator) -> Any:
        """Return what the last of them makes."""
        for part in self.parts:
            sample = part(sample, generator)
        return sample


def chain(parts: Sequence[Augmentation]) -> Augmentation | None:
    """Make one augmentation of several; None of none."""
    return None if not parts else parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _in_order(sample: EventList, times: NDArray[np.int64], channels: NDArray[Any]) -> EventList:
    """A list of events that stand in order of time and channel, none twice, as those of `sample` did."""
    counts = np.bincount(times, minlength=sample.steps)
    return EventList(channels.astype(np.int32), counts.astype(np.int32), sample.n)


def _sorted(sample: EventList, times: NDArray[np.int64], channels: NDArray[Any]) -> EventList:
    """A list of events in any order, of which several may be one."""
    keys = times * sample.n + channels
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) != 0]
    times, channels = np.divmod(keys, sample.n)
    return _in_order(sample, times, channels)


def _between(low: int, high: int, generator: Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def _whole(name: str, value: int) -> None:
    if value != int(value) or value < 0:
        raise UserError(f"{name} is {value}: give a whole number of at least 0")


def _positive(name: str, value: float) -> None:
    if not 0.0 <= value < float("inf"):
        raise UserError(f"{name} is {value}: give a number of at least 0")
