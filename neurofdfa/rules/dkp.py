"""Direct Kolen-Pollack: the feedback receives a copy of the readout's own update, and both decay.

    λ_l = B_l e;   ∇B_l = z_l eᵀ with z_l = κ z_l⁻ + s_l, the trace the readout learns with

For the last hidden layer ∇B is the transpose of the readout's gradient, so with equal decay B − W_oᵀ
shrinks by (1 − η·decay) per update and B aligns with W_oᵀ (Kolen & Pollack 1994; Akrout et al. 2019).
Deeper layers receive the same outer product with their own activity. A spiking readout learns through its
ψ, which ∇B leaves out: there B follows W_oᵀ without converging to it.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import (
    Broadcast,
    FeedbackPer,
    Rule,
    Signals,
    broadcast_back,
    check_feedback_per,
    per_row,
    random_feedback,
)
from neurofdfa.rules.cost import Case, Counts, activity_cost, broadcast_cost
from neurofdfa.rules.engine_facts import EngineFacts, OuterProduct
from neurofdfa.rules.traces import FilterState, cascade, cascade_state


class DKPState(NamedTuple):
    """matrices: B per layer, `[rows, k]`; stages: κ-filtered spikes per row of B, `[B, rows]`."""

    matrices: tuple[Tensor, ...]
    stages: tuple[FilterState, ...]


@dataclass(frozen=True)
class DKP(Rule[DKPState]):
    """scale: of the random initial feedback; decay: weight decay of B and of the readout. feedback_per: a row
    of B per "neuron", or one that the positions of a "channel" share and learn in the mean.
    """

    name: ClassVar[str] = "dkp"
    title: ClassVar[str] = "DKP"
    source: ClassVar[str] = "Kolen & Pollack 1994; Akrout et al. 2019"
    scale: float = 1.0
    decay: float = 0.1
    feedback_per: FeedbackPer = "neuron"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)

    @property
    def engine_facts(self) -> EngineFacts:
        """As data."""
        return EngineFacts(learning=OuterProduct())

    def init(self, network: Network, generator: torch.Generator) -> DKPState:
        """Random B, learnt from then on."""
        return DKPState(random_feedback(network, generator, self.scale, self.feedback_per), ())

    def begin(self, network: Network, state: DKPState, share: Shard) -> DKPState:
        """Clear the spike traces."""
        kappa = (network.readout.kappa,)
        zeros = (b.new_zeros(share.count, b.shape[0]) for b in state.matrices)
        return DKPState(state.matrices, tuple(cascade_state(kappa, zero) for zero in zeros))

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: DKPState
    ) -> tuple[Signals, DKPState]:
        """λ = B e and the outer product of the layer's activity trace with e."""
        kappa = (network.readout.kappa,)
        filtered = [
            cascade(kappa, per_row(layer.sent, b.shape[0]), stages)
            for layer, b, stages in zip(step.layers, state.matrices, state.stages, strict=True)
        ]
        batch = broadcast.error.shape[0]
        gradients = tuple(trace.t() @ broadcast.error / batch for trace, _ in filtered)
        signals = Signals(broadcast_back(state.matrices, step, broadcast.error), gradients)
        return signals, DKPState(state.matrices, tuple(stages for _, stages in filtered))

    def trainable(self, state: DKPState) -> tuple[Tensor, ...]:
        """B learns with an optimizer like the readout's."""
        return state.matrices

    @property
    def readout_decay(self) -> float:
        """The same decay acts on the readout."""
        return self.decay

    def cost(self, case: Case) -> Counts:
        """The broadcast, filtered activity, and its outer product with the error."""
        kept = broadcast_cost(case) + activity_cost(case, case.network.readout.kappa, case.rows)
        return kept + Counts(feedback_updates=case.taught * case.rows * case.k)
