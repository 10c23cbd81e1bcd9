"""What every rule does at its synapses: traces, products of signal and trace, the final write."""

from typing import Any

from neurofdfa.errors import UserError
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.rules.cost import Case, Counts, LayerActivity, product_cost
from neurofdfa.rules.traces import bind_path


def trace_counts(case: Case, layer: LayerActivity, neurons: SpikingLayer) -> Counts:
    """Traces of one layer, every step. Raises `UserError` for a trace that does not say what it keeps."""
    trace, kappa, steps = case.rule.trace, case.network.readout.kappa, case.activity.steps
    if not hasattr(trace, "words"):
        raise UserError(f"no energy ledger for the trace {type(trace).__name__}: give it a method `words`")
    places = [place for place, own in enumerate(case.network.hidden) if own is neurons]
    bound: Any = bind_path(trace, case.network, places[0]) if places else trace
    words: int = bound.words(layer, neurons, kappa)
    return Counts(trace_updates=steps * words, memory={"traces": words})


def readout_counts(case: Case, passes: int) -> Counts:
    """The readout's own traces and products."""
    layer, kappa = case.activity.readout, case.network.readout.kappa
    if layer.spiking:
        neurons = case.network.readout.population
        assert neurons is not None
        return trace_counts(case, layer, neurons).times(passes) + product_cost(case, layer)
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
    if not case.rule.learns_hidden:
        learnt = case.activity.readout.parameters
    return Counts(weight_reads=learnt, weight_writes=learnt, memory={"gradients": learnt})
