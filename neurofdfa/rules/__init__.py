"""Learning rules by name. Adding one is a file in this folder and a line in `RULES`."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from neurofdfa.errors import UserError, unknown
from neurofdfa.rules.activity_forward_gradient import ActivityForwardGradient
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.dfa import DFA
from neurofdfa.rules.dkp import DKP
from neurofdfa.rules.drtp import DRTP
from neurofdfa.rules.e_prop import EProp
from neurofdfa.rules.fa import FA
from neurofdfa.rules.fdfa import FDFA
from neurofdfa.rules.forward_forward import ForwardForward
from neurofdfa.rules.guided_forward_gradient import GuidedForwardGradient
from neurofdfa.rules.local_loss import LocalLoss
from neurofdfa.rules.mono_forward import MonoForward
from neurofdfa.rules.opzo import OPZO
from neurofdfa.rules.ottt import OTTT
from neurofdfa.rules.readout_only import ReadoutOnly
from neurofdfa.rules.s_tllr import STLLR, SpikeTiming
from neurofdfa.rules.sbd import SBD
from neurofdfa.rules.sltt import SLTT, Instant
from neurofdfa.rules.traces import PerNeuron, PerSynapse, Trace
from neurofdfa.rules.weight_forward_gradient import WeightForwardGradient
from neurofdfa.rules.weight_mirror import WeightMirror

_ALL: tuple[type[Rule[Any]], ...] = (
    FDFA,
    DFA,
    DKP,
    DRTP,
    EProp,
    LocalLoss,
    MonoForward,
    ForwardForward,
    WeightForwardGradient,
    ActivityForwardGradient,
    GuidedForwardGradient,
    SBD,
    OPZO,
    OTTT,
    SLTT,
    STLLR,
    FA,
    WeightMirror,
    ReadoutOnly,
    BPTT,
)
RULES: dict[str, type[Rule[Any]]] = {rule.name: rule for rule in _ALL}
DEFAULT = FDFA
"""What learns unless another rule is asked for; the demo, reports and benchmarks are about it."""
EXACT: Rule[Any] = BPTT()
"""What every other rule is measured against: the exact gradient."""
RANDOM = DFA
"""The simplest rule whose hidden layers learn from the error: fixed random feedback."""
CONTROL = ReadoutOnly
"""What a trained readout does alone."""


def rule_title(name: str) -> str:
    """How the rule of that name is written in prose; a rule of the user's own by its name."""
    return (RULES[name].title if name in RULES else "") or name


TRACES: dict[str, Callable[..., Trace[Any]]] = {
    "per-neuron": PerNeuron,
    "per-synapse": PerSynapse,
    "instant": Instant,
    "spike-timing": SpikeTiming,
}


def rule_named(name: str, **settings: Any) -> Rule[Any]:
    """Build a rule by name with its settings; raises `UserError` for unknown names or settings.

    The setting `trace` may be a name of `TRACES`, or a table with its `kind` and settings, so that it can
    come from a file: `rule_named("e-prop", trace={"kind": "per-neuron", "filtered": False})`.
    """
    if name not in RULES:
        raise unknown("rule", name, RULES)
    if isinstance(settings.get("trace"), (str, dict)):
        settings["trace"] = _trace(settings["trace"])
    try:
        return RULES[name](**settings)
    except TypeError as error:
        known = [field.name for field in fields(RULES[name]) if field.init]
        other = ", ".join(f"'{key}'" for key in settings if key not in known)
        if not other:
            raise UserError(f"rule '{name}' cannot use its settings: {error}") from error
        raise UserError(f"rule '{name}' does not take {other}: it takes {', '.join(known)}") from error


def as_rule(rule: Rule[Any] | str) -> Rule[Any]:
    """A rule as it is, or the one of a name with its usual settings; raises `UserError` for anything else."""
    if isinstance(rule, str):
        return rule_named(rule)
    if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UserError(f"a rule is made like nf.FDFA(), or given by its name, got {rule!r}")
    return rule


def _trace(wanted: str | dict[str, Any]) -> Trace[Any]:
    options = {"kind": wanted} if isinstance(wanted, str) else dict(wanted)
    kind = options.pop("kind", None)
    if kind not in TRACES:
        raise unknown("trace", str(kind), TRACES)
    try:
        return TRACES[kind](**options)
    except TypeError as error:
        raise UserError(f"trace '{kind}' does not take {sorted(options)}") from error


__all__ = [
    "BPTT",
    "CONTROL",
    "DEFAULT",
    "DFA",
    "DKP",
    "DRTP",
    "EXACT",
    "FA",
    "FDFA",
    "OPZO",
    "OTTT",
    "RANDOM",
    "RULES",
    "SBD",
    "SLTT",
    "STLLR",
    "TRACES",
    "ActivityForwardGradient",
    "Broadcast",
    "EProp",
    "ForwardForward",
    "GuidedForwardGradient",
    "LocalLoss",
    "MonoForward",
    "ReadoutOnly",
    "Rule",
    "Signals",
    "WeightForwardGradient",
    "WeightMirror",
    "rule_named",
    "rule_title",
]
