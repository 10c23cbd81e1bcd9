"""The reference: surrogate-gradient backpropagation through time on the same network.

Exact gradient of the loss where ψ stands for the spike's derivative (Neftci, Mostafa & Zenke 2019), or,
truncated, of windows of the sequence (Williams & Peng 1990). There is no learning signal and no trace:
autograd goes back through every step (`neurofdfa.train.graph_loop`).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network
from neurofdfa.rules.base import Rule, ThroughTime
from neurofdfa.rules.cost import Case, Counts, synapses_in_between
from neurofdfa.rules.traces import PerNeuron, Trace


@dataclass(frozen=True)
class BPTT(Rule[None]):
    """window: steps that a gradient reaches back at most, counted in blocks from the sequence's start; None
    for all of them. Weights change once per sequence either way.
    """

    name: ClassVar[str] = "bptt"
    title: ClassVar[str] = "BPTT"
    source: ClassVar[str] = "Neftci, Mostafa & Zenke 2019; Williams & Peng 1990"
    without_trace: ClassVar[str] = "it goes back through the sequence itself"

    trace: Trace[Any] = field(default_factory=PerNeuron, init=False, repr=False, compare=False)
    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise UserError(f"a truncation window has at least 1 step, got {self.window}")

    @property
    def through_time(self) -> ThroughTime:
        """All that it is."""
        return ThroughTime(self.window)

    @property
    def local_in_space(self) -> bool:
        """No: errors come down through the transposed weights of the layers above."""
        return False

    @property
    def local_in_time(self) -> bool:
        """No: it stores the past and goes back through it."""
        return False

    @property
    def learns_time_constants(self) -> bool:
        """Autograd differentiates them like any other parameter."""
        return True

    def init(self, network: Network, generator: torch.Generator) -> None:
        """Nothing to remember."""

    def cost(self, case: Case) -> Counts:
        """Back through every step with dense errors. Stored: inputs, and u and s per neuron."""
        activity, steps = case.activity, case.activity.steps
        states = sum(2 * layer.n for layer in activity.layers if layer.spiking)
        stored = activity.n_in + states + activity.readout.n
        own = sum(layer.own_connections for layer in activity.layers)
        crossed = steps * (synapses_in_between(activity) + own)
        products = 0.0
        for layer in activity.layers:
            products += float(layer.events.sum() + layer.own.sum()) + layer.bias * steps * layer.n
        return Counts(
            synapse_updates=products,
            backward_operations=crossed,
            backward_updates=steps * sum(layer.n for layer in activity.layers),
            weight_reads=crossed + activity.parameters,
            weight_writes=activity.parameters,
            activation_words=steps * stored,
            memory={
                "gradients": activity.parameters,
                "stored_activations": stored * min(steps, self.window or steps),
            },
        )
