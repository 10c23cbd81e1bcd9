"""The readout that adds up: y[t] = y[t−1] + x[t]; a sequence's answer is its last y."""

from typing import Literal

from torch import Tensor, nn


class I(nn.Module):  # noqa: E742, the name that NIR gives it
    """Outputs that never spike and add up what drives them, the last layer of a network: κ = 1."""

    kind: Literal["integrator", "leaky"] = "integrator"
    dt: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.n: int | None = None

    @property
    def kappa(self) -> float:
        """Decay of y per step."""
        return 1.0

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One time step. x: drive, `[B, k]` → y, and y again as the state."""
        y = x if state is None else self.kappa * state + x
        return y, y

    def extra_repr(self) -> str:
        """How many outputs, once that is known."""
        return "" if self.n is None else f"n={self.n}"
