"""What a network did on some samples, from its measured spikes, and what a ledger counts."""

from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import filters
from neurofdfa.nn.network import Network
from neurofdfa.nn.synapse import Synapse


@dataclass(frozen=True)
class Counts:
    """Operations per sample of T steps, and words of 32 bits that are live at once (`memory`).

    synaptic_operations: one per non-zero input and synapse; multiplied: those whose input is not 0 or 1.
    neuron_updates: one per neuron and step; active: of layers that something reached in the step.
    synapse_updates: products of signal and trace added to a gradient. trace_updates: filtered values.
    feedback_operations: products with feedback matrices; feedback_updates: their own learning.
    tangent_operations, tangent_updates: synapses and neurons that tangents crossed. backward_operations,
    backward_updates: the same for errors that come down through layers (and through time, in BPTT).
    broadcast_*_words: on the global bus. activation_words: stored and read again by BPTT.
    """

    synaptic_operations: float = 0.0
    multiplied_synaptic_operations: float = 0.0
    neuron_updates: float = 0.0
    active_neuron_updates: float = 0.0
    spikes: float = 0.0
    trace_updates: float = 0.0
    synapse_updates: float = 0.0
    feedback_operations: float = 0.0
    feedback_updates: float = 0.0
    tangent_operations: float = 0.0
    tangent_updates: float = 0.0
    backward_operations: float = 0.0
    backward_updates: float = 0.0
    broadcast_error_words: float = 0.0
    broadcast_tangent_words: float = 0.0
    weight_reads: float = 0.0
    weight_writes: float = 0.0
    activation_words: float = 0.0
    memory: dict[str, float] = field(default_factory=dict[str, float])

    def __add__(self, other: "Counts") -> "Counts":
        names = [f.name for f in fields(self) if f.name != "memory"]
        words = {
            key: self.memory.get(key, 0.0) + other.memory.get(key, 0.0)
            for key in (*self.memory, *(k for k in other.memory if k not in self.memory))
        }
        return Counts(**{n: getattr(self, n) + getattr(other, n) for n in names}, memory=words)

    def times(self, factor: float) -> "Counts":
        """All operations so many times over, in the same memory."""
        names = [f.name for f in fields(self) if f.name != "memory"]
        return Counts(**{n: getattr(self, n) * factor for n in names}, memory=dict(self.memory))

    @property
    def products(self) -> float:
        """Multiplications whose result is added to something else."""
        return (
            self.synapse_updates
            + self.feedback_operations
            + self.tangent_operations
            + self.backward_operations
        )

    @property
    def updates(self) -> float:
        """Values multiplied by something and changed in place."""
        return (
            self.neuron_updates
            + self.trace_updates
            + self.feedback_updates
            + self.tangent_updates
            + self.backward_updates
        )

    @property
    def words_moved(self) -> float:
        """Words read or written: updates read and write, products read (and gradients are written)."""
        read = self.feedback_operations + 2 * self.synapse_updates + 2 * self.updates
        return read + self.weight_reads + self.weight_writes + 2 * self.activation_words


class LayerActivity(NamedTuple):
    """A layer's shape and what happened in it; means over samples, `[T]` over steps.

    connections, own_connections: pairs of an input (or of an own neuron) and a neuron that hears it; of
    shared weights there are fewer, `parameters` with biases. sources: inputs, the bias and own neurons, as
    far as they are heard. channels: neurons with weights of their own.
    events: connections behind non-zero inputs; own: behind own spikes of the step before; heard, own_heard:
    behind those that have been non-zero so far; spikes: per sequence; analog: inputs are not only 0 and 1;
    stateful: words of state per neuron; waiting: words on the way to it through delays; spiking: False for a
    readout that only integrates.
    """

    n: int
    channels: int
    sources: int
    connections: int
    own_connections: int
    parameters: int
    bias: bool
    spiking: bool
    stateful: int
    waiting: int
    analog: bool
    events: Tensor
    own: Tensor
    heard: Tensor
    own_heard: Tensor
    reached: Tensor
    spikes: float

    @property
    def synapses(self) -> int:
        """Connections of all kinds, the biases' among them."""
        return self.connections + self.own_connections + self.n * self.bias


