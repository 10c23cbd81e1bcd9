"""Mono-Forward: each layer learns together with a projection of its own onto the classes.

λ_l[t] = M_lᵀ e_l[t],   ∇M_l = e_l[t] z_l[t]ᵀ,   e_l = softmax(M_l z_l) − onehot

A local loss (`neurofdfa.rules.local_loss`) whose readout M_l is learnt. Gong, Li & Abdulla 2025.
Predictions are the network readout's, which is the last layer's projection under another name.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Signals, readout_memory
from neurofdfa.rules.cost import Case, Counts, local_readout_cost
from neurofdfa.rules.local_loss import LocalLoss
from neurofdfa.rules.local_readouts import LocalReadouts, listen


@dataclass(frozen=True)
class MonoForward(LocalLoss):
    """scale: of M at the start, times 1/√n. loss: of the projections, None for what fits the target."""

    name: ClassVar[str] = "mono-forward"
    source: ClassVar[str] = "Gong, Li & Abdulla 2025"
    steps_side_by_side: ClassVar[bool] = True

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: LocalReadouts
    ) -> tuple[Signals, LocalReadouts]:
        """λ from each layer's own loss, and the gradient of its projection."""
        local, state = listen(state, readout_memory(self.trace, network), step, broadcast, self.loss)
        return Signals(local.signals, local.gradients()), state

    def trainable(self, state: LocalReadouts) -> tuple[Tensor, ...]:
        """M learns with an optimizer like the readout's."""
        return state.projections

    def cost(self, case: Case) -> Counts:
        """The layers' own readouts, which learn."""
        learnt = Counts(feedback_updates=case.taught * case.n * case.k)
        return local_readout_cost(case, readout_memory(self.trace, case.network)) + learnt
