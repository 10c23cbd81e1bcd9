"""Feedback Alignment: backpropagation through space with fixed random matrices in place of the weights.

    λ_L[t] = B_Lᵀ ε[t],   λ_l[t] = B_lᵀ (ψ_{l+1}[t] λ_{l+1}[t]),   B_l fixed, of the shape of W_{l+1}

Lillicrap et al. 2016. No weight is transported, but the error still comes down layer by
layer: a layer hears the pseudo-derivatives of those above it, so the rule is not local in space.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.synapse import Synapse
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts, spatial_cost, synapses_in_between
from neurofdfa.rules.spatial import check_no_delay_above, spatial_signals, synapses_above


class BackwardMatrices(NamedTuple):
    """Random stand-ins of the weights above each hidden layer, of their shape."""

    backward: tuple[Tensor, ...]


@dataclass(frozen=True)
class FA(Rule[BackwardMatrices]):
    """scale: multiplies the standard deviation 1/√fan_in of the weights that the matrices stand for."""

    name: ClassVar[str] = "fa"
    title: ClassVar[str] = "FA"
    source: ClassVar[str] = "Lillicrap et al. 2016"
    steps_side_by_side: ClassVar[bool] = True
    scale: float = 1.0

    @property
    def local_in_space(self) -> bool:
        """No: errors come down layer by layer."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> BackwardMatrices:
        """Draw the matrices once; raises `UserError` for delays behind hidden layers."""
        check_no_delay_above(network, self.name)

        def draw(synapse: Synapse) -> Tensor:
            weight = synapse.weight
            drawn = torch.randn(
                weight.shape, generator=generator, dtype=weight.dtype, device=generator.device
            )
            return drawn.to(weight.device) * (self.scale / synapse.fan_in**0.5)

        return BackwardMatrices(tuple(draw(synapse) for synapse in synapses_above(network)))

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: BackwardMatrices
    ) -> tuple[Signals, BackwardMatrices]:
        """λ from the layers above through the random matrices."""
        return Signals(spatial_signals(network, step, broadcast.error, state.backward)), state

    def cost(self, case: Case) -> Counts:
        """Errors that come down through the random matrices."""
        return spatial_cost(case) + Counts(memory={"feedback": synapses_in_between(case.activity)})
