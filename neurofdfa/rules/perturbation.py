"""Directional derivatives of the loss with respect to what drives the hidden neurons.

Every hidden layer's drive W s + b is pushed along a direction at once, the tangents ride forward with the
network, and the loss says how much it liked it: c[t] = e[t] · ẏ[t], per sample. The directions are of rank
one, a_j x[t] with a ~ ±1 per neuron (or channel) and x a scalar per sample, step and site, so that nothing is
kept per synapse.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.layer import LayerStep, SpikingLayer


class Heard(NamedTuple):
    """Something for each synapse of a layer, by where it comes from: `[B, n_in]`, `[B, 1]`, `[B, n]`."""

    pre: Tensor
    bias: Tensor
    own: Tensor | None


def heard(layer: SpikingLayer, seen: LayerStep) -> Heard:
    """What the layer's synapses carried in this step: input spikes, the constant 1, its own last spikes."""
    one = seen.pre.new_ones(seen.pre.shape[0], 1)
    return Heard(seen.pre, one, None if layer.recurrent is None else seen.before.s)


def signs(share: Shard, n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Independent ±1, `[B, n]`."""
    drawn = torch.randint(0, 2, (share.total, n), generator=generator, device=generator.device)
    return (share.rows(drawn) * 2.0 - 1.0).to(like.device, like.dtype)
