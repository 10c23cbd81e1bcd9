"""What learning costs per sample, its forward pass included, by any rule.

The formulas count what an event-driven machine would do: inputs that have not spiked yet have no trace, and
errors of weight zero are not sent. Every rule's readout learns alike; what a rule adds it says itself.
"""

from neurofdfa.measure.energy.counts import forward
from neurofdfa.measure.energy.synapses import readout_counts, trace_counts, write_counts
from neurofdfa.rules.cost import Case, Counts, product_cost


def learning(case: Case) -> Counts:
    """One sample under the case's rule; raises `UserError` for a rule that does not say what it costs."""
    rule, steps = case.rule, case.activity.steps
    if rule.through_time is not None:
        return forward(case.activity) + rule.cost(case)
    below = case._replace(learns=tuple(on and rule.teaches_at(t, steps) for t, on in enumerate(case.learns)))
    own = Counts()
    if not rule.without_trace:
        for layer, cells in zip(case.activity.hidden, case.network.hidden, strict=True):
            own += trace_counts(case, layer, cells) + product_cost(below, layer)
    seen = forward(case.activity).times(rule.passes) + own.times(rule.passes)
    return seen + readout_counts(case, rule.passes) + rule.cost(below) + write_counts(case)
