"""Numbers on grids: rounding to the nearest or, without bias, at random.

    nearest:     R(x) = step · round(x / step)
    stochastic:  R(x) = step · (⌊x/step⌋ + [r < x/step − ⌊x/step⌋]),  r ~ U(0, 1):  E[R(x)] = x

Stochastic rounding keeps, on average, changes that are smaller than a step (Gupta et al. 2015).
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor

from neurofdfa.nn.quantizer import GAUSSIAN_STEP, WeightQuantizer

Rounding = Literal["nearest", "stochastic"]


def whole(x: Tensor, rounding: Rounding, generator: torch.Generator) -> Tensor:
    """Whole numbers next to x, any shape; `generator` is drawn from by "stochastic" alone."""
    if rounding == "nearest":
        return x.round()
    low = x.floor()
    drawn = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
    return low + (drawn.to(x.device) < x - low)


def floating(x: Tensor, bits: int, rounding: Rounding, generator: torch.Generator) -> Tensor:
    """`bits` of magnitude with an exponent that a sample shares (block floating point). x: `[B, …]`.

    The step of sample b is 2^(⌈log₂ max|x_b|⌉ − bits): values far below its largest one vanish.
    """
    largest = x.abs().flatten(1).amax(1)
    exponent = torch.frexp(largest)[1].to(x.dtype) - bits
    step = torch.exp2(exponent).reshape(-1, *(1 for _ in x.shape[1:]))
    top = float(2**bits - 1)
    return whole(x / step, rounding, generator).clamp(-top, top) * step


def floating_tree(tree: Any, bits: int, rounding: Rounding, generator: torch.Generator) -> Any:
    """`floating` of every tensor in nested tuples; one that occurs twice is rounded once."""
    return _rounded(tree, lambda x: floating(x, bits, rounding, generator), {})


def _rounded(item: Any, change: Callable[[Tensor], Tensor], known: dict[int, Tensor]) -> Any:
    if isinstance(item, Tensor):
        if id(item) not in known:
            known[id(item)] = change(item)
        return known[id(item)]
    if isinstance(item, tuple):
        parts = [_rounded(part, change, known) for part in cast(tuple[Any, ...], item)]
        make: Any = getattr(cast(Any, item), "_make", tuple)
        return make(parts)
    return item


def bounded(x: Tensor, bits: int, largest: float, rounding: Rounding, generator: torch.Generator) -> Tensor:
    """`bits` ≥ 2, sign included, for values up to ±largest; beyond it they saturate."""
    top = float(2 ** (bits - 1) - 1)
    step = largest / top
    return whole(x / step, rounding, generator).clamp(-top, top) * step


def matrix(b: Tensor, bits: int) -> Tensor:
    """A matrix to the nearest of 2^bits levels: `WeightQuantizer`'s, above 8 bits ± its largest entry."""
    largest = float(b.abs().max())
    if largest == 0.0:
        return b
    if bits in GAUSSIAN_STEP:
        return WeightQuantizer(bits).round(b)
    step = largest / (2 ** (bits - 1) - 1)
    return (b / step).round() * step
