"""Neurons and readouts as a config file writes them, with the settings that they have in Python:

    { lif = { tau_mem = 5e-3, reset = "soft", surrogate = "triangular", recurrent = true } }

decay_bits = "exact" stands for None, which TOML cannot write. own_tau_mem = 64, own_tau_syn = 64: each of so
many neurons has a time constant of its own, which is kept with the weights. recurrent: true, or the synapses,
{ linear = { n_out = 64, bias = true } }.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.alif import ALIF
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.cuba_lif import CubaLIF
from neurofdfa.nn.integrate_and_fire import IF
from neurofdfa.nn.integrator import I
from neurofdfa.nn.leaky_integrator import LI
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.surrogate import SURROGATES, surrogate, surrogate_name

_PLAIN = (
    "tau_mem", "tau_syn", "dt", "v_threshold", "reset", "reset_gradient", "decay_bits", "adaptation",
    "tau_adapt", "tau_mem_spread", "tau_syn_spread", "learn_tau",
)  # fmt: skip
_SPIKING = (
    *_PLAIN, "surrogate", "surrogate_width", "surrogate_height", "recurrent", "own_tau_mem", "own_tau_syn",
)  # fmt: skip
_CLASSES: dict[str, type[LIF]] = {"lif": LIF, "alif": ALIF, "cubalif": CubaLIF, "if": IF}
NEURONS: dict[str, tuple[str, ...]] = {
    "lif": _SPIKING,
    "alif": _SPIKING,
    "cubalif": _SPIKING,
    "if": tuple(name for name in _SPIKING if name != "tau_mem"),
    "li": ("tau_mem", "dt", "decay_bits"),
    "i": (),
}
"""Kinds, and the settings of each."""


def neuron_named(kind: str, settings: Mapping[str, Any]) -> Neuron | I:
    """Make a neuron; raises `UserError` for settings that it does not take."""
    given = dict(settings)
    if given.get("decay_bits") == "exact":
        given["decay_bits"] = None
    try:
        if kind == "i":
            return I()
        if kind == "li":
            return LI(**given)
        return _spiking(kind, given)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{kind}: {error}") from error


def _spiking(kind: str, given: dict[str, Any]) -> LIF:
    shape = [given.pop(f"surrogate{part}", default) for part, default in _SURROGATE.items()]
    recurrent = given.pop("recurrent", False)
    own = {name: given.pop(f"own_{name}", None) for name in ("tau_mem", "tau_syn")}
    nominal: dict[str, float] = {}
    for name, n in own.items():
        if n is not None:
            nominal[name] = float(given.get(name, 5e-3 if name == "tau_mem" else 0.0))
            given[name] = torch.full((n,), nominal[name])
    made = _CLASSES[kind](**given, surrogate=surrogate(*shape), recurrent=_recurrent(recurrent))
    for name, value in nominal.items():
        setattr(made, name, value)  # exactly; the neurons' own come with the weights
    return made


_SURROGATE = {"": "fast-sigmoid", "_width": 0.5, "_height": 1.0}


def _recurrent(given: Any) -> bool | Linear | Conv2d:
    if isinstance(given, bool):
        return given
    if isinstance(given, Mapping):
        for kind, settings in cast(Mapping[str, Any], given).items():
            own: dict[str, Any] = dict(settings)
            if kind == "linear":
                return Linear(own["n_out"], **own)
            if kind == "conv2d":
                return Conv2d(own["out_channels"], **own)
    raise UserError(f"recurrent is true, or a table with linear or conv2d, got {given!r}")


def describe_neuron(neuron: Neuron | I) -> dict[str, Any]:
    """One entry of `neurofdfa.nn.layer_spec`. Raises `UserError` for a class of the user's own."""
    kind = type(neuron)
    if kind is I:
        return {"i": {}}
    if isinstance(neuron, LI) and kind is LI:
        bits = "exact" if neuron.decay_bits is None else neuron.decay_bits
        return {"li": {"tau_mem": neuron.tau_mem, "dt": neuron.dt, "decay_bits": bits}}
    if isinstance(neuron, LIF) and kind in _CLASSES.values():
        return _described(neuron)
    raise UserError(f"{kind.__name__} is a class of your own, which a file cannot describe")


def _described(neuron: LIF) -> dict[str, Any]:
    if type(neuron.surrogate) not in SURROGATES.values():
        raise UserError(
            f"{type(neuron.surrogate).__name__} is a surrogate of your own, which a file cannot describe"
        )
    settings: dict[str, Any] = {name: getattr(neuron, name) for name in _PLAIN}
    kind = next(name for name, made in _CLASSES.items() if made is type(neuron))
    own = neuron.time_constants if neuron.given_time_constants else None
    if settings["tau_mem"] == float("inf"):  # the same neuron, and no file that holds a number without an end
        kind = "if"
    if kind == "if":
        del settings["tau_mem"]
    if settings["decay_bits"] is None:
        settings["decay_bits"] = "exact"
    for name, logits in (("tau_mem", own and own.membrane), ("tau_syn", own and own.synapse)):
        if logits is not None:
            settings[f"own_{name}"] = len(logits)
    settings["surrogate"] = surrogate_name(neuron.surrogate)
    settings |= {"surrogate_width": neuron.surrogate.width, "surrogate_height": neuron.surrogate.height}
    if neuron.wants_recurrent:
        settings["recurrent"] = True
    elif neuron.recurrent is not None:
        settings["recurrent"] = _described_recurrent(neuron.recurrent)
    return {kind: settings}


def _described_recurrent(module: Linear | Conv2d) -> dict[str, Any]:
    from neurofdfa.nn.layer_spec import describe_synapse  # which reads neurons by this file

    return describe_synapse(module)
