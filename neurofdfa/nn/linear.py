"""Learnt weights as a user writes them: `Linear` here, `Conv2d` beside it; where they stand in a network, and
what a rule does with them, is the business of `neurofdfa.nn.synapse`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurofdfa.errors import UserError
from neurofdfa.nn.quantizer import WeightQuantizer


class Weights(nn.Module):
    """Weights with one row per channel of neurons, and biases. weight: `[channels, …]`; bias: `[channels]` or
    None; quantizer: when set, spikes see the weights rounded by it while `weight` keeps learning in float.
    """

    def __init__(
        self, weight: Tensor, bias: bool, weight_bits: int | None, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight))) if bias else None
        self.quantizer = None if weight_bits is None else WeightQuantizer(weight_bits)
        self._rounded: tuple[int, Tensor] | None = None
        self.initialise(1.0, torch.Generator().manual_seed(0) if generator is None else generator)

    @property
    def fan_in(self) -> int:
        """Weights per neuron."""
        return self.weight[0].numel()

    @property
    def quantized_weight(self) -> Tensor:
        """The weights that spikes see; their derivative passes straight through to `weight`."""
        if self.quantizer is None:
            return self.weight
        version = self.weight._version  # pyright: ignore[reportPrivateUsage] counts in-place updates
        if self._rounded is None or self._rounded[0] != version:
            with torch.no_grad():
                self._rounded = (version, self.quantizer.round(self.weight))
        rounded = self._rounded[1]
        return self.weight + (rounded - self.weight).detach() if torch.is_grad_enabled() else rounded

    def initialise(self, gain: float, generator: torch.Generator) -> None:
        """Weights ~ N(0, gain²/fan_in), biases zero."""
        with torch.no_grad():
            shape, dtype, device = self.weight.shape, self.weight.dtype, generator.device
            drawn = torch.randn(shape, generator=generator, dtype=dtype, device=device)
            self.weight.copy_(drawn * (gain / math.sqrt(self.fan_in)))
            if self.bias is not None:
                self.bias.zero_()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._rounded = None  # of another device or dtype from now on
        return super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]

    def _settings(self) -> str:
        """What a repr adds behind the sizes."""
        bias = "" if self.bias is None else ", bias=True"
        return bias if self.quantizer is None else f"{bias}, weight_bits={self.quantizer.bits}"


class Linear(Weights):
    """All-to-all synapses: drive = W s + b.

    n_in, n_out: how many neurons send and are driven. bias: whether they have a constant input b.
    weight_bits: let spikes see weights of 1 to 8 bits (`neurofdfa.nn.quantizer`). generator: of the first
    weights, N(0, 1/n_in), seeded with 0 unless given; a `Network` draws its own.
    weight: `[n_out, n_in]`, stored with the inputs outermost so that one input spike reads one contiguous
    row. Raises `UserError` for sizes below 1.

    >>> drive, _ = Linear(64, 128)(torch.rand(8, 64))
    >>> drive.shape
    torch.Size([8, 128])
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = False,
        *,
        weight_bits: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, n in (("inputs", n_in), ("neurons", n_out)):
            if n < 1:
                raise UserError(f"a layer needs at least one of its {name}, got {n}")
        super().__init__(torch.zeros(n_in, n_out).t(), bias, weight_bits, generator)

    @property
    def n_in(self) -> int:
        """How many neurons send."""
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        """How many neurons are driven."""
        return self.weight.shape[0]

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """`[B, n_in]` → `[B, n_out]`; there is no state."""
        if x.shape[-1] != self.n_in:
            raise UserError(f"Linear({self.n_in}, {self.n_out}) got an input of shape {list(x.shape)}")
        return functional.linear(x, self.quantized_weight, self.bias), None

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.n_in}, {self.n_out}{self._settings()}"
