"""Online Training Through Time: error from above within the step, credit into the past through a trace.

    ∇W_l = Σ_t (ψ_l λ_l)[t] ⊗ p_l[t],   p = the layer's input filtered by the neuron's own decays

λ is backpropagated through space at each step (`neurofdfa.rules.spatial`), so the rule is local in time
only. Xiao et al. 2022 (there α = 0, so that p is a trace with the membrane's decay).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, spatial_cost
from neurofdfa.rules.spatial import check_no_delay_above, spatial_signals
from neurofdfa.rules.traces import PerNeuron, Trace


@dataclass(frozen=True)
class OTTT(Rule[None]):
    """The trace is not filtered by the readout: each step's loss is the step's own."""

    name: ClassVar[str] = "ottt"
    title: ClassVar[str] = "OTTT"
    source: ClassVar[str] = "Xiao et al. 2022"
    steps_side_by_side: ClassVar[bool] = True

    trace: Trace[Any] = field(default_factory=lambda: PerNeuron(filtered=False), kw_only=True)

    @property
    def local_in_space(self) -> bool:
        """No: errors come down through the transposed weights of the layers above."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> None:
        """Nothing to remember; raises `UserError` for delays behind hidden layers."""
        check_no_delay_above(network, self.name)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: None
    ) -> tuple[Signals, None]:
        """λ from the layers above, of this step alone."""
        return Signals(spatial_signals(network, step, broadcast.error)), None

    def cost(self, case: Case) -> Counts:
        """Errors that come down through the layers."""
        return spatial_cost(case)
