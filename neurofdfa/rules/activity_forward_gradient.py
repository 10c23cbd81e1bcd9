"""Activity-perturbed forward gradient: push all neurons at random, keep what the loss liked.

    drive_j[t] is pushed by a_j ξ[t];  c[t] = e[t] · ẏ[t];  q_i[t] = Σ_{τ≤t} ξ[τ] s_i[τ]
    ∇̂W_ji = Σ_t c[t] a_j q_i[t]

a_j = ±1 per neuron and ξ[t] = ±1 per step, fresh for each sample: the direction has unit covariance over
neurons and steps, so the estimate is unbiased for the surrogate gradient of BPTT, and its variance grows
with neurons × steps. Ren et al. 2023, section 3 (FG-A); Baydin et al. 2022. The rank-one direction keeps
the memory at one value per neuron; c is one scalar that is broadcast.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, product_cost, scalar_cost, tangent_cost
from neurofdfa.rules.forward_mode import NetworkTangent, initial_tangent, tangent_step
from neurofdfa.rules.perturbation import Heard, heard, signs
from neurofdfa.rules.traces import outer


class PushState(NamedTuple):
    """generator: of the directions. tangent: along them. neurons: a, `[B, n]`; pushed: q, of each layer."""

    generator: torch.Generator
    tangent: NetworkTangent | None = None
    neurons: tuple[Tensor, ...] = ()
    pushed: tuple[Heard, ...] = ()
    share: Shard = Shard(1)


@dataclass(frozen=True)
class ActivityForwardGradient(Rule[PushState]):
    """No settings beyond the trace, which serves the rate regulariser and a spiking readout only."""

    name: ClassVar[str] = "activity-forward-gradient"
    source: ClassVar[str] = "Ren et al. 2023, section 3; Baydin et al. 2022"
    without_trace: ClassVar[str] = "it keeps no trace"

    @property
    def learns_time_constants(self) -> bool:
        """Never: the directions push weights alone."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> PushState:
        """Nothing but the generator."""
        return PushState(generator)

    def begin(self, network: Network, state: PushState, share: Shard) -> PushState:
        """Draw a and clear the tangents."""
        tangent = initial_tangent(network, share.count)
        neurons = tuple(
            signs(share, layer.n, x.s, state.generator)
            for layer, x in zip(network.hidden, tangent.layers, strict=True)
        )
        pushed: list[Heard] = []
        batch = share.count
        for layer, a in zip(network.hidden, neurons, strict=True):
            zero = a.new_zeros
            own = None if layer.recurrent is None else zero(batch, layer.n)
            pushed.append(Heard(zero(batch, layer.synapse.n_in), zero(batch, 1), own))
        return PushState(state.generator, tangent, neurons, tuple(pushed), share)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: PushState
    ) -> tuple[Signals, PushState]:
        """The weight gradients c a ⊗ q."""
        assert state.tangent is not None
        xi = [signs(state.share, 1, a, state.generator) for a in state.neurons]
        pushes = tuple(a * x for a, x in zip(state.neurons, xi, strict=True))
        tangent = tangent_step(network, step, None, state.tangent, pushes=pushes)
        pushed = tuple(
            _add(q, x, heard(layer, seen))
            for q, x, layer, seen in zip(state.pushed, xi, network.hidden, step.layers, strict=True)
        )
        c = (broadcast.error * tangent.readout.y).sum(1, keepdim=True)
        direct = tuple(
            outer(layer, c * a, *q) for layer, a, q in zip(network.hidden, state.neurons, pushed, strict=True)
        )
        state = state._replace(tangent=tangent, pushed=pushed)
        return Signals((None,) * len(direct), direct=direct), state

    def cost(self, case: Case) -> Counts:
        """A direction in the activity, its tangents and traces, and one scalar on the bus."""
        products = sum((product_cost(case, layer) for layer in case.activity.hidden), Counts())
        sources = sum(layer.sources for layer in case.activity.hidden)
        own = Counts(
            tangent_operations=case.activity.steps * case.n,
            trace_updates=case.activity.steps * sources,
            memory={"rule_state": sources + case.n},
        )
        return own + products + tangent_cost(case, 1.0) + scalar_cost(case)


def _add(total: Heard, factor: Tensor, now: Heard) -> Heard:
    own = None if total.own is None or now.own is None else total.own + factor * now.own
    return Heard(total.pre + factor * now.pre, total.bias + factor * now.bias, own)
