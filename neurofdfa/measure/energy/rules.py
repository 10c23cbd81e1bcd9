"""What each rule adds to the synapses' work: feedback, broadcasts, tangents, errors that come down.

One entry per rule in `EXTRA`, per sample. Tangents and products with feedback are dense.
"""

from collections.abc import Callable
from typing import Any

from neurofdfa.measure.energy.counts import Counts
from neurofdfa.measure.energy.synapses import Case, product_counts, synapses_above
from neurofdfa.rules.base import readout_memory
from neurofdfa.rules.e_prop import EProp
from neurofdfa.rules.fdfa import FDFA


# ---- feedback ------------------------------------------------------------------------------------------
def _broadcast(case: Case) -> Counts:
    """B e in every hidden layer, with the error (or the target) on the bus."""
    matrices = case.rows * case.k
    return Counts(
        feedback_operations=case.taught * matrices,
        broadcast_error_words=case.taught * case.k,
        memory={"feedback": matrices},
    )


def _activity(case: Case, kappa: float, values: int) -> Counts:
    """κ-filtered values of the hidden neurons."""
    words = values if kappa else 0
    updates = case.activity.steps * words * case.rule.passes
    return Counts(trace_updates=updates, memory={"rule_state": words})


def _above(case: Case, lowest: int) -> int:
    """Synapses that a tangent crosses per step when it starts in layer `lowest`."""
    layers = case.activity.layers
    forward_ones = sum(layer.connections for layer in layers[lowest + 1 :])
    return forward_ones + sum(layer.own_connections for layer in layers[lowest:])


def _tangents(case: Case, share: float, lowest: int = 0) -> Counts:
    layers, steps = case.activity.layers[lowest:], case.activity.steps
    return Counts(
        tangent_operations=share * steps * _above(case, lowest),
        tangent_updates=share * steps * sum(layer.n for layer in layers),
        memory={"tangents": sum(layer.n * layer.stateful + layer.waiting for layer in layers)},
    )


def _probed(case: Case, rule: FDFA) -> Counts:
    share, steps = rule.fraction / rule.every, case.activity.steps
    kernels = rule.kernels(case.network)
    pairs = zip(case.activity.hidden, kernels, strict=True)
    shared = rule.feedback_per == "channel"
    noise = sum(
        (layer.channels if shared else layer.n) * sum(1 for d in decays if d) for layer, decays in pairs
    )
    learnt = Counts(
        trace_updates=share * steps * noise,
        feedback_updates=share * steps * case.rows * case.k,
        broadcast_tangent_words=share * steps * case.k,
        memory={"rule_state": noise},
    )
    return _broadcast(case) + _tangents(case, share) + learnt


def _fdfa(case: Case) -> Counts:
    assert isinstance(case.rule, FDFA)
    return _probed(case, case.rule)


def _e_prop(case: Case) -> Counts:
    assert isinstance(case.rule, EProp)
    if case.rule.feedback == "symmetric":
        crossed = case.taught * synapses_above(case.activity)
        return Counts(backward_operations=crossed, weight_reads=crossed)
    origin = case.rule.origin
    return _probed(case, origin) if isinstance(origin, FDFA) else _broadcast(case)


def _dkp(case: Case) -> Counts:
    kept = _broadcast(case) + _activity(case, case.network.readout.kappa, case.rows)
    return kept + Counts(feedback_updates=case.taught * case.rows * case.k)


def _sbd(case: Case) -> Counts:
    rule: Any = case.rule
    moments = 0
    if rule.decorrelation or rule.power:
        moments = sum(x.n**2 if rule.decorrelation else x.n for x in case.activity.hidden)
    kept = Counts(trace_updates=case.activity.steps * moments, memory={"rule_state": moments})
    learnt = Counts(feedback_updates=case.taught * case.rows * case.k)
    return _broadcast(case) + _activity(case, case.network.readout.kappa, case.n) + learnt + kept


