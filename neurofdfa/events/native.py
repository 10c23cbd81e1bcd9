"""Input as lists of events, without a dense tensor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neurofdfa.errors import UserError

MOST = 2**31 - 1
"""Events that one batch may hold."""


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
            keys = _keys(index, times, neurons, steps, n)
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

    def rows(self, samples: slice) -> "Events":
        """Some of the samples, without copying events."""
        if samples == slice(0, None, 1):
            return self
        part = object.__new__(Events)
        part.steps, part.n, part.channels = self.steps, self.n, self.channels
        part.starts = np.ascontiguousarray(self.starts[samples])
        part.batch = len(part.starts)
        return part

    @classmethod
    def of(cls, x: Tensor) -> "Events":
        """Events of a tensor of 0 and 1, `[T, B, n]`."""
        where = [x[:, b].nonzero().numpy() for b in range(x.shape[1])]
        return cls([(w[:, 0], w[:, 1]) for w in where], x.shape[0], x.shape[2])

    def dense(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """The same as a tensor `[T, B, n]`, for engines that take no lists."""
        x = torch.zeros(self.shape, dtype=dtype)
        counts = np.diff(self.starts, axis=1)
        samples = np.repeat(np.arange(self.batch), counts.sum(1))
        times = np.concatenate([np.repeat(np.arange(self.steps), row) for row in counts])
        x[times, samples, self.channels.astype(np.int64)] = 1
        return x


def check_total(total: int) -> None:
    """Raises `UserError` for more events than a batch may hold."""
    if total > MOST:
        raise UserError(f"a batch holds at most {MOST} events and this one has {total}: use smaller batches")


def _keys(index: int, times: ArrayLike, neurons: ArrayLike, steps: int, n: int) -> NDArray[np.int64]:
    """Step · n + neuron of one sample's events, checked."""
    t, c = np.asarray(times), np.asarray(neurons)
    if t.ndim != 1 or t.shape != c.shape:
        raise UserError(
            f"sample {index}: times {list(t.shape)} and neurons {list(c.shape)} must be two lists alike"
        )
    if len(t) == 0:
        return np.zeros(0, np.int64)
    for name, values, limit in (("time", t, steps), ("neuron", c, n)):
        if not np.issubdtype(values.dtype, np.integer):
            raise UserError(f"sample {index}: events need whole {name}s (in steps), got {values.dtype}")
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= limit:
            raise UserError(
                f"sample {index} has an event at {name} {low if low < 0 else high}, outside 0..{limit - 1}"
            )
    return t.astype(np.int64) * n + c.astype(np.int64)