class Activity(NamedTuple):
    """n_in: input channels; hidden layers and the readout."""

    steps: int
    n_in: int
    hidden: tuple[LayerActivity, ...]
    readout: LayerActivity

    @property
    def layers(self) -> tuple[LayerActivity, ...]:
        """All, bottom up."""
        return (*self.hidden, self.readout)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)


@torch.no_grad()
def measure(network: Network, x: Tensor) -> Activity:
    """Run inference on `[T, B, n_in]` and count events."""
    steps = list(network.steps(x))
    hidden = tuple(
        _layer(layer, [step.layers[index] for step in steps]) for index, layer in enumerate(network.hidden)
    )
    population = network.readout.population
    if population is not None:
        readout = _layer(population, [s.readout.population for s in steps if s.readout.population])
        readout = readout._replace(stateful=readout.stateful + 1)  # and the count itself
    else:
        pre = torch.stack([step.readout.pre for step in steps])
        readout = _activity(network.readout.synapse, pre, None, None)
    return Activity(x.shape[0], network.n_in, hidden, readout)


def _layer(layer: SpikingLayer, seen: list[LayerStep]) -> LayerActivity:
    pre = torch.stack([step.pre for step in seen])
    own = torch.stack([step.before.s for step in seen]) if layer.recurrent is not None else None
    found = _activity(layer.synapse, pre, layer.recurrent, own)
    spikes = float(torch.stack([step.after.s for step in seen]).sum()) / pre.shape[1]
    stateful = 2 + filters(layer.dynamics.alpha) + bool(layer.neuron.adaptation)
    return found._replace(spiking=True, stateful=stateful, spikes=spikes)


def _activity(synapse: Synapse, pre: Tensor, recurrent: Synapse | None, own: Tensor | None) -> LayerActivity:
    def per_step(group: Synapse, x: Tensor) -> Tensor:
        return ((x != 0).double() @ group.fan_out.double()).mean(1)

    def so_far(group: Synapse, x: Tensor) -> Tensor:
        return per_step(group, (x != 0).double().cumsum(0))

    zero = torch.zeros(len(pre), dtype=torch.float64)
    reached = (pre != 0).any(2)
    if own is not None:
        reached = reached | (own != 0).any(2)
    bias = synapse.bias is not None
    shared = sum(0 if w is None else w.numel() for w in (synapse.weight, synapse.bias))
    return LayerActivity(
        n=synapse.n_out,
        channels=synapse.channels,
        sources=synapse.n_in + bias + (synapse.n_out if recurrent is not None else 0),
        connections=int(synapse.fan_out.sum()),
        own_connections=int(recurrent.fan_out.sum()) if recurrent is not None else 0,
        parameters=shared + (recurrent.weight.numel() if recurrent is not None else 0),
        bias=bias,
        spiking=False,
        stateful=1,
        waiting=0 if synapse.delay is None else int(synapse.delay.max()) * synapse.n_in,
        analog=not bool(((pre == 0) | (pre == 1)).all()),
        events=per_step(synapse, pre),
        own=per_step(recurrent, own) if recurrent is not None and own is not None else zero,
        heard=so_far(synapse, pre),
        own_heard=so_far(recurrent, own) if recurrent is not None and own is not None else zero,
        reached=zero + 1.0 if bias else reached.double().mean(1),
        spikes=0.0,
    )


def forward(activity: Activity) -> Counts:
    """Inference: every synapse behind a non-zero input, every neuron in every step."""
    total = Counts()
    for layer in activity.layers:
        operations = float(layer.events.sum() + layer.own.sum())
        waiting = {"delay_lines": float(layer.waiting)} if layer.waiting else {}
        total += Counts(
            synaptic_operations=operations,
            multiplied_synaptic_operations=float(layer.events.sum()) if layer.analog else 0.0,
            neuron_updates=activity.steps * layer.n,
            active_neuron_updates=float(layer.reached.sum()) * layer.n,
            spikes=layer.spikes,
            weight_reads=operations + (activity.steps * layer.n if layer.bias else 0),
            memory={
                "weights": layer.parameters,
                "neuron_state": layer.n * layer.stateful,
            }
            | waiting,
        )
    return total
