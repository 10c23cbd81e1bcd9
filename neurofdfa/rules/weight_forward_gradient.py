"""Weight-perturbed forward gradient: push all hidden weights at random, keep what the loss liked.

    drive[t] is pushed by V x[t], x what the synapses carry;  c[t] = e[t] · ẏ[t];  ∇̂W = Σ_t c[t] V

V = a bᵀ with a_j, b_i = ±1, one direction per sample (where weights are shared: a per channel, b per weight
of one, at all sites at once): unit covariance over the weights, so the estimate is unbiased for the surrogate
gradient of BPTT; its variance grows with the number of weights. Baydin et al. 2022, definition 1; Ren et al.
2023, section 3 (FG-W). With `shared`, V ~ N(0, 1) is one dense direction for the whole batch, as in the
paper; the batch then no longer averages the noise away.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.synapse import Synapse
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, scalar_cost, tangent_cost
from neurofdfa.rules.forward_mode import NetworkTangent, initial_tangent, tangent_step
from neurofdfa.rules.perturbation import Heard, heard, signs
from neurofdfa.rules.traces import LayerGradient


class RankOne(NamedTuple):
    """V = a bᵀ per sample for each group of synapses. a: `[B, channels]`, of the recurrent ones `own_a`;
    b: `[B, fan_in]`, of the bias `[B, 1]`; None where the layer has no such synapses.
    """

    a: Tensor
    pre: Tensor
    bias: Tensor | None
    own_a: Tensor | None
    own: Tensor | None


class DirectionState(NamedTuple):
    """generator: of the directions. tangent: along them. directions: V of each layer."""

    generator: torch.Generator
    tangent: NetworkTangent | None = None
    directions: tuple[RankOne | LayerGradient, ...] = ()


@dataclass(frozen=True)
class WeightForwardGradient(Rule[DirectionState]):
    """shared: one dense direction for the batch instead of a direction of rank one per sample."""

    name: ClassVar[str] = "weight-forward-gradient"
    source: ClassVar[str] = "Baydin et al. 2022, definition 1; Ren et al. 2023, section 3"
    without_trace: ClassVar[str] = "it keeps no trace"
    shared: bool = False

    @property
    def learns_time_constants(self) -> bool:
        """Never: the directions push weights alone."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> DirectionState:
        """Nothing but the generator."""
        return DirectionState(generator)

    def begin(self, network: Network, state: DirectionState, share: Shard) -> DirectionState:
        """Draw the directions of this sequence."""
        draw = _dense if self.shared else _rank_one
        directions = tuple(draw(layer, share, state.generator) for layer in network.hidden)
        return DirectionState(state.generator, initial_tangent(network, share.count), directions)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: DirectionState
    ) -> tuple[Signals, DirectionState]:
        """The weight gradients c V."""
        assert state.tangent is not None
        now = [heard(layer, seen) for layer, seen in zip(network.hidden, step.layers, strict=True)]
        pushes = tuple(
            _push(layer, v, x) for layer, v, x in zip(network.hidden, state.directions, now, strict=True)
        )
        tangent = tangent_step(network, step, None, state.tangent, pushes=pushes)
        c = (broadcast.error * tangent.readout.y).sum(1, keepdim=True)
        direct = tuple(
            _scaled(layer, v, c) for layer, v in zip(network.hidden, state.directions, strict=True)
        )
        return Signals((None,) * len(direct), direct=direct), state._replace(tangent=tangent)

    def cost(self, case: Case) -> Counts:
        """A direction in the weights, its tangents, and one scalar on the bus."""
        weights = sum(layer.parameters for layer in case.activity.hidden)
        pushed, direction = 0.0, 0
        for layer, cells in zip(case.activity.hidden, case.network.hidden, strict=True):
            carried = float(layer.events.sum() + layer.own.sum())
            biases = layer.bias * case.activity.steps
            if self.shared:
                pushed += carried + biases * layer.n
                continue
            pushed += carried / layer.channels + biases + case.activity.steps * layer.n
            groups = [cells.synapse, *([] if cells.recurrent is None else [cells.recurrent])]
            direction += sum(group.channels + group.fan_in for group in groups) + layer.bias
        own = Counts(
            tangent_operations=pushed,
            synapse_updates=case.taught * weights,
            memory={"rule_state": weights if self.shared else direction},
        )
        return own + tangent_cost(case, 1.0) + scalar_cost(case)


def _rank_one(layer: SpikingLayer, share: Shard, generator: torch.Generator) -> RankOne:
    synapse, recurrent = layer.synapse, layer.recurrent

    def draw(n: int) -> Tensor:
        return signs(share, n, synapse.weight, generator)

    return RankOne(
        draw(synapse.channels),
        draw(synapse.fan_in),
        None if synapse.bias is None else draw(1),
        None if recurrent is None else draw(recurrent.channels),
        None if recurrent is None else draw(recurrent.fan_in),
    )


def _dense(layer: SpikingLayer, share: Shard, generator: torch.Generator) -> LayerGradient:
    def draw(weight: Tensor) -> Tensor:
        drawn = torch.randn(weight.shape, generator=generator, device=generator.device)
        return drawn.to(weight.device, weight.dtype)

    bias, recurrent = layer.synapse.bias, layer.recurrent
    return LayerGradient(
        draw(layer.synapse.weight),
        None if bias is None else draw(bias),
        None if recurrent is None else draw(recurrent.weight),
    )


def _push(layer: SpikingLayer, v: RankOne | LayerGradient, x: Heard) -> Tensor:
    """V x, `[B, n]`."""
    synapse, recurrent = layer.synapse, layer.recurrent
    if isinstance(v, RankOne):
        push = _along(synapse, v.a, v.pre, x.pre)
        if v.bias is not None:
            push = push + (v.a * v.bias).repeat_interleave(synapse.sites, 1)
        if recurrent is None or v.own_a is None or v.own is None or x.own is None:
            return push
        return push + _along(recurrent, v.own_a, v.own, x.own)
    push = synapse.linear(x.pre, v.weight)
    push = push if v.bias is None else push + v.bias.repeat_interleave(synapse.sites)
    return push if recurrent is None or x.own is None else push + recurrent.linear(x.own, v.recurrent)


def _along(synapse: Synapse, a: Tensor, b: Tensor, pre: Tensor) -> Tensor:
    """a_c Σ_i b_i x[patch(s, i)], `[B, n]`."""
    sums = (synapse.patches(pre) @ b.unsqueeze(2)).transpose(1, 2)
    return (a.unsqueeze(2) * sums).flatten(1)


def _scaled(layer: SpikingLayer, v: RankOne | LayerGradient, c: Tensor) -> LayerGradient:
    """Σ_b c_b V_b."""
    if not isinstance(v, RankOne):
        total = c.sum()
        return LayerGradient(*(None if x is None else total * x for x in v))  # pyright: ignore[reportArgumentType]
    weight, recurrent = layer.synapse.weight, layer.recurrent
    own = None
    if recurrent is not None and v.own_a is not None and v.own is not None:
        own = ((c * v.own_a).t() @ v.own).view_as(recurrent.weight)
    return LayerGradient(
        ((c * v.a).t() @ v.pre).view_as(weight),
        None if v.bias is None else (c * v.a * v.bias).sum(0),
        own,
    )
