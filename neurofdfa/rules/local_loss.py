"""Local losses: each layer learns to let a fixed random readout of its own predict the target.

λ_l[t] = G_lᵀ e_l[t] with e_l the error of the layer's own readout G_l (`neurofdfa.rules.local_readouts`).
Kaiser, Mostafa & Neftci 2020 (DECOLLE); theirs reads each step alone, which is
`LocalLoss(trace=PerNeuron(filtered=False))`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals, readout_memory
from neurofdfa.rules.cost import Case, Counts, local_readout_cost
from neurofdfa.rules.local_readouts import LocalReadouts, clear, listen, random_projections


@dataclass(frozen=True)
class LocalLoss(Rule[LocalReadouts]):
    """scale: of G, times 1/√n. loss: of the local readouts, None for what fits the target."""

    name: ClassVar[str] = "local-loss"
    source: ClassVar[str] = "Kaiser, Mostafa & Neftci 2020 (DECOLLE)"
    steps_side_by_side: ClassVar[bool] = True
    scale: float = 1.0
    loss: Loss | None = None

    def init(self, network: Network, generator: torch.Generator) -> LocalReadouts:
        """Draw G once."""
        return random_projections(network, generator, self.scale)

    def begin(self, network: Network, state: LocalReadouts, share: Shard) -> LocalReadouts:
        """Clear the local readouts."""
        return clear(state, readout_memory(self.trace, network), share.count)

    def side_by_side(self, state: LocalReadouts, steps: int) -> LocalReadouts:
        """The readouts filter all steps at once."""
        return state._replace(steps=steps)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: LocalReadouts
    ) -> tuple[Signals, LocalReadouts]:
        """λ from each layer's own loss."""
        local, state = listen(state, readout_memory(self.trace, network), step, broadcast, self.loss)
        return Signals(local.signals), state

    def cost(self, case: Case) -> Counts:
        """The layers' own readouts."""
        return local_readout_cost(case, readout_memory(self.trace, case.network))
