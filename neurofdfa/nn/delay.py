"""Axonal delays: spikes that arrive a whole number of steps after they were sent, d_i steps for neuron i.

    x̂_i[t] = x_i[t − d_i],  0 before the first has arrived

What is on its way is explicit state: a line of the last max d steps, `[max d, B, n]`, the newest first. What
holds for spikes holds for their tangents, which travel on lines of their own.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError

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


class Delay(nn.Module):
    """Spikes arrive some steps after they were sent, in front of the next synapses.

    steps: how many, the same for all neurons; or (least, most), of which each neuron's own number is drawn
    once; or each neuron's own, `[n]`, int64. n: number of neurons and generator: of a draw (seeded with 0
    unless given), needed only where a drawn delay is used without a network, which knows both.
    Raises `UserError` for numbers below 0 or in the wrong order.
    """

    steps: Tensor | None

    def __init__(
        self,
        steps: int | tuple[int, int] | Tensor,
        *,
        n: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(steps, Tensor):
            if steps.dim() != 1 or steps.is_floating_point() or bool((steps < 0).any()):
                raise UserError("a delay is a whole number of steps per neuron, [n], none below 0")
            self.least, self.most = int(steps.min()), int(steps.max())
            self.register_buffer("steps", steps.long())
        else:
            self.least, self.most = (steps, steps) if isinstance(steps, int) else (steps[0], steps[1])
            if not 0 <= self.least <= self.most:
                raise UserError(f"a delay is 0 steps or more, the shortest one first, got {steps}")
            self.register_buffer("steps", None)
            if n is not None:
                self.place(n, torch.Generator().manual_seed(0) if generator is None else generator)

    def place(self, n: int, generator: torch.Generator) -> None:
        """Know how many neurons there are, and draw what is not given yet."""
        if self.steps is not None and len(self.steps) != n:
            raise UserError(f"{self} does not fit {n} neurons")
        if self.steps is None and self.least == self.most:
            self.steps = torch.full((n,), self.most)
        elif self.steps is None:
            device = generator.device
            self.steps = torch.randint(self.least, self.most + 1, (n,), generator=generator, device=device)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What arrives in this step when x, `[B, …]`, is sent, and what is under way, `[most, B, n]`."""
        flat = x.flatten(1)
        steps = self.steps
        if self.least == self.most:
            steps = torch.full((flat.shape[1],), self.most, device=x.device)
        elif steps is None:
            raise UserError(f"{self} is drawn once it knows its neurons: give it n, or a network around")
        elif len(steps) != flat.shape[1]:
            raise UserError(f"{self} got {flat.shape[1]} values per sample")
        arrived, line = send(steps, flat, new_line(steps, flat) if state is None else state)
        return arrived.view_as(x), line

    def extra_repr(self) -> str:
        """Steps, and how many neurons there are once that is known."""
        own = f"{self.most}" if self.least == self.most else f"({self.least}, {self.most})"
        return own if self.steps is None else f"{own}, n={len(self.steps)}"
