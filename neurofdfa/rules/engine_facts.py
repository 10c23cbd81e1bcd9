"""What an engine has to do for a rule that teaches hidden layers by a broadcast, as data that the rule gives.

The event engine (`neurofdfa.events`) reads nothing else of a rule: one that describes itself in these words
is executed, whatever its name.
"""

from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.network import Network


class Prober(Protocol):
    """How feedback learns from probes, noise that tangents carry to the outputs (`neurofdfa.rules.fdfa`)."""

    @property
    def probe(self) -> Literal["rademacher", "gaussian"]:
        """Distribution of the probes."""
        ...

    @property
    def kernel(self) -> Literal["innovation", "output"]:
        """What of the outputs the noise traces are correlated with."""
        ...

    @property
    def recurrent_tangents(self) -> bool:
        """Whether tangents go through recurrent synapses."""
        ...

    @property
    def weighted(self) -> bool:
        """Whether estimates count by the error that they meet."""
        ...

    def kernels(self, network: Network) -> tuple[tuple[float, ...], ...]:
        """Decays of each layer's noise trace."""
        ...

    def count(self, state: Any, share: Shard) -> tuple[Any, Shard | None]:
        """Count a batch; the samples that carry tangents, if it is probed."""
        ...

    def probed(self, share: Shard) -> Shard:
        """The samples that carry tangents in a batch that is probed."""
        ...

    def draw(self, observed: Shard, like: Tensor, generator: torch.Generator) -> Tensor:
        """Probes of one layer in one step."""
        ...

    def early_gain(self, updates: int) -> float:
        """What the first estimates weigh more."""
        ...


class OuterProduct(NamedTuple):
    """Feedback that learns from the κ-filtered activity z and the error: its pseudo-gradient is
    anchor · w B + gain · z eᵀ, w the loss's weights in the steps of an update.
    """

    gain: float = 1.0
    anchor: float = 0.0


class EngineFacts(NamedTuple):
    """signal: what hidden layers are told: nothing, the error, or the target in its place. feedback: through
    which matrices: those of the rule's state (`state.matrices`), or the network's own weights on the way to
    the outputs. learning: how those of the state learn, None if they do not.
    """

    signal: Literal["none", "error", "target"] = "error"
    feedback: Literal["state", "weights"] = "state"
    learning: Prober | OuterProduct | None = None
