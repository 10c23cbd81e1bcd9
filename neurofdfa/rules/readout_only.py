"""The control: hidden layers keep their initial weights and only the readout learns."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.cost import Case, Counts
from neurofdfa.rules.engine_facts import EngineFacts


@dataclass(frozen=True)
class ReadoutOnly(Rule[None]):
    """No learning signal for any hidden layer."""

    name: ClassVar[str] = "readout-only"
    title: ClassVar[str] = "readout only"
    source: ClassVar[str] = "control"
    steps_side_by_side: ClassVar[bool] = True
    learns_hidden: ClassVar[bool] = False
    without_trace: ClassVar[str] = "no hidden layer learns"

    @property
    def engine_facts(self) -> EngineFacts:
        """As data."""
        return EngineFacts(signal="none")

    def init(self, network: Network, generator: torch.Generator) -> None:
        """Nothing to remember."""

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: None
    ) -> tuple[Signals, None]:
        """None for every layer."""
        return Signals((None,) * len(step.layers)), None

    def cost(self, case: Case) -> Counts:
        """Nothing."""
        return Counts()
