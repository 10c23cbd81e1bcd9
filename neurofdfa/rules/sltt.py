"""Spatial Learning Through Time: like OTTT without the trace, credit stays within the step.

    ∇W_l = Σ_t (ψ_l λ_l)[t] ⊗ s_{l−1}[t]

λ is backpropagated through space at each step, so the rule is local in time only. Meng et al. 2023;
with `every` = k only each k-th step is learnt from (the paper's SLTT-k draws the steps).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, LayerActivity, Products, spatial_cost
from neurofdfa.rules.spatial import check_no_delay_above, spatial_signals
from neurofdfa.rules.traces import LayerGradient, Trace, outer


class NoMemory(NamedTuple):
    """The state of a trace that remembers nothing."""


@dataclass(frozen=True)
class Instant:
    """The input spikes of the step themselves."""

    products: ClassVar[Products] = ("now",)

    def words(self, layer: LayerActivity, neurons: SpikingLayer, kappa: float) -> int:
        """None: it keeps nothing."""
        return 0

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> NoMemory:
        """Nothing."""
        return NoMemory()

    def step(self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: NoMemory) -> NoMemory:
        """Nothing."""
        return state

    def gradient(
        self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: NoMemory
    ) -> LayerGradient:
        """Σ_b λ_b ψ_b ⊗ s_pre,b. signal: λ, `[B, n]`."""
        return outer(layer, signal * seen.psi, seen.pre, 1.0, seen.before.s)


@dataclass(frozen=True)
class SLTT(Rule[None]):
    """every: learn from each `every`-th step only, the others cost a forward pass."""

    name: ClassVar[str] = "sltt"
    title: ClassVar[str] = "SLTT"
    source: ClassVar[str] = "Meng et al. 2023"
    steps_side_by_side: ClassVar[bool] = True

    trace: Trace[Any] = field(default_factory=Instant, kw_only=True)
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"sltt learns from every k-th step with k at least 1, got every = {self.every}")

    @property
    def local_in_space(self) -> bool:
        """No: errors come down through the transposed weights of the layers above."""
        return False

    def teaches_at(self, t: int, steps: int) -> bool:
        """Counted from the end, so that the last step, often the only one with a loss, is among them."""
        return (steps - 1 - t) % self.every == 0

    def init(self, network: Network, generator: torch.Generator) -> None:
        """Nothing to remember; raises `UserError` for delays behind hidden layers."""
        check_no_delay_above(network, self.name)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: None
    ) -> tuple[Signals, None]:
        """λ from the layers above, of this step alone."""
        if not self.teaches_at(broadcast.t, broadcast.steps):
            return Signals((None,) * len(step.layers)), None
        return Signals(spatial_signals(network, step, broadcast.error)), None

    def cost(self, case: Case) -> Counts:
        """Errors that come down through the layers."""
        return spatial_cost(case)
