"""A rule written by a user: the whole of what it takes to add one."""

from dataclasses import dataclass
from typing import ClassVar

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals, broadcast_back


@dataclass(frozen=True)
class Symmetric(Rule[None]):
    """λ = W_oᵀ e for one hidden layer: what feedback alignment approximates, and not local in space."""

    name: ClassVar[str] = "symmetric"
    source: ClassVar[str] = "chain rule"

    @property
    def local_in_space(self) -> bool:
        return False

    def init(self, network: Network, generator: object) -> None:
        assert len(network.hidden) == 1

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: None
    ) -> tuple[Signals, None]:
        w_out = network.readout.synapse.weight
        return Signals(broadcast_back((w_out.t(),), step, broadcast.error)), None
