"""Synapses: learnt linear maps from the spikes of one population to what drives another.

Every kind has one form. The driven neurons stand in `channels` × `sites` (neuron c · sites + s), all sites of
a channel share one row of weights, and each site hears a patch of the incoming spikes:

    drive[c, s] = Σ_i W[c, i] x̂[patch(s, i)] + b[c],   x̂ = x, or its sums over the windows of a pool

With a delay, x is what arrives: the network carries it there (`neurofdfa.nn.delay`), and traces hear it then.

`Dense` has one site that hears everything; `Convolution` has a site per position. The gradient of shared
weights is the sum over the sites: ∂/∂W[c, i] = Σ_s δ[c, s] x̂[patch(s, i)].

The weights belong to a module of the user's, `Linear` or `Conv2d`; a synapse is what they are at their place
in a network, behind its pool and its delay.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight  # pyright: ignore[reportUnknownVariableType]

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.delay import Delay
from neurofdfa.nn.linear import Linear, Weights
from neurofdfa.nn.pooling import Shape, SumPool
from neurofdfa.nn.quantizer import WeightQuantizer


class Synapse(ABC):
    """What all kinds share.

    module: the weights; n_in: how many spikes come in; sites: how many neurons share a row of weights; pool:
    sums in front of the weights, or None; delayed: how late each input's spikes arrive, or None.
    """

    def __init__(
        self, module: Weights, n_in: int, sites: int, pool: SumPool | None, delayed: Delay | None
    ) -> None:
        self.module = module
        self.n_in = n_in
        self.sites = sites
        self.pool = pool
        self.delayed = delayed

    def parameters(self) -> Iterator[nn.Parameter]:
        """Weight, and bias where there is one."""
        return self.module.parameters()

    @property
    def weight(self) -> Tensor:
        """One row per channel, of the optimizer."""
        return self.module.weight

    @property
    def bias(self) -> Tensor | None:
        """`[channels]`, or None."""
        return self.module.bias

    @property
    def grid(self) -> WeightQuantizer | None:
        """What rounds the weights that spikes see, or None."""
        return self.module.quantizer

    @property
    def delay(self) -> Tensor | None:
        """Steps that each input's spikes are under way, `[n_in]`, int64, or None."""
        return None if self.delayed is None else self.delayed.steps

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
        return self.module.fan_in

    @property
    def quantized_weight(self) -> Tensor:
        """The weights that spikes see; their derivative passes straight through to `weight`."""
        return self.module.quantized_weight

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

    def __call__(self, pre: Tensor) -> Tensor:
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
    """All-to-all synapses. weight: `[n_out, n_in]`, or n_out × sums of the pool."""

    def __init__(self, module: Linear, *, pool: SumPool | None = None, delay: Delay | None = None) -> None:
        heard = module.n_in if pool is None else pool.n_out
        if heard != module.n_in:
            raise UserError(f"a pool of {pool.n_out if pool else 0} sums does not fit {module.n_in} inputs")
        super().__init__(module, module.n_in if pool is None else pool.n_in, 1, pool, delay)

    def _project(self, pooled: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(pooled, weight, bias)

    def _project_back(self, delta: Tensor, weight: Tensor) -> Tensor:
        return delta @ weight

    def _outer(self, delta: Tensor, pooled: Tensor) -> Tensor:
        return (pooled.t() @ delta).t()

    def _patches(self, pooled: Tensor) -> Tensor:
        return pooled.unsqueeze(1)


class Convolution(Synapse):
    """The same small patch of weights at every position of an image.

    shape: (channels, rows, columns) of what is convolved, behind the pool if there is one; image: shape of
    the driven neurons. Raises `UserError` where the kernel does not fit.
    """

    def __init__(
        self, module: Conv2d, shape: Shape, *, pool: SumPool | None = None, delay: Delay | None = None
    ) -> None:
        if pool is not None and pool.pooled != shape:
            raise UserError(f"a pool that puts out {pool.pooled} does not fit a convolution of {shape}")
        image = module.image(shape)
        n_in = prod(shape) if pool is None else pool.n_in
        super().__init__(module, n_in, image[1] * image[2], pool, delay)
        self.shape = shape
        self.image: Shape = image
        self.stride = module.stride
        self.padding = module.padding

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
