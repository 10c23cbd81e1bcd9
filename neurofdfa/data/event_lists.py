"""Input as lists of events, without a dense tensor: of one sample, and of a batch for the event engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neurofdfa.errors import UserError

MOST = 2**31 - 1
"""Events that one batch may hold."""


@dataclass(frozen=True, eq=False)
class EventList:
    """The events of one sample: which channel spiked in which step.

    channels: `[E]`, step after step, ascending and without repetition within a step. counts: `[T]`, how many
    events each step has; their sum is E. n: channels that there are, at least the highest channel + 1.
    Both arrays are of whole numbers, of any width.
    """

    channels: NDArray[np.integer[Any]]
    counts: NDArray[np.integer[Any]]
    n: int

    @classmethod
    def of_events(cls, times: ArrayLike, channels: ArrayLike, steps: int, n: int) -> EventList:
        """Make a list of events in any order; events of one channel within one step become one spike.

        times: in steps, whole numbers `[E]`. Raises `UserError` for events outside `steps` or `n`.
        """
        keys = np.unique(_keys("the recording", times, channels, steps, n))
        counts = np.bincount(keys // n, minlength=steps)
        return cls((keys % n).astype(np.int32), counts.astype(np.int32), n)

    @classmethod
    def of_dense(cls, x: NDArray[Any]) -> EventList:
        """Make a list of the entries of `[T, n]` that are not 0."""
        return cls(
            np.nonzero(x)[1].astype(np.int32), np.count_nonzero(x, axis=1).astype(np.int32), x.shape[1]
        )

    def __len__(self) -> int:
        """Count the events."""
        return len(self.channels)

    @property
    def steps(self) -> int:
        """How many time steps the sample has, T."""
        return len(self.counts)

    @property
    def times(self) -> NDArray[np.int64]:
        """The step of each event, `[E]`."""
        return np.repeat(np.arange(self.steps, dtype=np.int64), self.counts)

    def dense(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return the same as a tensor of 0 and 1, `[T, n]`."""
        x = torch.zeros(self.steps, self.n, dtype=dtype)
        x[torch.as_tensor(self.times), torch.as_tensor(self.channels.astype(np.int64))] = 1
        return x


