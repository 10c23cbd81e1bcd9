"""Direct Feedback Alignment: the error reaches every hidden layer through a fixed random matrix.

λ_l[t] = B_l e[t], B_l fixed. Nøkland 2016; normalised feedback: Launay et al. 2019.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from neurofdfa.errors import UserError
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
from neurofdfa.rules.cost import Case, Counts, broadcast_cost
from neurofdfa.rules.engine_facts import EngineFacts


@dataclass(frozen=True)
class DFA(Rule[Feedback]):
    """scale: multiplies the normalised feedback's standard deviation 1/√(n·k).

    feedback_per: a row of B per "neuron", or one that the positions of a "channel" share.
    taught: only the first so many rows of every layer hear the error, the neurons of the rest keep their
    initial weights (with no rate target): the masked bottleneck of Launay et al. None for all.
    """

    name: ClassVar[str] = "dfa"
    title: ClassVar[str] = "DFA"
    source: ClassVar[str] = "Nøkland 2016; Launay et al. 2019"
    steps_side_by_side: ClassVar[bool] = True
    scale: float = 1.0
    feedback_per: FeedbackPer = "neuron"
    taught: int | None = None

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)
        if self.taught is not None and self.taught < 1:
            raise UserError(f"dfa teaches at least 1 neuron of a layer, got taught={self.taught}")

    @property
    def engine_facts(self) -> EngineFacts:
        """As data."""
        return EngineFacts()

    def init(self, network: Network, generator: torch.Generator) -> Feedback:
        """Draw B once."""
        matrices = random_feedback(network, generator, self.scale, self.feedback_per)
        if self.taught is not None:
            for b in matrices:
                b[self.taught :] = 0.0
        return Feedback(matrices)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: Feedback
    ) -> tuple[Signals, Feedback]:
        """λ = B e."""
        return Signals(broadcast_back(state.matrices, step, broadcast.error)), state

    def cost(self, case: Case) -> Counts:
        """The broadcast alone."""
        return broadcast_cost(case)
