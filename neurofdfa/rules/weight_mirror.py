"""Weight mirrors: errors come down layer by layer, through matrices that learn what the weights there do.

    λ_L[t] = B_Lᵀ ε[t],   λ_l[t] = B_lᵀ (ψ̄_{l+1}[t] λ_{l+1}[t]),   B_l of the shape of W_{l+1}
    v_l[t] ~ ±1, fresh in every step and sample;   B_l ← (1 − a) B_l + a ⟨(W_{l+1} v_l) v_lᵀ⟩

A layer adds noise v to the tangents that it transmits and hears what that does to the drive of the layer
above: drives are linear in what is transmitted, so ⟨(W v) vᵀ⟩ = W exactly, with a variance that many steps
and samples make small (Akrout et al. 2019, in forward mode and on the go; FDFA learns the whole path to the
outputs in this way, and so its mean alone). No weight is transported, but the one broadcast is given up: a
layer hears the errors and slopes of the layer above it.

With slopes "remembered", ψ̄ is the average of the neuron's ψ over the steps that the readout remembers,

    ψ̄[t] = Σ_{τ ≤ t} κ^{t−τ} ψ[τ] / Σ_{τ ≤ t} κ^{t−τ}

A spike of layer l meets the slopes above it when it arrives, the errors of the κ-filtered output a long time
later: with ψ of the error's own step ("now") they would meet slopes that their spikes never saw. For the same
reason the trace passes the membranes above, too (`downstream`).
"""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.synapse import Synapse
from neurofdfa.rules.base import Broadcast, OptimizerFactory, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, spatial_cost, synapses_in_between
from neurofdfa.rules.spatial import check_no_delay_above, spatial_signals, synapses_above
from neurofdfa.rules.traces import PerSynapse, Trace, filter_over


class MirrorState(NamedTuple):
    """backward: B per hidden layer, of the shape of the weights above it. updates: sequences so far.
    generator: of the probes. observed: the samples that are probed. slopes: κ-filtered ψ per layer, `[B, n]`;
    remembered: Σ κ^age, what they are divided by. steps: how many stand side by side, None for one by one.
    """

    backward: tuple[Tensor, ...]
    updates: int
    generator: torch.Generator
    observed: Shard = Shard(1)
    slopes: tuple[Tensor, ...] = ()
    remembered: float = 0.0
    steps: int | None = None


