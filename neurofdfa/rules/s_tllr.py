"""S-TLLR: an eligibility like spike-timing-dependent plasticity, causal and non-causal, times an error.

    e_ji[t] = a_pre ψ_j[t] p_i[t] + a_post q_j[t−1] s_i[t]
    p = λ_pre p⁻ + s (input before output),   q = λ_post q⁻ + ψ (output before input)

Apolinario & Roy 2024. Both traces are per neuron. The learning signal comes down through space
within each step ("spatial": local in time only) or through DFA's fixed random feedback ("random").
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import (
    Broadcast,
    Feedback,
    FeedbackPer,
    Rule,
    Signals,
    broadcast_back,
    check_feedback_per,
    random_feedback,
)
from neurofdfa.rules.cost import Case, Counts, LayerActivity, Products, broadcast_cost, spatial_cost
from neurofdfa.rules.spatial import check_no_delay_above, spatial_signals
from neurofdfa.rules.traces import LayerGradient, Trace, outer


class TimingState(NamedTuple):
    """p of the inputs `[B, n_in]`, of the constant 1 (a number) and of the own spikes `[B, n]` or None;
    q up to this step and up to the step before, `[B, n]`.
    """

    pre: Tensor
    one: float
    own: Tensor | None
    post: Tensor
    post_before: Tensor


@dataclass(frozen=True)
class SpikeTiming:
    """decay_pre, decay_post: λ per step. gain_pre, gain_post: a; a negative gain_post is STDP's sign."""

    products: ClassVar[Products] = ("now", "traced")
    decay_pre: float = 0.75
    decay_post: float = 0.2
    gain_pre: float = 1.0
    gain_post: float = -1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.decay_pre <= 1.0 and 0.0 <= self.decay_post <= 1.0):
            raise UserError("s-tllr's traces decay by a factor from 0 to 1 per step")

    def words(self, layer: LayerActivity, neurons: SpikingLayer, kappa: float) -> int:
        """Values that a layer keeps: one of every source and of every neuron."""
        return layer.sources + layer.n

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> TimingState:
        """Zero traces."""
        zero = layer.synapse.weight.new_zeros
        post = zero(batch, layer.n)
        own = None if layer.recurrent is None else post
        return TimingState(zero(batch, layer.synapse.n_in), 0.0, own, post, post)

    def step(self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: TimingState) -> TimingState:
        """Advance by one time step."""
        own = None if state.own is None else self.decay_pre * state.own + seen.before.s
        return TimingState(
            self.decay_pre * state.pre + seen.pre,
            self.decay_pre * state.one + 1.0,
            own,
            self.decay_post * state.post + seen.psi,
            state.post,
        )

    def gradient(
        self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: TimingState
    ) -> LayerGradient:
        """Σ_b λ_b e_b. signal: λ, `[B, n]`."""
        causal = self.gain_pre * signal * seen.psi
        reverse = self.gain_post * signal * state.post_before
        forth = outer(layer, causal, state.pre, state.one, state.own)
        back = outer(layer, reverse, seen.pre, 1.0, seen.before.s)
        return LayerGradient(
            forth.weight + back.weight,
            None if forth.bias is None or back.bias is None else forth.bias + back.bias,
            None if forth.recurrent is None or back.recurrent is None else forth.recurrent + back.recurrent,
        )


@dataclass(frozen=True)
class STLLR(Rule[Feedback]):
    """feedback: where the learning signal comes from, see the module. scale, feedback_per: of random
    feedback, as for DFA.
    """

    name: ClassVar[str] = "s-tllr"
    title: ClassVar[str] = "S-TLLR"
    source: ClassVar[str] = "Apolinario & Roy 2024"
    steps_side_by_side: ClassVar[bool] = True

    trace: Trace[Any] = field(default_factory=SpikeTiming, kw_only=True)
    feedback: Literal["spatial", "random"] = "spatial"
    scale: float = 1.0
    feedback_per: FeedbackPer = "neuron"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)
        if self.feedback not in ("spatial", "random"):
            raise UserError(f"s-tllr's feedback is spatial or random, not '{self.feedback}'")

    @property
    def local_in_space(self) -> bool:
        """Only with random feedback."""
        return self.feedback == "random"

    def init(self, network: Network, generator: torch.Generator) -> Feedback:
        """Draw B where it is used."""
        if self.feedback != "random":
            check_no_delay_above(network, self.name)
            return Feedback(())
        return Feedback(random_feedback(network, generator, self.scale, self.feedback_per))

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: Feedback
    ) -> tuple[Signals, Feedback]:
        """λ from above or through B."""
        if self.feedback == "random":
            return Signals(broadcast_back(state.matrices, step, broadcast.error)), state
        return Signals(spatial_signals(network, step, broadcast.error)), state

    def cost(self, case: Case) -> Counts:
        """The broadcast of random feedback, or errors that come down through the layers."""
        return broadcast_cost(case) if self.feedback == "random" else spatial_cost(case)
