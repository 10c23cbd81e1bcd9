"""Synapses: learnt linear maps from the spikes of one population to what drives another.

Every kind has one form. The driven neurons stand in `channels` × `sites` (neuron c · sites + s), all sites of
a channel share one row of weights, and each site hears a patch of the incoming spikes:

    drive[c, s] = Σ_i W[c, i] x̂[patch(s, i)] + b[c],   x̂ = x, or its sums over the windows of a pool

With a delay, x is what arrives: the network carries it there (`neurofdfa.nn.delay`), and traces hear it then.

`Dense` has one site that hears everything; `Conv2d` has a site per position. The gradient of shared weights
is the sum over the sites: ∂/∂W[c, i] = Σ_s δ[c, s] x̂[patch(s, i)].
"""

import math
from abc import ABC, abstractmethod
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight  # pyright: ignore[reportUnknownVariableType]

from neurofdfa.errors import UserError
from neurofdfa.nn.pooling import Shape, SumPool
from neurofdfa.nn.quantizer import WeightQuantizer


class Synapse(nn.Module, ABC):
    """What all kinds share. weight: one row per channel; bias: `[channels]` or None; pool: sums in front of
    the weights, or None; grid: when set, spikes see the weights rounded to it while `weight` keeps learning
    in float. delay: steps that each input's spikes are under way, `[n_in]`, int64, or None.
    """

    delay: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        n_in: int,
        sites: int,
        *,
        pool: SumPool | None,
        bias: bool,
        grid: WeightQuantizer | None,
    ) -> None:
        super().__init__()
        self.n_in = n_in
        self.sites = sites
        self.pool = pool
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(self.channels)) if bias else None
        self.grid = grid
        self.register_buffer("delay", None)
        self._rounded: tuple[int, Tensor] | None = None

    @property
    def channels(self) -> int:
        """Number of neurons with weights of their own."""
        return self.weight.shape[0]

    @property
    def n_out(self) -> int:
        """Number of post-synaptic neurons, channels · sites."""
        return self.channels * self.sites

    @property
    def fan_in(self) -> int:
        """Weights per neuron."""
        return self.weight[0].numel()

    @property
    def quantized_weight(self) -> Tensor:
        """The weights that spikes see; their derivative passes straight through to `weight`."""
        if self.grid is None:
            return self.weight
        version = self.weight._version  # pyright: ignore[reportPrivateUsage] counts in-place updates
        if self._rounded is None or self._rounded[0] != version:
            with torch.no_grad():
                self._rounded = (version, self.grid.round(self.weight))
        rounded = self._rounded[1]
        return self.weight + (rounded - self.weight).detach() if torch.is_grad_enabled() else rounded

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The incoming spikes' shape: (channels, rows, columns) where it matters, else (n_in,)."""
        return (self.n_in,) if self.pool is None else self.pool.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The neurons' shape."""
        return (self.n_out,)

    @property
    def fan_out(self) -> Tensor:
        """How many neurons a spike of each input reaches, `[n_in]`."""
        with torch.no_grad():
            reached = self.transpose(self.weight.new_ones(1, self.n_out), torch.ones_like(self.weight))
        return reached.squeeze(0).round()

    def initialise(self, gain: float, generator: torch.Generator) -> None:
        """Weights ~ N(0, gain²/fan_in), biases zero."""
        with torch.no_grad():
            shape, dtype, device = self.weight.shape, self.weight.dtype, generator.device
            drawn = torch.randn(shape, generator=generator, dtype=dtype, device=device)
            self.weight.copy_(drawn * (gain / math.sqrt(self.fan_in)))
            if self.bias is not None:
                self.bias.zero_()

    def delayed(self, steps: Tensor) -> "Synapse":
        """These synapses, with spikes that arrive `steps`, `[n_in]`, late."""
        if steps.shape != (self.n_in,) or bool((steps < 0).any()):
            raise UserError(
                f"a delay is {self.n_in} numbers of steps, none below 0, got {tuple(steps.shape)}"
            )
        self.delay = steps
        return self

    def forward(self, pre: Tensor) -> Tensor:
        """W x̂ + b: `[B, n_in]` → `[B, n_out]`."""
        return self._project(self._pooled(pre), self.quantized_weight, self.bias)

    def linear(self, pre: Tensor, weight: Tensor | None = None) -> Tensor:
        """W x̂ without the bias, for tangents; `weight` in place of the synapse's own when given."""
        return self._project(self._pooled(pre), self.quantized_weight if weight is None else weight, None)

    def transpose(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        """The transpose of `linear`: `[B, n_out]` → `[B, n_in]`."""
        below = self._project_back(delta, self.quantized_weight if weight is None else weight)
        return below if self.pool is None else self.pool.transpose(below)

    def gradient(self, delta: Tensor, trace: Tensor) -> Tensor:
        """Σ_b δ_b ⊗ trace_b, summed over the sites that share a weight: `[B, n_out]`, `[B, n_in]` → as W."""
        return self._outer(delta, self._pooled(trace))

    def bias_gradient(self, delta: Tensor) -> Tensor | None:
        """Σ_b Σ_s δ_b, `[channels]`; None without a bias."""
        return None if self.bias is None else self.sum_sites(delta.sum(0, keepdim=True)).squeeze(0)

    def split_channels(self, values: Tensor) -> Tensor:
        """`[B, n_out]` → `[B, channels, sites]`."""
        return values.reshape(len(values), self.channels, self.sites)

    def sum_sites(self, values: Tensor) -> Tensor:
        """Sums over the sites of each channel: `[B, n_out]` → `[B, channels]`."""
        return values if self.sites == 1 else self.split_channels(values).sum(2)

    def patches(self, pre: Tensor) -> Tensor:
        """What each site hears, in the order of a row of weights: `[B, n_in]` → `[B, sites, fan_in]`."""
        return self._patches(self._pooled(pre))

    def gradient_per_sample(self, delta: Tensor, trace: Tensor) -> Tensor:
        """`gradient` without the sum over the batch, `[B, channels, fan_in]`."""
        return self.split_channels(delta) @ self.patches(trace)

    def _pooled(self, pre: Tensor) -> Tensor:
        return pre if self.pool is None else self.pool(pre)

    @abstractmethod
    def _project(self, pooled: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...

    @abstractmethod
    def _project_back(self, delta: Tensor, weight: Tensor) -> Tensor: ...

    @abstractmethod
    def _outer(self, delta: Tensor, pooled: Tensor) -> Tensor: ...

    @abstractmethod
    def _patches(self, pooled: Tensor) -> Tensor: ...


class Dense(Synapse):
    """All-to-all synapses. weight: `[n_out, n_in]` (or n_out × sums of the pool), stored with the inputs
    outermost so that one input spike reads one contiguous row.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        pool: SumPool | None = None,
        bias: bool = False,
        grid: WeightQuantizer | None = None,
    ) -> None:
        for name, n in (("inputs", n_in), ("neurons", n_out)):
            if n < 1:
                raise UserError(f"a layer needs at least one of its {name}, got {n}")
        if pool is not None and pool.n_in != n_in:
            raise UserError(f"a pool of {pool.n_in} spikes does not fit {n_in} inputs")
        summed = n_in if pool is None else pool.n_out
        super().__init__(torch.zeros(summed, n_out).t(), n_in, 1, pool=pool, bias=bias, grid=grid)

    def _project(self, pooled: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(pooled, weight, bias)

    def _project_back(self, delta: Tensor, weight: Tensor) -> Tensor:
        return delta @ weight

    def _outer(self, delta: Tensor, pooled: Tensor) -> Tensor:
        return (pooled.t() @ delta).t()

    def _patches(self, pooled: Tensor) -> Tensor:
        return pooled.unsqueeze(1)


class Conv2d(Synapse):
    """The same small patch of weights at every position of an image.

    shape: (channels, rows, columns) of what is convolved, behind the pool if there is one; kernel: rows and
    columns of a patch; padding: silent rows and columns around it; image: shape of the driven neurons.
    weight: `[channels, shape[0], *kernel]`, a cross-correlation as in `torch.nn.Conv2d`. Raises `UserError`
    where the kernel does not fit.
    """

    def __init__(
        self,
        shape: Shape,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        pool: SumPool | None = None,
        bias: bool = False,
        grid: WeightQuantizer | None = None,
    ) -> None:
        if min(*shape, channels, *kernel, stride) < 1 or padding < 0:
            raise UserError(
                "a convolution needs channels, kernel and stride of 1 or more and padding of 0 or more, got "
                f"{channels} x {kernel[0]} x {kernel[1]}, stride {stride}, padding {padding} on {shape}"
            )
        if pool is not None and pool.pooled != shape:
            raise UserError(f"a pool that puts out {pool.pooled} does not fit a convolution of {shape}")
        rows, columns = ((n + 2 * padding - k) // stride + 1 for n, k in zip(shape[1:], kernel, strict=True))
        if rows < 1 or columns < 1:
            raise UserError(
                f"a kernel of {kernel[0]} x {kernel[1]} is larger than its image of {shape[1]} x {shape[2]}"
                f" with padding {padding}"
            )
        n_in = prod(shape) if pool is None else pool.n_in
        weight = torch.zeros(channels, shape[0], *kernel)
        super().__init__(weight, n_in, rows * columns, pool=pool, bias=bias, grid=grid)
        self.shape = shape
        self.stride = stride
        self.padding = padding
        self.image: Shape = (channels, rows, columns)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The incoming image's."""
        return self.shape if self.pool is None else self.pool.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The image that the neurons make."""
        return self.image

    def _project(self, pooled: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        image = pooled.reshape(len(pooled), *self.shape)
        return functional.conv2d(image, weight, bias, self.stride, self.padding).flatten(1)

    def _project_back(self, delta: Tensor, weight: Tensor) -> Tensor:
        image = delta.reshape(len(delta), *self.image)
        size = [len(delta), *self.shape]
        below = cast(Tensor, conv2d_input(size, weight, image, self.stride, self.padding))
        return below.flatten(1)

    def _outer(self, delta: Tensor, pooled: Tensor) -> Tensor:
        image = pooled.reshape(len(pooled), *self.shape)
        above = delta.reshape(len(delta), *self.image)
        size = list(self.weight.shape)
        return cast(Tensor, conv2d_weight(image, size, above, self.stride, self.padding))

    def _patches(self, pooled: Tensor) -> Tensor:
        image = pooled.reshape(len(pooled), *self.shape)
        kernel = (self.weight.shape[2], self.weight.shape[3])
        return functional.unfold(image, kernel, 1, self.padding, self.stride).transpose(1, 2)
