"""What learning costs per sample, its forward pass included, by any rule.

The formulas count what an event-driven machine would do: inputs that have not spiked yet have no trace, and
errors of weight zero are not sent. Every rule's readout learns alike; what a rule adds it says itself.
"""

from typing import Any

from neurofdfa.errors import UserError
from neurofdfa.measure.energy.counts import forward
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.rules.cost import Case, Counts, LayerActivity, product_cost
from neurofdfa.rules.traces import bind_path


def learning(case: Case) -> Counts:
    """One sample under the case's rule; raises `UserError` for a rule that does not say what it costs."""
    rule, steps = case.rule, case.activity.steps
    if rule.through_time is not None:
        return forward(case.activity) + rule.cost(case)
    below = case._replace(learns=tuple(on and rule.teaches_at(t, steps) for t, on in enumerate(case.learns)))
    own = Counts()
    if not rule.without_trace:
        for layer, cells in zip(case.activity.hidden, case.network.hidden, strict=True):
            own += _trace(case, layer, cells) + product_cost(below, layer)
    seen = forward(case.activity).times(rule.passes) + own.times(rule.passes)
    return seen + _readout(case, rule.passes) + rule.cost(below) + _write(case)


def _trace(case: Case, layer: LayerActivity, neurons: SpikingLayer) -> Counts:
    """Traces of one layer, every step. Raises `UserError` for a trace that does not say what it keeps."""
    trace, kappa, steps = case.rule.trace, case.network.readout.kappa, case.activity.steps
    if not hasattr(trace, "words"):
        raise UserError(f"no energy ledger for the trace {type(trace).__name__}: give it a method `words`")
    places = [place for place, own in enumerate(case.network.hidden) if own is neurons]
    bound: Any = bind_path(trace, case.network, places[0]) if places else trace
    words: int = bound.words(layer, neurons, kappa)
    return Counts(trace_updates=steps * words, memory={"traces": words})


def _readout(case: Case, passes: int) -> Counts:
    """The readout's own traces and products."""
    layer, kappa = case.activity.readout, case.network.readout.kappa
    if layer.spiking:
        neurons = case.network.readout.population
        assert neurons is not None
        return _trace(case, layer, neurons).times(passes) + product_cost(case, layer)
    words = layer.sources if kappa else 0
    inputs = case.over(layer.heard if kappa else layer.events) + (case.taught * layer.n if layer.bias else 0)
    return Counts(
        trace_updates=case.activity.steps * words * passes,
        synapse_updates=inputs,
        memory={"traces": words},
    )


def _write(case: Case) -> Counts:
    """Once per sample as on a chip: every learnt parameter is read and written."""
    learnt = case.activity.parameters
    if not case.rule.learns_hidden:
        learnt = case.activity.readout.parameters
    return Counts(weight_reads=learnt, weight_writes=learnt, memory={"gradients": learnt})
