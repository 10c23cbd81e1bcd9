"""Readouts: how the last hidden layer's spikes become the outputs y that a loss sees.

y[t] = κ y[t−1] + x[t],   x = W_o s + b   (kinds "integrator", κ = 1, and "leaky", κ = exp(−dt/τ_out))
                          x = spikes of an output LIF population   (kind "spike-count", κ = 1)
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from torch import Tensor, nn

from neurofdfa.nn.integrator import I
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import LIFState, LIFTangent
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.synapse import Synapse

ReadoutKind = Literal["integrator", "leaky", "spike-count"]
Decode = Literal["last", "mean", "count"]
_DECODE: dict[ReadoutKind, Decode] = {"integrator": "last", "leaky": "mean", "spike-count": "count"}


class ReadoutState(NamedTuple):
    """y: what the loss sees, `[B, k]`; neuron: LIF state of a spiking readout, else None."""

    y: Tensor
    neuron: LIFState | None


class ReadoutTangent(NamedTuple):
    """Directional derivatives of y and of x (`drive`), `[B, k]`, and of a spiking readout's neurons."""

    y: Tensor
    drive: Tensor
    neuron: LIFTangent | None


class ReadoutStep(NamedTuple):
    """pre: transmitted spikes of the last hidden layer, `[B, n]`; y: outputs after the step, `[B, k]`;
    population: the step of a spiking readout's LIF neurons, else None.
    """

    pre: Tensor
    y: Tensor
    population: LayerStep | None

    @property
    def state(self) -> ReadoutState:
        """The state after the step."""
        return ReadoutState(self.y, None if self.population is None else self.population.after)

    def first(self, samples: int) -> "ReadoutStep":
        """The same step for the first `samples` samples of the batch, as views."""
        population = None if self.population is None else self.population.first(samples)
        return ReadoutStep(self.pre[:samples], self.y[:samples], population)


class Readout:
    """Synapses into k outputs: an `I` or `LI`, or spiking neurons, whose spikes are counted."""

    def __init__(self, synapse: Synapse, outputs: I | Neuron) -> None:
        self.synapse = synapse
        self.outputs = outputs
        self.population = SpikingLayer(synapse, outputs) if isinstance(outputs, Neuron) else None

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of synapses and neurons."""
        yield from self.synapse.parameters()
        yield from self.outputs.parameters()

    @property
    def kind(self) -> ReadoutKind:
        """Which of the three."""
        return "spike-count" if isinstance(self.outputs, Neuron) else self.outputs.kind

    @property
    def kappa(self) -> float:
        """κ per step."""
        return 1.0 if isinstance(self.outputs, Neuron) else self.outputs.kappa

    @property
    def n(self) -> int:
        """Number of outputs k."""
        return self.synapse.n_out

    @property
    def decode(self) -> Decode:
        """How a prediction is read: the "last" y, the "mean" of y over time, or the spike "count"."""
        return _DECODE[self.kind]

    def initial_state(self, batch: int) -> ReadoutState:
        """All zero."""
        neuron = None if self.population is None else self.population.initial_state(batch)
        return ReadoutState(self.synapse.weight.new_zeros(batch, self.n), neuron)

    def initial_tangent(self, batch: int) -> ReadoutTangent:
        """All zero."""
        zero = self.synapse.weight.new_zeros(batch, self.n)
        population = self.population
        return ReadoutTangent(zero, zero, None if population is None else population.initial_tangent(batch))

    def step(self, pre: Tensor, state: ReadoutState, *, differentiable: bool = False) -> ReadoutStep:
        """One time step. pre: transmitted spikes of the last hidden layer, `[B, n_in]`."""
        if self.population is None or state.neuron is None:
            return ReadoutStep(pre, self.kappa * state.y + self.synapse(pre), None)
        population = self.population.play(pre, state.neuron, None, differentiable=differentiable)
        return ReadoutStep(pre, self.kappa * state.y + population.after.s, population)

    def tangent_step(self, pre_dot: Tensor, tangent: ReadoutTangent, step: ReadoutStep) -> ReadoutTangent:
        """The derivative of `step` along `pre_dot`."""
        if self.population is None or tangent.neuron is None or step.population is None:
            drive = self.synapse.linear(pre_dot)
            return ReadoutTangent(self.kappa * tangent.y + drive, drive, None)
        neuron = self.population.tangent_step(pre_dot, None, tangent.neuron, step.population)
        return ReadoutTangent(self.kappa * tangent.y + neuron.s, neuron.s, neuron)