class Events:
    """A batch of event lists: who spiked when. `Trainer.step` and `events.run` take it like a tensor.

    samples: per sample the times (in steps) and the neurons of its events, two arrays of whole numbers of the
    same length, in any order; they may be empty. A neuron spikes once per step: twice the same event is an
    error, or one event with `merge`. Raises `UserError` for events outside `steps` or `n` and for more than
    2^31 − 1 of them.

    >>> events = Events([(times, neurons), ...], steps=100, n=700)
    >>> trainer.step(events, target)
    """

    def __init__(
        self, samples: Sequence[tuple[ArrayLike, ArrayLike]], steps: int, n: int, *, merge: bool = False
    ) -> None:
        if steps < 1 or n < 1 or not samples:
            raise UserError(f"events need steps, neurons and samples, got {steps}, {n} and {len(samples)}")
        self.steps, self.n, self.batch = steps, n, len(samples)
        rows: list[NDArray[Any]] = []
        self.starts = np.zeros((self.batch, steps + 1), np.int64)
        """First event of each sample and step, `[B, T + 1]`."""
        total = 0
        for index, (times, neurons) in enumerate(samples):
            keys = _keys(f"sample {index}", times, neurons, steps, n)
            kept = np.unique(keys)
            if len(kept) < len(keys) and not merge:
                raise UserError(
                    f"sample {index} has {len(keys) - len(kept)} events twice (same step and neuron): "
                    "pass merge=True to count them once"
                )
            ends = np.searchsorted(kept, np.arange(steps + 1, dtype=np.int64) * n)
            self.starts[index] = total + ends
            rows.append((kept % n).astype(np.int32))
            total += len(kept)
            check_total(total)
        self.channels: NDArray[np.int32] = np.concatenate(rows)
        """Neurons of all events, sample after sample and step after step."""

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def shape(self) -> torch.Size:
        """Of the dense tensor, `[T, B, n]`."""
        return torch.Size((self.steps, self.batch, self.n))

    @classmethod
    def of_lists(cls, samples: Sequence[EventList], steps: int | None = None) -> Events:
        """Make a batch of samples; those that end before `steps` (None: the longest's) are silent after it.

        Raises `UserError` for no samples, and for samples that differ in `n` or are longer than `steps`.
        """
        if not samples:
            raise UserError("a batch needs at least one sample")
        longest = max(sample.steps for sample in samples)
        if any(sample.n != samples[0].n for sample in samples):
            raise UserError(f"samples differ in channels: {sorted({sample.n for sample in samples})}")
        if steps is not None and steps < longest:
            raise UserError(f"a sample has {longest} time steps, more than {steps}")
        batch = object.__new__(cls)
        batch.steps, batch.n, batch.batch = steps or longest, samples[0].n, len(samples)
        check_total(sum(map(len, samples)))
        counts = np.zeros((batch.batch, batch.steps + 1), np.int64)
        for row, sample in zip(counts, samples, strict=True):
            row[1 : sample.steps + 1] = sample.counts
        totals = np.cumsum(counts.sum(1))
        batch.starts = np.cumsum(counts, 1)
        batch.starts[1:] += totals[:-1, None]
        batch.channels = np.concatenate([sample.channels for sample in samples]).astype(np.int32, copy=False)
        return batch

    def rows(self, samples: slice) -> Events:
        """Some of the samples, without copying events."""
        if samples == slice(0, None, 1):
            return self
        part = object.__new__(Events)
        part.steps, part.n, part.channels = self.steps, self.n, self.channels
        part.starts = np.ascontiguousarray(self.starts[samples])
        part.batch = len(part.starts)
        return part

    @classmethod
    def of(cls, x: Tensor) -> Events:
        """Events of a tensor of 0 and 1, `[T, B, n]`."""
        where = [x[:, b].nonzero().numpy() for b in range(x.shape[1])]
        return cls([(w[:, 0], w[:, 1]) for w in where], x.shape[0], x.shape[2])

    def dense(self, dtype: torch.dtype = torch.uint8, device: torch.device | str = "cpu") -> Tensor:
        """The same as a tensor `[T, B, n]`, for engines that take no lists."""
        counts = np.diff(self.starts, axis=1).ravel()
        where = np.repeat(np.arange(self.batch * self.steps), counts)
        sample, time = np.divmod(where, self.steps)
        owned = np.concatenate([self.channels[first:last] for first, last in self.starts[:, [0, -1]]])
        x = torch.zeros(self.shape, dtype=dtype, device=device)
        x[tuple(torch.as_tensor(index.astype(np.int64)).to(device) for index in (time, sample, owned))] = 1
        return x

    def pin_memory(self) -> Events:
        """Hand itself back: lists are read where they lie. A `DataLoader(pin_memory=True)` calls this."""
        return self


def check_total(total: int) -> None:
    """Raises `UserError` for more events than a batch may hold."""
    if total > MOST:
        raise UserError(f"a batch holds at most {MOST} events and this one has {total}: use smaller batches")


def _keys(whose: str, times: ArrayLike, neurons: ArrayLike, steps: int, n: int) -> NDArray[np.int64]:
    """Step · n + neuron of one sample's events, checked. whose: "sample 3", for the message."""
    t, c = np.asarray(times), np.asarray(neurons)
    if t.ndim != 1 or t.shape != c.shape:
        raise UserError(f"{whose}: times {list(t.shape)} and neurons {list(c.shape)} must be two lists alike")
    if len(t) == 0:
        return np.zeros(0, np.int64)
    for name, values, limit in (("time", t, steps), ("neuron", c, n)):
        if not np.issubdtype(values.dtype, np.integer):
            raise UserError(f"{whose}: events need whole {name}s (in steps), got {values.dtype}")
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= limit:
            raise UserError(
                f"{whose} has an event at {name} {low if low < 0 else high}, outside 0..{limit - 1}"
            )
    return t.astype(np.int64) * n + c.astype(np.int64)
