"""What learning costs: the records that an energy ledger counts in, and the parts that rules share.

A rule says in `Rule.cost` what it adds to the work at the synapses: feedback, broadcasts, tangents, errors
that come down; a trace says what it keeps and multiplies. All per sample; tangents and products with feedback
are dense.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from neurofdfa.nn.network import Network

if TYPE_CHECKING:
    from neurofdfa.rules.base import Rule


Products = tuple[Literal["now", "traced"], ...]
"""What a trace multiplies the signal with: inputs of the step, those that came so far, or both."""


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


class Case(NamedTuple):
    """A rule on a measured network. learns: per step, whether the loss is taken there."""

    rule: "Rule[Any]"
    network: Network
    activity: Activity
    learns: tuple[bool, ...]

    @property
    def taught(self) -> int:
        """Number of steps with an error."""
        return sum(self.learns)

    @property
    def k(self) -> int:
        """Outputs."""
        return self.activity.readout.n

    @property
    def n(self) -> int:
        """Hidden neurons."""
        return sum(layer.n for layer in self.activity.hidden)

    @property
    def rows(self) -> int:
        """Rows of all feedback matrices: a neuron's each, or a channel's."""
        shared = getattr(self.rule, "feedback_per", "neuron") == "channel"
        return sum(layer.channels if shared else layer.n for layer in self.activity.hidden)

    def over(self, per_step: Tensor) -> float:
        """Sum over the steps with an error."""
        return float(per_step @ per_step.new_tensor(self.learns))


def broadcast_cost(case: Case) -> Counts:
    """B e in every hidden layer, with the error (or the target) on the bus."""
    matrices = case.rows * case.k
    return Counts(
        feedback_operations=case.taught * matrices,
        broadcast_error_words=case.taught * case.k,
        memory={"feedback": matrices},
    )


def activity_cost(case: Case, kappa: float, values: int) -> Counts:
    """κ-filtered values of the hidden neurons."""
    words = values if kappa else 0
    updates = case.activity.steps * words * case.rule.passes
    return Counts(trace_updates=updates, memory={"rule_state": words})


def tangent_cost(case: Case, share: float, lowest: int = 0) -> Counts:
    """Tangents of a share of the samples, from layer `lowest` on."""
    layers, steps = case.activity.layers[lowest:], case.activity.steps
    return Counts(
        tangent_operations=share * steps * _above(case, lowest),
        tangent_updates=share * steps * sum(layer.n for layer in layers),
        memory={"tangents": sum(layer.n * layer.stateful + layer.waiting for layer in layers)},
    )


def _above(case: Case, lowest: int) -> int:
    """Synapses that a tangent crosses per step when it starts in layer `lowest`."""
    layers = case.activity.layers
    forward_ones = sum(layer.connections for layer in layers[lowest + 1 :])
    return forward_ones + sum(layer.own_connections for layer in layers[lowest:])


def local_readout_cost(case: Case, memory: float) -> Counts:
    """Layers' own readouts, forward and back, with the target on the bus. memory: κ of those readouts."""
    forward_too = Counts(feedback_operations=case.taught * case.n * case.k)
    return broadcast_cost(case) + forward_too + activity_cost(case, memory, case.n)


def scalar_cost(case: Case, count: int = 1) -> Counts:
    """One scalar per layer on the bus, or `count`, made from error and outputs' tangents."""
    words = case.taught * count
    return Counts(feedback_operations=words * case.k, broadcast_error_words=words)


def product_cost(case: Case, layer: LayerActivity) -> Counts:
    """Signal × trace at the synapses whose trace is not zero."""
    bias = case.taught * layer.n if layer.bias else 0
    traced = case.over(layer.heard) + case.over(layer.own_heard) + bias
    now = case.over(layer.events) + case.over(layer.own) + bias
    trace: Any = case.rule.trace
    products: Products = trace.products
    return Counts(synapse_updates=traced * ("traced" in products) + now * ("now" in products))


def spatial_cost(case: Case) -> Counts:
    """Errors that come down through the layers, within the step."""
    crossed = case.taught * synapses_in_between(case.activity)
    return Counts(backward_operations=crossed, backward_updates=case.taught * case.n, weight_reads=crossed)


def synapses_in_between(activity: Activity) -> int:
    """Synapses above the first hidden layer, recurrent ones left out."""
    return sum(layer.connections for layer in activity.layers[1:])
