"""Readouts: how the last hidden layer's spikes become the outputs y that a loss sees.

y[t] = κ y[t−1] + x[t],   x = W_o s + b   (kinds "integrator", κ = 1, and "leaky", κ = exp(−dt/τ_out))
                          x = spikes of an output LIF population   (kind "spike-count", κ = 1)
"""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import LIF, LIFState, LIFTangent, heaviside, psi, surrogate_spike
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


class Readout(nn.Module):
    """Synapses into k outputs.

    kappa: κ per step. neuron: LIF parameters of a spiking readout (ignored by the other kinds).
    """

    def __init__(self, synapse: Synapse, kind: ReadoutKind, kappa: float, neuron: LIF) -> None:
        super().__init__()
        self.kind: ReadoutKind = kind
        self.kappa = kappa
        spiking = kind == "spike-count"
        self.population = SpikingLayer(synapse, neuron) if spiking else None
        self.dense = None if spiking else synapse

    @property
    def synapse(self) -> Synapse:
        """The weights W_o, whichever kind of readout they lead to."""
        if self.population is not None:
            return self.population.synapse
        assert self.dense is not None
        return self.dense

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
        return ReadoutTangent(zero, zero, None if self.population is None else LIFTangent(zero, zero, zero))

    def step(self, pre: Tensor, state: ReadoutState, *, differentiable: bool = False) -> ReadoutStep:
        """One time step. pre: transmitted spikes of the last hidden layer, `[B, n_in]`."""
        if self.population is None or state.neuron is None:
            return ReadoutStep(pre, self.kappa * state.y + self.synapse(pre), None)
        lif = self.population.neuron
        after = self.population.step(pre, state.neuron, surrogate_spike(lif) if differentiable else heaviside)
        population = LayerStep(pre, state.neuron, after, psi(after, lif), None)
        return ReadoutStep(pre, self.kappa * state.y + after.s, population)

    def tangent_step(self, pre_dot: Tensor, tangent: ReadoutTangent, step: ReadoutStep) -> ReadoutTangent:
        """The derivative of `step` along `pre_dot`."""
        if self.population is None or tangent.neuron is None or step.population is None:
            drive = self.synapse.linear(pre_dot)
            return ReadoutTangent(self.kappa * tangent.y + drive, drive, None)
        seen = step.population
        neuron = self.population.tangent_step(pre_dot, None, tangent.neuron, seen.before, seen.psi)
        return ReadoutTangent(self.kappa * tangent.y + neuron.s, neuron.s, neuron)