@dataclass(frozen=True)
class WeightMirror(Rule[MirrorState]):
    """momentum: a, the weight of a sequence's estimate; the first ones are averaged evenly, so that B = 0 at
    the start pulls at nothing. fraction: share of the batch that is probed. slopes: ψ "remembered" or "now",
    see the module.
    """

    name: ClassVar[str] = "weight-mirror"
    title: ClassVar[str] = "weight mirror"
    source: ClassVar[str] = "Akrout et al. 2019; forward mode and slopes: this package"
    steps_side_by_side: ClassVar[bool] = True
    scheduled_feedback: ClassVar[bool] = False

    trace: Trace[Any] = field(default_factory=lambda: PerSynapse(downstream=True), kw_only=True)
    momentum: float = 0.1
    fraction: float = 0.25
    slopes: Literal["remembered", "now"] = "remembered"

    def __post_init__(self) -> None:
        if not 0.0 < self.momentum <= 1.0 or not 0.0 < self.fraction <= 1.0:
            raise UserError("weight-mirror needs 0 < momentum <= 1 and 0 < fraction <= 1")
        if self.slopes not in ("remembered", "now"):
            raise UserError(f"weight-mirror's slopes are remembered or now, not '{self.slopes}'")

    @property
    def local_in_space(self) -> bool:
        """No: errors and slopes come down layer by layer."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> MirrorState:
        """B = 0; raises `UserError` for delays behind hidden layers."""
        check_no_delay_above(network, self.name)
        zeros = tuple(torch.zeros_like(synapse.weight) for synapse in synapses_above(network))
        return MirrorState(tuple(b.detach() for b in zeros), 0, generator)

    def begin(self, network: Network, state: MirrorState, share: Shard) -> MirrorState:
        """Forget the slopes of the last sequence."""
        like = network.readout.synapse.weight
        return state._replace(
            updates=state.updates + share.opens,
            observed=share.first(max(1, math.ceil(share.total * self.fraction))),
            slopes=tuple(like.new_zeros(share.count, layer.n) for layer in network.hidden),
            remembered=0.0,
            steps=None,
        )

    def side_by_side(self, state: MirrorState, steps: int) -> MirrorState:
        """The same, told how many steps there are."""
        return state._replace(steps=steps)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: MirrorState
    ) -> tuple[Signals, MirrorState]:
        """λ from the layers above through B, and the pseudo-gradients B − ⟨(W v) vᵀ⟩."""
        slopes, state = self._slopes(network, step, state)
        hidden = spatial_signals(network, step, broadcast.error, state.backward, slopes)
        gain = max(1.0, 1.0 / (self.momentum * max(1, state.updates))) / broadcast.steps
        pairs = zip(state.backward, self.estimate(network, state), strict=True)
        return Signals(hidden, tuple((b - w) * gain for b, w in pairs), observed=state.observed), state

    def estimate(self, network: Network, state: MirrorState) -> tuple[Tensor, ...]:
        """⟨(W v) vᵀ⟩ per hidden layer: the mean over the probed samples, and over the steps side by side."""
        drawn = [[self._draw(layer.n, state) for layer in network.hidden] for _ in range(state.steps or 1)]
        found: list[Tensor] = []
        for index, synapse in enumerate(synapses_above(network)):
            v = torch.cat([step[index] for step in drawn]).to(synapse.weight)
            answer = network.drive_tangent(index, v)
            found.append(synapse.gradient(answer, v) / (len(v) * _heard(synapse)))
        return tuple(found)

    def _draw(self, n: int, state: MirrorState) -> Tensor:
        generator, observed = state.generator, state.observed
        signs = torch.randint(0, 2, (observed.total, n), generator=generator, device=generator.device)
        return observed.rows(signs * 2.0 - 1.0)

    def _slopes(
        self, network: Network, step: NetworkStep, state: MirrorState
    ) -> tuple[tuple[Tensor, ...] | None, MirrorState]:
        if self.slopes == "now":
            return None, state
        kappa, steps = network.readout.kappa, state.steps
        if steps is None:
            pairs = zip(state.slopes, step.layers, strict=True)
            kept = tuple(kappa * before + seen.psi for before, seen in pairs)
            total = kappa * state.remembered + 1.0
            return tuple(x / total for x in kept), state._replace(slopes=kept, remembered=total)
        totals = step.layers[0].psi.new_ones(steps, 1)
        totals = filter_over(totals, kappa, steps).repeat_interleave(len(step.layers[0].psi) // steps, 0)
        return tuple(filter_over(seen.psi, kappa, steps) / totals for seen in step.layers), state

    def trainable(self, state: MirrorState) -> tuple[Tensor, ...]:
        """B follows its pseudo-gradient."""
        return state.backward

    def feedback_optimizer(
        self, factory: OptimizerFactory, tensors: tuple[Tensor, ...]
    ) -> torch.optim.Optimizer:
        """Plain SGD with learning rate a is the running average."""
        return torch.optim.SGD(tensors, lr=self.momentum)

    def cost(self, case: Case) -> Counts:
        """Errors that come down through B; on probed samples the probes' way up, and their products."""
        crossed = self.fraction * case.activity.steps * synapses_in_between(case.activity)
        slopes = case.n if self.slopes == "remembered" and case.network.readout.kappa else 0
        return spatial_cost(case) + Counts(
            trace_updates=case.activity.steps * slopes,
            feedback_updates=crossed,
            tangent_operations=crossed,
            memory={"feedback": synapses_in_between(case.activity), "rule_state": slopes},
        )


def _heard(synapse: Synapse) -> Tensor:
    """How much of a unit variance of all inputs each weight hears, summed over the sites that share it."""
    one = synapse.weight.new_ones(1, synapse.n_in)
    power = synapse.patches(one).sum(1).view(1, *synapse.weight.shape[1:])
    return power.clamp(min=1.0)
