"""What every rule does at its synapses: traces, products of signal and trace, the final write."""

from typing import Any, NamedTuple

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.measure.energy.counts import Activity, Counts, LayerActivity
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import filters
from neurofdfa.nn.network import Network
from neurofdfa.rules import Rule
from neurofdfa.rules.s_tllr import SpikeTiming
from neurofdfa.rules.sltt import Instant
from neurofdfa.rules.traces import PerNeuron, PerSynapse, bind_path


class Case(NamedTuple):
    """A rule on a measured network. learns: per step, whether the loss is taken there."""

    rule: Rule[Any]
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


def trace_counts(case: Case, layer: LayerActivity, neurons: SpikingLayer) -> Counts:
    """Traces of one layer, every step."""
    alpha = filters(neurons.dynamics.alpha)
    trace, kappa, steps = case.rule.trace, case.network.readout.kappa, case.activity.steps
    filtered = bool(getattr(trace, "filtered", False) and kappa)
    if isinstance(trace, PerNeuron):
        words = layer.sources * (1 + alpha + filtered + _stages_above(case, neurons))
    elif isinstance(trace, PerSynapse):
        components = 1 + filtered + bool(neurons.neuron.adaptation) + _stages_above(case, neurons)
        mixed = isinstance(neurons.dynamics.alpha, Tensor)
        words = layer.synapses * (components + mixed) + (layer.sources if alpha and not mixed else 0)
    elif isinstance(trace, Instant):
        words = 0
    elif isinstance(trace, SpikeTiming):
        words = layer.sources + layer.n
    else:
        raise UserError(f"no energy ledger for the trace {type(trace).__name__}")
    return Counts(trace_updates=steps * words, memory={"traces": words})


def _stages_above(case: Case, neurons: SpikingLayer) -> int:
    """Filters of a trace that is filtered downstream."""
    places = [place for place, layer in enumerate(case.network.hidden) if layer is neurons]
    return sum(len(getattr(bind_path(case.rule.trace, case.network, k), "path", ())) for k in places)


def product_counts(case: Case, layer: LayerActivity) -> Counts:
    """Signal × trace at the synapses whose trace is not zero."""
    bias = case.taught * layer.n if layer.bias else 0
    traced = case.over(layer.heard) + case.over(layer.own_heard) + bias
    now = case.over(layer.events) + case.over(layer.own) + bias
    trace = case.rule.trace
    inputs = now if isinstance(trace, Instant) else traced
    inputs += now if isinstance(trace, SpikeTiming) else 0
    return Counts(synapse_updates=inputs)


def readout_counts(case: Case, passes: int) -> Counts:
    """The readout's own traces and products."""
    layer, kappa = case.activity.readout, case.network.readout.kappa
    if layer.spiking:
        neurons = case.network.readout.population
        assert neurons is not None
        return trace_counts(case, layer, neurons).times(passes) + product_counts(case, layer)
    words = layer.sources if kappa else 0
    inputs = case.over(layer.heard if kappa else layer.events) + (case.taught * layer.n if layer.bias else 0)
    return Counts(
        trace_updates=case.activity.steps * words * passes,
        synapse_updates=inputs,
        memory={"traces": words},
    )


def write_counts(case: Case) -> Counts:
    """Once per sample as on a chip: every learnt parameter is read and written."""
    learnt = case.activity.parameters
    if case.rule.name == "readout-only":
        learnt = case.activity.readout.parameters
    return Counts(weight_reads=learnt, weight_writes=learnt, memory={"gradients": learnt})


def synapses_above(activity: Activity) -> int:
    """Synapses above the first hidden layer, recurrent ones left out."""
    return sum(layer.connections for layer in activity.layers[1:])