def _local_loss(case: Case) -> Counts:
    """The layer's own readout forward as well as back; the target is on the bus."""
    forward_too = Counts(feedback_operations=case.taught * case.n * case.k)
    return (
        _broadcast(case)
        + forward_too
        + _activity(case, readout_memory(case.rule.trace, case.network), case.n)
    )


def _mono_forward(case: Case) -> Counts:
    return _local_loss(case) + Counts(feedback_updates=case.taught * case.n * case.k)


def _forward_forward(case: Case) -> Counts:
    told = Counts(broadcast_error_words=2 * case.taught)
    return told + _activity(case, readout_memory(case.rule.trace, case.network), case.n)


# ---- forward gradients: one scalar on the bus ----------------------------------------------------------
def _scalar(case: Case, count: int = 1) -> Counts:
    words = case.taught * count
    return Counts(feedback_operations=words * case.k, broadcast_error_words=words)


def _weight_gradient(case: Case) -> Counts:
    rule: Any = case.rule
    weights = sum(layer.parameters for layer in case.activity.hidden)
    pushed, direction = 0.0, 0
    for layer, cells in zip(case.activity.hidden, case.network.hidden, strict=True):
        carried = float(layer.events.sum() + layer.own.sum())
        biases = layer.bias * case.activity.steps
        if rule.shared:
            pushed += carried + biases * layer.n
            continue
        pushed += carried / layer.channels + biases + case.activity.steps * layer.n
        groups = [cells.synapse, *([] if cells.recurrent is None else [cells.recurrent])]
        direction += sum(group.channels + group.fan_in for group in groups) + layer.bias
    own = Counts(
        tangent_operations=pushed,
        synapse_updates=case.taught * weights,
        memory={"rule_state": weights if rule.shared else direction},
    )
    return own + _tangents(case, 1.0) + _scalar(case)


def _activity_gradient(case: Case) -> Counts:
    products = sum((product_counts(case, layer) for layer in case.activity.hidden), Counts())
    sources = sum(layer.sources for layer in case.activity.hidden)
    own = Counts(
        tangent_operations=case.activity.steps * case.n,
        trace_updates=case.activity.steps * sources,
        memory={"rule_state": sources + case.n},
    )
    return own + products + _tangents(case, 1.0) + _scalar(case)


def _guided(case: Case) -> Counts:
    rule: Any = case.rule
    total = _mono_forward(case)
    for index, (layer, cells) in enumerate(zip(case.activity.hidden, case.network.hidden, strict=True)):
        stages = 1 + bool(cells.neuron.alpha)
        filtered = layer.sources * stages
        total += Counts(
            trace_updates=case.activity.steps * (layer.synapses + filtered),
            synapse_updates=layer.parameters,
            memory={"traces": layer.parameters + filtered},
        )
        if rule.target == "global":
            total += _tangents(case, 1.0, index)
    return total + _scalar(case, len(case.activity.hidden))


# ---- errors that come down -----------------------------------------------------------------------------
def _spatial(case: Case) -> Counts:
    crossed = case.taught * synapses_above(case.activity)
    return Counts(backward_operations=crossed, backward_updates=case.taught * case.n, weight_reads=crossed)


def _fa(case: Case) -> Counts:
    return _spatial(case) + Counts(memory={"feedback": synapses_above(case.activity)})


def _s_tllr(case: Case) -> Counts:
    rule: Any = case.rule
    return _broadcast(case) if rule.feedback == "random" else _spatial(case)


EXTRA: dict[str, Callable[[Case], Counts]] = {
    "fdfa": _fdfa,
    "dfa": _broadcast,
    "dkp": _dkp,
    "drtp": _broadcast,
    "e-prop": _e_prop,
    "local-loss": _local_loss,
    "mono-forward": _mono_forward,
    "forward-forward": _forward_forward,
    "weight-forward-gradient": _weight_gradient,
    "activity-forward-gradient": _activity_gradient,
    "guided-forward-gradient": _guided,
    "sbd": _sbd,
    "ottt": _spatial,
    "sltt": _spatial,
    "s-tllr": _s_tllr,
    "fa": _fa,
    "readout-only": lambda case: Counts(),
}
