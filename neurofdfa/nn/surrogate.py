"""Pseudo-derivatives ψ(u − θ) that stand in for the derivative of the spike's step function.

Every surrogate takes `width` (membrane units over which it falls off) and `height` (its value at
threshold). They are callables on tensors of any shape; ψ is the only place where learning sees the
spike's non-linearity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from neurofdfa.errors import UserError


class Surrogate(Protocol):
    """Maps the distance to threshold `u − θ` (any shape) to ψ of the same shape."""

    @property
    def width(self) -> float:
        """Fall-off in membrane units."""
        ...

    @property
    def height(self) -> float:
        """Value at threshold."""
        ...

    def __call__(self, distance: Tensor) -> Tensor:
        """Return ψ at this distance from threshold."""
        ...


@dataclass(frozen=True)
class _Shape:
    width: float = 0.5
    height: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if not 0.0 < value < float("inf"):
                raise UserError(f"surrogate {name} must be a positive number, got {value}")


@dataclass(frozen=True)
class FastSigmoid(_Shape):
    """h / (1 + |d|/w)², the derivative of a fast sigmoid (Zenke & Ganguli 2018, SuperSpike)."""

    def __call__(self, distance: Tensor) -> Tensor:
        """Return ψ at this distance from threshold."""
        return self.height / (1.0 + distance.abs() / self.width).square()


@dataclass(frozen=True)
class Triangular(_Shape):
    """h · max(0, 1 − |d|/w) (Bellec et al. 2018, LSNN)."""

    def __call__(self, distance: Tensor) -> Tensor:
        """Return ψ at this distance from threshold."""
        return self.height * (1.0 - distance.abs() / self.width).clamp_min(0.0)


@dataclass(frozen=True)
class ArcTan(_Shape):
    """h / (1 + (π d / w)²), the derivative of an arctangent (Fang et al. 2021, PLIF)."""

    def __call__(self, distance: Tensor) -> Tensor:
        """Return ψ at this distance from threshold."""
        return self.height / (1.0 + (torch.pi * distance / self.width).square())


@dataclass(frozen=True)
class Sigmoid(_Shape):
    """4h σ(d/w)(1 − σ(d/w)), the derivative of a logistic function scaled to h at threshold."""

    def __call__(self, distance: Tensor) -> Tensor:
        """Return ψ at this distance from threshold."""
        # σ(x) σ(−x): 1 − σ(x) would round to 0 above threshold long before it does below
        x = distance / self.width
        return 4.0 * self.height * (torch.sigmoid(x) * torch.sigmoid(-x))


SURROGATES: dict[str, Callable[[float, float], Surrogate]] = {
    "fast-sigmoid": FastSigmoid,
    "triangular": Triangular,
    "arctan": ArcTan,
    "sigmoid": Sigmoid,
}


def surrogate(name: str, width: float = 0.5, height: float = 1.0) -> Surrogate:
    """Look a surrogate up by name; raises `UserError` when there is none of that name."""
    if name not in SURROGATES:
        raise UserError(f"unknown surrogate '{name}': choose one of {', '.join(SURROGATES)}")
    return SURROGATES[name](width, height)


def surrogate_name(shape: Surrogate) -> str:
    """The registry name of a surrogate, the inverse of `surrogate`."""
    return next(name for name, kind in SURROGATES.items() if kind is type(shape))


def heaviside(distance: Tensor) -> Tensor:
    """1 where strictly above threshold, else 0, in the dtype of `distance`."""
    return (distance > 0).to(distance.dtype)


class _SurrogateSpike(torch.autograd.Function):
    """The step in value, ψ in derivative: backward, forward-mode and under `torch.func.vmap`."""

    @staticmethod
    def forward(distance: Tensor, shape: Surrogate) -> Tensor:
        return heaviside(distance)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.shape = inputs[1]
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.shape(distance), None

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Tensor:
        (distance,) = ctx.saved_tensors
        return grad_inputs[0] * ctx.shape(distance)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, Any]:
        spikes = cast(Tensor, _SurrogateSpike.apply(*args))  # pyright: ignore[reportUnknownMemberType]
        return spikes, in_dims[0]  # element by element


def surrogate_spike(shape: Surrogate) -> Callable[[Tensor], Tensor]:
    """A spike function, `heaviside` in value, whose derivative is ψ in both modes of autograd."""

    def spike(distance: Tensor) -> Tensor:
        return cast(Tensor, _SurrogateSpike.apply(distance, shape))  # pyright: ignore[reportUnknownMemberType]

    return spike
