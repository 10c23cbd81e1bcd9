"""Online pseudo-zeroth-order learning: feedback from what real noise in the spikes does to the outputs.

    s̃_l = s̃_l(x, noise below) + σ v_l;   Ĵ_l[t] = (x̃[t] − x[t]) z_l[t]ᵀ / (σ · norm);
    B_l ← (1 − a) B_l + a ⟨Ĵ_lᵀ⟩;   λ_l = B_l e

The loss is known and only the network is probed ("pseudo"), so that the estimate is a matrix, whose running
average has little variance; the error then comes down directly, and meets eligibility traces (Xiao et al.
2024). Of that paper only the abstract and public summaries could be read, and no table is quoted: what is
built here is its idea in this package's frame. A second copy of the probed samples runs with noise σ v on all
that hidden layers transmit, so that differences are of real spikes: FDFA with finite differences in place of
tangents. No surrogate takes part in the feedback, and what it estimates is the response of the network
smoothed by noise of size σ. The paper spares the second copy by taking the noisy run itself for learning.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network, NetworkState, NetworkStep
from neurofdfa.rules.fdfa import FDFA, Answer


class Twin(NamedTuple):
    """The noisy copy of the probed samples; away: its outputs minus the true ones, over σ, `[probed, k]`."""

    state: NetworkState
    away: Tensor


@dataclass(frozen=True)
class OPZO(FDFA):
    """sigma: size of the noise, in spikes. The other settings are FDFA's, of which `recurrent_tangents` means
    nothing here.
    """

    name: ClassVar[str] = "opzo"
    title: ClassVar[str] = "OPZO"
    source: ClassVar[str] = "Xiao et al. 2024 (arXiv 2407.12516; abstract and summaries)"
    sigma: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigma > 0.0:
            raise UserError(f"opzo's noise needs a size above 0, got sigma = {self.sigma}")

    @property
    def engine_facts(self) -> str:
        """None: the event engine carries tangents, and no second copy of the network."""
        return "the event engine does not execute the rule 'opzo', which runs a noisy copy of the network"

    def carrier(self, network: Network, samples: int) -> Twin:
        """A copy at rest."""
        state = network.initial_state(samples)
        return Twin(state, torch.zeros_like(state.readout.y))

    def probed_step(
        self, network: Network, step: NetworkStep, probes: tuple[Tensor, ...], before: Twin
    ) -> tuple[Answer, Twin]:
        """Run the copy on the same input, with noise on what its hidden layers send."""
        after: list[Any] = []

        def play(index: int, pre: Tensor) -> Tensor:
            seen = step.layers[index]
            heard = pre if index else seen.pre
            played = network.hidden[index].play(heard, before.state.layers[index], seen.mask)
            after.append(played.after)
            return played.sent + self.sigma * probes[index]

        pre, lines = network.walk(step.layers[0].pre, before.state.lines, play)
        readout = network.readout.step(pre, before.state.readout)
        away = (readout.y - step.y) / self.sigma
        answer = Answer(away, away - network.readout.kappa * before.away)
        return answer, Twin(NetworkState(tuple(after), readout.state, lines), away)
