"""e-prop: the LIF neuron's own eligibility, filtered by the readout, times a broadcast error.

    ∇W_ji = Σ_t λ_j[t] ē_ji[t],   λ_l = B_l e,   ē = κ ē⁻ + ψ ε (`neurofdfa.rules.traces`)

B is random and fixed ("random e-prop"), the readout's own weights ("symmetric"), or learnt with FDFA's
probes ("learnt"). Bellec et al. 2020. The trace is exact and kept per synapse;
`EProp(trace=PerNeuron())` keeps one per neuron and neglects resets and the order of ψ and κ.

"symmetric" below the last layer follows the weights down without ψ, B_l = W_{l+1}ᵀ B_{l+1}: e-prop knows
only neurons that project to the readout. With B = W_oᵀ and one feed-forward layer it is BPTT, exactly.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import (
    Broadcast,
    Feedback,
    FeedbackPer,
    OptimizerFactory,
    Rule,
    Signals,
    check_feedback_per,
)
from neurofdfa.rules.cost import Case, Counts, synapses_in_between
from neurofdfa.rules.dfa import DFA
from neurofdfa.rules.engine_facts import EngineFacts
from neurofdfa.rules.fdfa import FDFA
from neurofdfa.rules.spatial import check_no_delay_above, output_delta, synapses_above
from neurofdfa.rules.traces import PerSynapse, Trace


@dataclass(frozen=True)
class EProp(Rule[Any]):
    """feedback: see the module. scale: of random feedback. momentum, fraction: of learnt feedback.
    feedback_per: as for DFA and FDFA.
    """

    name: ClassVar[str] = "e-prop"
    source: ClassVar[str] = "Bellec et al. 2020"
    scheduled_feedback: ClassVar[bool] = False

    trace: Trace[Any] = field(default_factory=PerSynapse, kw_only=True)
    feedback: Literal["random", "symmetric", "learnt"] = "random"
    scale: float = 1.0
    momentum: float = 0.02
    fraction: float = 1.0
    feedback_per: FeedbackPer = "neuron"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)
        if self.feedback not in ("random", "symmetric", "learnt"):
            raise UserError(f"e-prop's feedback is random, symmetric or learnt, not '{self.feedback}'")

    @property
    def local_in_space(self) -> bool:
        """Not with symmetric feedback, which reads the weights of the layers above."""
        return self.feedback != "symmetric"

    @property
    def origin(self) -> Rule[Any]:
        """The rule whose feedback this is, but for "symmetric"."""
        if self.feedback == "learnt":
            return FDFA(
                trace=self.trace,
                momentum=self.momentum,
                fraction=self.fraction,
                feedback_per=self.feedback_per,
            )
        return DFA(trace=self.trace, scale=self.scale, feedback_per=self.feedback_per)

    @property
    def engine_facts(self) -> EngineFacts | str:
        """As data."""
        if self.feedback == "symmetric":
            return EngineFacts(feedback="weights")
        return self.origin.engine_facts

    def init(self, network: Network, generator: torch.Generator) -> Any:
        """Random, zero or no B."""
        if self.feedback != "symmetric":
            return self.origin.init(network, generator)
        check_no_delay_above(network, self.name)
        return Feedback(())

    def begin(self, network: Network, state: Any, share: Shard) -> Any:
        """Start the probes of learnt feedback."""
        return state if self.feedback == "symmetric" else self.origin.begin(network, state, share)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: Any
    ) -> tuple[Signals, Any]:
        """λ = B e."""
        if self.feedback != "symmetric":
            return self.origin.signals(network, step, broadcast, state)
        return Signals(symmetric_signals(network, step, broadcast.error)), state

    def trainable(self, state: Any) -> tuple[Tensor, ...]:
        """B, when it is learnt."""
        return () if self.feedback == "symmetric" else self.origin.trainable(state)

    def feedback_optimizer(
        self, factory: OptimizerFactory, tensors: tuple[Tensor, ...]
    ) -> torch.optim.Optimizer:
        """FDFA's running average."""
        return self.origin.feedback_optimizer(factory, tensors)

    def cost(self, case: Case) -> Counts:
        """The feedback's; with "symmetric" the way down through the weights."""
        if self.feedback != "symmetric":
            return self.origin.cost(case)
        crossed = case.taught * synapses_in_between(case.activity)
        return Counts(backward_operations=crossed, weight_reads=crossed)


def symmetric_signals(network: Network, step: NetworkStep, error: Tensor) -> tuple[Tensor, ...]:
    """λ through W_oᵀ for the last hidden layer and W_{l+1}ᵀ ⋯ W_oᵀ below it, `[B, n]` per layer."""
    signal = output_delta(step, error)
    signals: list[Tensor] = []
    for seen, synapse in reversed(list(zip(step.layers, synapses_above(network), strict=True))):
        signal = synapse.transpose(signal)
        signals.append(signal if seen.mask is None else signal * seen.mask)
    return tuple(reversed(signals))
