"""Axonal delays: spikes that arrive a whole number of steps after they were sent, d_i steps for neuron i.

    x̂_i[t] = x_i[t − d_i],  0 before the first has arrived

What is on its way is explicit state: a line of the last max d steps, `[max d, B, n]`, the newest first. What
holds for spikes holds for their tangents, which travel on lines of their own.
"""

from typing import TypeAlias

import torch
from torch import Tensor

DelayLines: TypeAlias = tuple[Tensor | None, ...]
"""In front of every hidden layer and of the readout, None without a delay there; () without any."""


def new_line(delay: Tensor, like: Tensor) -> Tensor:
    """A line with nothing on it for values like `like`, `[B, n]`."""
    return like.new_zeros(int(delay.max()), *like.shape)


def send(delay: Tensor, x: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """What arrives in this step, and the line after it. delay: `[n]`, int64; x: what is sent, `[B, n]`."""
    whole = torch.cat([x.unsqueeze(0), line])
    arrived = whole.gather(0, delay.expand(1, *x.shape)).squeeze(0)
    return arrived, whole[:-1]


class DelayPath:
    """One step's journey up the network: each `arrive` is through the next layer's delay.

    delays: of all layers, () without any. after: the lines behind it.
    """

    def __init__(self, delays: DelayLines, lines: DelayLines) -> None:
        self._ahead = list(zip(delays, lines, strict=True))
        self.after: DelayLines = ()

    def arrive(self, x: Tensor) -> Tensor:
        """What the next layer hears when `x`, `[B, n]`, is sent to it."""
        if not self._ahead:
            return x
        delay, line = self._ahead.pop(0)
        if delay is not None and line is not None:
            x, line = send(delay, x, line)
        self.after = (*self.after, line)
        return x
