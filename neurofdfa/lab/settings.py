"""Settings of the demo's runs, one dict of dotted settings per rule, chosen on validation data alone.

How they were chosen, with the size of every sweep: docs/studies/demo.md. The digits network has the
dynamics of Loihi (hard reset, 12-bit decays, spikes as input).
"""

from typing import Any

from neurofdfa.rules import CONTROL, DEFAULT, EXACT, RANDOM

Settings = dict[str, Any]


def _by_rule(
    shared: Settings, exact: Settings, default: Settings, random: Settings, control: Settings
) -> dict[str, Settings]:
    own = {EXACT.name: exact, DEFAULT.name: default, RANDOM.name: random, CONTROL.name: control}
    return {rule: shared | {"rule.name": rule} | settings for rule, settings in own.items()}


# The local rules run on the event engine, nine times as fast here as the reference. Silent
# inputs, a wide surrogate and 30 epochs are worth a point with so few samples (1077).
_DIGITS: Settings = {
    "data.name": "digits",
    "data.encoder": "poisson",
    "data.max_rate": 1.0,
    "data.steps": 16,
    "network.hidden": (128, 128),
    "network.surrogate_width": 1.0,
    "network.input_dropout": 0.1,
    "training.epochs": 30,
    "training.batch": 64,
    "training.warmup": 20,
    "training.engine": "auto",
}
DIGITS = _by_rule(
    _DIGITS,
    exact={"training.lr": 2e-2},
    default={"rule.options": DEFAULT.frugal, "training.lr": 1e-2, "training.alignment_samples": 16},
    random={"training.lr": 1e-2, "training.rate_strength": 0.0},
    control={"training.lr": 4e-2, "training.rate_strength": 0.0},
)

# Twenty classes that differ in WHEN each of 20 inputs fires its one spike: rates say nothing.
_TIMING: Settings = {
    "data.name": "randman",
    "data.steps": 25,
    "data.options": {"classes": 20, "n_in": 20, "train": 1500, "validation": 500, "test": 500},
    "network.hidden": (64,),
    "network.reset": "soft",
    "network.tau_mem": 10e-3,
    "network.tau_syn": 5e-3,
    "network.readout": "leaky",
    "network.tau_out": 30e-3,
    "training.epochs": 8,
    "training.batch": 64,
    "training.warmup": 20,
    "training.engine": "auto",
    "training.rate_strength": 0.0,
}
TIMING = _by_rule(
    _TIMING,
    exact={"training.lr": 4e-2},
    default={"training.lr": 8e-2, "training.alignment_samples": 8},
    random={"training.lr": 8e-2},
    control={"training.lr": 3.2e-1},
)
