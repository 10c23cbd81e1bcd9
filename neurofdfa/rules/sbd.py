"""Score broadcast and decorrelation: the feedback is the correlation of a layer's activity with the score.

    R_l ← (1 − m) R_l + m ⟨z_l eᵀ⟩,   λ_l = sign · R_l e,   z = κ-filtered spikes, e the score ∂loss/∂y

An optimal estimator's score is uncorrelated with everything that its layers compute; R measures what is
left. Erdogan, Pehlevan & Erdogan 2025 (error broadcast, EBD), Uzun et al. 2026 (scores of any loss, SBD).

The sign: the gradient of ½‖R‖² with respect to z is +R e. A readout that follows its gradient −⟨e zᵀ⟩ grows
towards −Rᵀ, so +R e points against the backpropagated W_oᵀ e wherever the readout is still learning;
−R e points along it (checked against BPTT in the tests). The default descends the loss.

Regularisers per layer, with r = z / Σκ^τ the rate so far and its running averages:
    power:          γ_p (⟨r_j²⟩ − P) r_j          keeps neurons from falling silent or saturating
    decorrelation:  γ_d Σ_{k≠j} ⟨r_j r_k⟩ r_k     pushes neurons of a layer apart (lateral, n² state)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import (
    Broadcast,
    FeedbackPer,
    OptimizerFactory,
    Rule,
    Signals,
    broadcast_back,
    check_feedback_per,
    feedback_rows,
    per_row,
)
from neurofdfa.rules.cost import Case, Counts, activity_cost, broadcast_cost
from neurofdfa.rules.engine_facts import EngineFacts, OuterProduct
from neurofdfa.rules.traces import FilterState, cascade, cascade_state


class SBDState(NamedTuple):
    """matrices: sign · R per layer, `[rows, k]`. moments: ⟨r rᵀ⟩, `[n, n]`, or ⟨r²⟩, `[n]`, or empty.

    activity: κ-filtered spikes, `[B, n]`; pulse: Σκ^τ so far.
    """

    matrices: tuple[Tensor, ...]
    moments: tuple[Tensor, ...]
    activity: tuple[FilterState, ...] = ()
    pulse: float = 0.0
    share: Shard = Shard(1)


@dataclass(frozen=True)
class SBD(Rule[SBDState]):
    """momentum: m, per update. sign: "descend" or "decorrelate" (the papers' +R e), see the module.

    power, decorrelation: γ, 0 switches a regulariser off. target_power: P.
    feedback_per: a row of R per "neuron", or one that the positions of a "channel" share.
    """

    name: ClassVar[str] = "sbd"
    title: ClassVar[str] = "SBD"
    source: ClassVar[str] = "Erdogan et al. 2025 (EBD); Uzun et al. 2026 (SBD)"
    scheduled_feedback: ClassVar[bool] = False
    momentum: float = 0.05
    sign: Literal["descend", "decorrelate"] = "descend"
    power: float = 0.0
    decorrelation: float = 0.0
    target_power: float = 0.01
    feedback_per: FeedbackPer = "neuron"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)
        if not 0.0 < self.momentum <= 1.0 or self.sign not in ("descend", "decorrelate"):
            raise UserError("sbd needs 0 < momentum <= 1 and a sign of descend or decorrelate")

    @property
    def polarity(self) -> float:
        """±1: what R is multiplied with in `matrices`."""
        return -1.0 if self.sign == "descend" else 1.0

    @property
    def engine_facts(self) -> EngineFacts | str:
        """As data."""
        if self.power or self.decorrelation:
            return "the event engine has no regularisers for sbd (power, decorrelation)"
        return EngineFacts(learning=OuterProduct(gain=-self.polarity, anchor=1.0))

    def init(self, network: Network, generator: torch.Generator) -> SBDState:
        """R = 0; the moments start where the regularisers are at rest."""
        zeros = network.readout.synapse.weight.new_zeros
        rest = self.target_power
        moments: list[Tensor] = []
        for layer in network.hidden:
            if self.decorrelation:
                moments.append(torch.diag(zeros(layer.n) + rest))
            elif self.power:
                moments.append(zeros(layer.n) + rest)
        rows = (feedback_rows(layer, self.feedback_per) for layer in network.hidden)
        return SBDState(tuple(zeros(n, network.n_out) for n in rows), tuple(moments))

    def begin(self, network: Network, state: SBDState, share: Shard) -> SBDState:
        """Clear the activity of the last sequence."""
        kappa = (network.readout.kappa,)
        zeros = (
            b.new_zeros(share.count, layer.n) for b, layer in zip(state.matrices, network.hidden, strict=True)
        )
        activity = tuple(cascade_state(kappa, zero) for zero in zeros)
        return state._replace(activity=activity, pulse=0.0, share=share)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: SBDState
    ) -> tuple[Signals, SBDState]:
        """λ = ± R e with the regularisers' pull, and the pseudo-gradient of R."""
        kappa = network.readout.kappa
        heard = [cascade((kappa,), x.sent, z) for x, z in zip(step.layers, state.activity, strict=True)]
        signals = list(broadcast_back(state.matrices, step, broadcast.error))
        pulse = kappa * state.pulse + 1.0
        rates = [z / pulse for z, _ in heard[: len(state.moments)]]
        seen = state.share.mean(list(map(_moment, rates, state.moments))) if rates else ()
        gain = self.momentum / broadcast.steps
        moments = tuple(old + gain * (new - old) for old, new in zip(state.moments, seen, strict=True))
        for index, (rate, moment) in enumerate(zip(rates, moments, strict=True)):
            signals[index] = signals[index] + broadcast.weight * self._pull(rate, moment)
        pairs = zip(state.matrices, heard, strict=True)
        batch = broadcast.error.shape[0]
        # w[t] sums to one over a sequence, so a sequence moves R by the momentum, whatever its length
        feedback = tuple(
            broadcast.weight * b - self.polarity * (per_row(z, b.shape[0]).t() @ broadcast.error) / batch
            for b, (z, _) in pairs
        )
        state = state._replace(moments=moments, activity=tuple(stages for _, stages in heard), pulse=pulse)
        return Signals(tuple(signals), feedback), state

    def trainable(self, state: SBDState) -> tuple[Tensor, ...]:
        """R follows its pseudo-gradient R − ⟨z eᵀ⟩."""
        return state.matrices

    def feedback_optimizer(
        self, factory: OptimizerFactory, tensors: tuple[Tensor, ...]
    ) -> torch.optim.Optimizer:
        """Plain SGD with learning rate m is the running average."""
        return torch.optim.SGD(tensors, lr=self.momentum)

    def _pull(self, rate: Tensor, moment: Tensor) -> Tensor:
        """Gradient of the regularisers with respect to the rates, `[B, n]`."""
        if moment.dim() == 1:
            return self.power * (moment - self.target_power) * rate
        powers = moment.diagonal()
        apart = rate @ moment - rate * powers
        return self.power * (powers - self.target_power) * rate + self.decorrelation * apart

    def cost(self, case: Case) -> Counts:
        """The broadcast, filtered activity, its product with the error, and the regularisers' moments."""
        moments = 0
        if self.decorrelation or self.power:
            moments = sum(x.n**2 if self.decorrelation else x.n for x in case.activity.hidden)
        kept = Counts(trace_updates=case.activity.steps * moments, memory={"rule_state": moments})
        learnt = Counts(feedback_updates=case.taught * case.rows * case.k)
        activity = activity_cost(case, case.network.readout.kappa, case.n)
        return broadcast_cost(case) + activity + learnt + kept


def _moment(rate: Tensor, like: Tensor) -> Tensor:
    return rate.square().mean(0) if like.dim() == 1 else rate.t() @ rate / rate.shape[0]
