"""What learning costs per sample, its forward pass included: any rule, and BPTT.

The formulas count what an event-driven machine would do: inputs that have not spiked yet have no trace, and
errors of weight zero are not sent. Every rule's readout learns alike.
"""

import math

from neurofdfa.errors import UserError
from neurofdfa.measure.energy.counts import Activity, Counts, forward
from neurofdfa.measure.energy.rules import EXTRA
from neurofdfa.measure.energy.synapses import (
    Case,
    product_counts,
    readout_counts,
    synapses_above,
    trace_counts,
    write_counts,
)


def learning(case: Case) -> Counts:
    """One sample under the case's rule; raises `UserError` for a rule without an entry."""
    kind = type(case.rule).name
    if kind not in EXTRA:
        raise UserError(f"no energy ledger for rule '{kind}': it knows {', '.join(EXTRA)}, bptt")
    traced = kind not in ("readout-only", "guided-forward-gradient", "weight-forward-gradient")
    traced = traced and kind != "activity-forward-gradient"
    every: int = getattr(case.rule, "every", 1) if kind == "sltt" else 1
    steps = case.activity.steps
    below = case._replace(
        learns=tuple(on and (steps - 1 - t) % every == 0 for t, on in enumerate(case.learns))
    )
    own = Counts()
    if traced:
        for layer, cells in zip(case.activity.hidden, case.network.hidden, strict=True):
            own += trace_counts(case, layer, cells) + product_counts(below, layer)
    passes = case.rule.passes
    seen = forward(case.activity).times(passes) + own.times(passes)
    if kind == "forward-forward":  # the pass without a label teaches no hidden layer
        unlabelled = sum((product_counts(case, layer) for layer in case.activity.hidden), Counts())
        seen += unlabelled.times(-1.0)
    return seen + readout_counts(case, passes) + EXTRA[kind](below) + write_counts(case)


def bptt(activity: Activity, window: int | None = None) -> Counts:
    """Forward, then back through every step with dense errors. Stored: inputs, and u and s per neuron."""
    steps = activity.steps
    neurons = sum(layer.n for layer in activity.layers)
    states = sum(2 * layer.n for layer in activity.layers if layer.spiking)
    stored = activity.n_in + states + activity.readout.n
    crossed = steps * (synapses_above(activity) + sum(layer.own_connections for layer in activity.layers))
    products = 0.0
    for layer in activity.layers:
        products += float(layer.events.sum() + layer.own.sum()) + layer.bias * steps * layer.n
    back = Counts(
        synapse_updates=products,
        backward_operations=crossed,
        backward_updates=steps * neurons,
        weight_reads=crossed + activity.parameters,
        weight_writes=activity.parameters,
        activation_words=steps * stored,
        memory={
            "gradients": activity.parameters,
            "stored_activations": stored * min(steps, window or math.inf),
        },
    )
    return forward(activity) + back
