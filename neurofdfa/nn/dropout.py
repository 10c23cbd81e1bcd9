"""Dropout of spiking neurons: silent for a whole sequence, not anew in every step."""

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError


class Dropout(nn.Module):
    """A share p of neurons is not heard during a training sequence, the others 1 / (1 − p) times as loud.

    Behind a neuron, or in front of everything for the input. A `Trainer` draws who is silent from its own
    generator, per sample and sequence; alone, the module draws from `generator` (seeded with 0 unless given)
    while it is in training mode. Raises `UserError` unless 0 <= p < 1.
    """

    def __init__(self, p: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise UserError(f"dropout must be in [0, 1), got {p}")
        self.p = p
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """`[B, …]` → the same shape; the state is the sequence's mask, None where nobody is silent."""
        if not self.training or self.p == 0.0:
            return x, None
        if state is None:
            drawn = torch.rand(x.shape, generator=self.generator, device=self.generator.device)
            state = (drawn.to(x.device) >= self.p).to(x.dtype) / (1.0 - self.p)
        return x * state, state

    def extra_repr(self) -> str:
        """The share."""
        return str(self.p)
