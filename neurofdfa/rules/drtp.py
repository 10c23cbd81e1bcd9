"""Direct Random Target Projection: hidden layers hear what the output should be, not how far off it is.

λ_l[t] = w[t] B_l y*, y* the target (one-hot for classes), B_l fixed and random. Nothing waits for the
output. Frenkel, Lefebvre & Bol 2021.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurofdfa.nn.loss import one_hot
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
class DRTP(Rule[Feedback]):
    """scale: multiplies the normalised feedback's standard deviation 1/√(n·k). feedback_per: a row of B per
    "neuron", or one that the positions of a "channel" share.
    """

    name: ClassVar[str] = "drtp"
    title: ClassVar[str] = "DRTP"
    source: ClassVar[str] = "Frenkel, Lefebvre & Bol 2021"
    steps_side_by_side: ClassVar[bool] = True
    scale: float = 1.0
    feedback_per: FeedbackPer = "neuron"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)

    @property
    def engine_facts(self) -> EngineFacts:
        """As data."""
        return EngineFacts(signal="target")

    def init(self, network: Network, generator: torch.Generator) -> Feedback:
        """Draw B once."""
        return Feedback(random_feedback(network, generator, self.scale, self.feedback_per))

    def message(self, broadcast: Broadcast) -> Tensor:
        """w[t] y*, `[B, k]`."""
        target = broadcast.target
        if not target.is_floating_point():
            target = one_hot(target, broadcast.error)
        return broadcast.weight * target

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: Feedback
    ) -> tuple[Signals, Feedback]:
        """λ = B y*."""
        return Signals(broadcast_back(state.matrices, step, self.message(broadcast))), state

    def cost(self, case: Case) -> Counts:
        """The broadcast alone."""
        return broadcast_cost(case)
