"""Modules of PyTorch, snnTorch, Norse and SpikingJelly as NIR nodes that say all that NIR leaves open.

A neuron is read as it steps: u ← αu + input, v ← βv + gain·u + bias, a spike where v > θ, then its reset. Its
node gives exactly that under forward Euler with the step `DT`, and its metadata says the reset
(`neurofdfa_hardware.nir.dynamics`). Simulators that differ from this form by more than rounding are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from neurofdfa.errors import UserError

DT = 1e-3
Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Neurons:
    """Discrete neurons of one layer; every number one for all or of the layer's shape.

    reset: "hard" (v becomes value), "soft" (value is taken off) or None for a readout that never fires.
    refractory: steps after a spike in which v is held at value. recurrent: weights from its own last spikes.
    inputs: weights that the module keeps before its neurons. late: steps by which its input comes late.
    """

    beta: Any
    alpha: Any = 0.0
    gain: Any = 1.0
    bias: Any = 0.0
    threshold: Any = 1.0
    reset: str | None = "hard"
    value: Any = 0.0
    refractory: int = 0
    recurrent: nn.Module | Array | None = None
    inputs: Array | None = None
    late: int = 0
    notes: tuple[str, ...] = field(default=())


def weights(where: str, module: nn.Module, shape: Shape) -> nir.NIRNode | None:
    """The node of a module with weights for inputs of `shape`, None for modules of another kind."""
    if isinstance(module, nn.Linear):
        weight = array(module.weight)
        bias = dict(module.named_parameters(recurse=False)).get("bias")
        return nir.Linear(weight) if bias is None else nir.Affine(weight, array(bias))
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.padding_mode != "zeros":
            raise UserError(f"{where} pads with {module.padding_mode!r}: use zeros")
        bias = dict(module.named_parameters(recurse=False)).get("bias")
        settings: dict[str, Any] = {
            "weight": array(module.weight),
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "groups": module.groups,
            "bias": np.zeros(module.out_channels) if bias is None else array(bias),
        }
        if isinstance(module, nn.Conv1d):
            one: dict[str, Any] = {
                key: value[0] if key in ("stride", "dilation") else value for key, value in settings.items()
            }
            if not isinstance(module.padding, str):
                one["padding"] = module.padding[0]
            return nir.Conv1d(input_shape=shape[-1], **one)
        return nir.Conv2d(input_shape=(shape[-2], shape[-1]), **settings)
    return None


def normalised(where: str, node: nir.NIRNode | None, norm: nn.Module) -> nir.NIRNode:
    """The weights of `node` with a batch normalisation behind them, as it acts in evaluation."""
    mean: Any = norm.running_mean
    variance: Any = norm.running_var
    if not isinstance(node, nir.Linear | nir.Affine | nir.Conv1d | nir.Conv2d):
        raise UserError(f"{where} does not stand behind weights that could take it: put it behind a layer")
    if mean is None or variance is None:
        raise UserError(f"{where} keeps no running statistics: use track_running_stats=True")
    parameters = dict(norm.named_parameters(recurse=False))
    factor = 1.0 / np.sqrt(array(variance) + float(norm.eps))  # pyright: ignore[reportArgumentType]
    shift = -array(mean) * factor
    if "weight" in parameters:
        factor = factor * array(parameters["weight"])
        shift = -array(mean) * factor + array(parameters["bias"])
    weight = np.asarray(node.weight) * factor.reshape(-1, *(1,) * (np.ndim(node.weight) - 1))
    bias = shift + (0.0 if isinstance(node, nir.Linear) else np.asarray(node.bias) * factor)
    if isinstance(node, nir.Linear | nir.Affine):
        return nir.Affine(weight, bias)
    kind: Any = type(node)
    return kind(node.input_shape, weight, node.stride, node.padding, node.dilation, node.groups, bias)


def neurons(where: str, module: nn.Module) -> Neurons | None:
    """How a module of neurons steps, None for modules of another kind; raises `UserError` by its name."""
    package, kind = type(module).__module__.split(".")[0], type(module).__name__
    known = _READERS.get(package, {})
    if kind in known:
        return known[kind](where, module)
    if package in _READERS and kind not in _CONTAINERS and not isinstance(module, _TORCH):
        raise UserError(
            f"{where} is a {kind} of {package}, whose dynamics Loihi's LIF does not have: use one of "
            f"{', '.join(known)}"
        )
    return None


def node_of(neuron: Neurons, shape: Shape) -> nir.NIRNode:
    """NIR's node with the same decays, gain, bias and threshold, for neurons of `shape`."""

    def full(value: Any) -> Array:
        number = np.asarray(value, np.float64)
        if number.ndim == 1 and len(shape) > 1 and number.shape[0] == shape[0]:
            number = number.reshape(-1, *(1,) * (len(shape) - 1))
        return np.broadcast_to(number, shape).copy()

    beta, alpha, gain = full(neuron.beta), full(neuron.alpha), full(neuron.gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = DT / (1.0 - beta)
        leak = np.where(beta < 1, full(neuron.bias) / (1.0 - beta), 0.0)
        r = np.where(beta < 1, gain / (1.0 - beta), np.inf)
    endless = bool(np.all(beta == 1))
    if neuron.reset is None:
        if not np.any(alpha):
            return nir.I(gain / DT) if endless else nir.LI(tau, r, leak)
        return nir.CubaLI(
            DT / (1.0 - alpha), tau, np.where(beta < 1, 1 / (1 - beta), np.inf), leak, gain / (1.0 - alpha)
        )
    metadata: dict[str, Any] = {"reset": neuron.reset}
    value = full(neuron.value)
    if neuron.reset == "soft":
        metadata["reset_value"] = value.reshape(-1)
    if neuron.refractory:
        metadata["refractory"] = neuron.refractory
    spikes: dict[str, Any] = {
        "v_threshold": full(neuron.threshold),
        "v_reset": value if neuron.reset == "hard" else np.zeros(shape),
        "metadata": metadata,
    }
    if not np.any(alpha):
        return nir.IF(gain / DT, **spikes) if endless else nir.LIF(tau, r, leak, **spikes)
    return nir.CubaLIF(
        tau_syn=DT / (1.0 - alpha),
        tau_mem=tau,
        r=np.where(beta < 1, 1.0 / np.where(beta < 1, 1.0 - beta, 1.0), np.inf),
        v_leak=leak,
        w_in=gain / (1.0 - alpha),
        **spikes,
    )


def array(tensor: Any) -> Array:
    """Any tensor or number as float64."""
    return torch.as_tensor(tensor).detach().to("cpu", torch.float64).numpy()


def _snntorch(where: str, m: Any, beta: Any, decays: Array, **more: Any) -> Neurons:
    """What all neurons of snnTorch share. decays: by which what a late soft reset takes off has decayed."""
    if getattr(m, "inhibition", False):
        raise UserError(f"{where} lets only one neuron of a layer fire (inhibition): no synapse does that")
    if m.state_quant:
        raise UserError(f"{where} quantises its states (state_quant): leave that to the chip")
    if bool(torch.any(m.graded_spikes_factor != 1)):
        raise UserError(f"{where} scales its spikes: put graded_spikes_factor into the weights behind it")
    threshold, late = array(m.threshold), getattr(m, "reset_delay", True)
    mode = m.reset_mechanism
    if mode == "none":
        return Neurons(beta, threshold=threshold, reset="soft", **more)
    if mode == "subtract":
        if late and np.any(decays == 0):
            raise UserError(f"{where} subtracts late from a membrane with beta = 0: use reset_delay=False")
        return Neurons(
            beta, threshold=threshold, reset="soft", value=threshold / (decays if late else 1.0), **more
        )
    return Neurons(beta, threshold=threshold, **more)


def _clamped(value: Any) -> Array:
    return np.clip(array(value), 0.0, 1.0)


def _leaky(where: str, m: Any) -> Neurons:
    beta = _clamped(m.beta)
    return _snntorch(where, m, beta, beta)


def _pause(m: Any) -> int:
    """A late reset to zero also throws away what comes in on the step after a spike."""
    return int(m.reset_mechanism == "zero" and getattr(m, "reset_delay", True))


def _synaptic(where: str, m: Any) -> Neurons:
    beta = _clamped(m.beta)
    return _snntorch(where, m, beta, beta, alpha=_clamped(m.alpha), refractory=_pause(m))


def _own_weights(m: Any) -> nn.Module | Array:
    """Recurrent weights: a layer, or one number for each neuron."""
    return m.recurrent if isinstance(m.recurrent, nn.Linear | nn.Conv2d) else array(m.recurrent.V)


def _rleaky(where: str, m: Any) -> Neurons:
    beta = _clamped(m.beta)
    return _snntorch(where, m, beta, beta, refractory=_pause(m), recurrent=_own_weights(m))


def _rsynaptic(where: str, m: Any) -> Neurons:
    if _pause(m):
        raise UserError(
            f"{where} resets late to zero, its current included, which Loihi keeps: use reset_delay=False "
            'or reset_mechanism="subtract"'
        )
    beta = _clamped(m.beta)
    return _snntorch(where, m, beta, beta, alpha=_clamped(m.alpha), recurrent=_own_weights(m))


def _lapicque(where: str, m: Any) -> Neurons:
    step, r, c = (array(x) for x in (m.time_step, m.R, m.C))
    beta = 1.0 - step / (r * c)
    return _snntorch(where, m, beta, beta, gain=step / c, refractory=_pause(m))


def _alpha(where: str, m: Any) -> Neurons:
    """τ_α(Σ α^k − Σ β^k) is a current and a membrane one step later, scaled."""
    if m.reset_mechanism != "none":
        raise UserError(
            f"{where} resets both its currents, which Loihi keeps: use reset_mechanism='none', or Synaptic"
        )
    alpha, beta = _clamped(m.alpha), _clamped(m.beta)
    scale = np.log(alpha) / (np.log(beta) - np.log(alpha)) + 1.0
    return _snntorch(where, m, beta, beta, alpha=alpha, gain=scale * (alpha - beta), late=1)


def _norse(where: str, m: Any, **more: Any) -> Neurons:
    """Neurons that start at v_leak: v is counted from there."""
    p, dt = m.p, float(m.dt)
    leak = array(p.v_leak)
    share = dt * array(p.tau_mem_inv)
    if hasattr(p, "tau_syn_inv"):
        more["alpha"] = 1.0 - dt * array(p.tau_syn_inv)
    threshold = array(p.v_th)
    reset = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    if reset == "reset_subtract":
        more |= {"reset": "soft", "value": threshold - array(p.v_reset)}
    elif reset == "reset_value":
        more["value"] = array(p.v_reset) - leak
    else:
        raise UserError(f"{where} resets by {reset}: use reset_value or reset_subtract")
    return Neurons(1.0 - share, gain=share, threshold=threshold - leak, **more)


def _norse_recurrent(where: str, m: Any) -> Neurons:
    weight = array(m.recurrent_weights).copy()
    if not m.autapses:
        np.fill_diagonal(weight, 0.0)
    return _norse(where, m, inputs=array(m.input_weights), recurrent=weight)


def _norse_integrate(where: str, m: Any) -> Neurons:
    return Neurons(1.0, threshold=array(m.p.v_th), value=array(m.p.v_reset))


def _norse_readout(where: str, m: Any) -> Neurons:
    p, dt = m.p, float(m.dt)
    if np.any(array(p.v_leak)):
        raise UserError(f"{where} is a readout whose membrane rests at v_leak: use v_leak = 0")
    share = dt * array(p.tau_mem_inv)
    alpha = 1.0 - dt * array(p.tau_syn_inv) if hasattr(p, "tau_syn_inv") else 0.0
    inputs = array(m.input_weights) if hasattr(m, "input_weights") else None
    return Neurons(1.0 - share, alpha, gain=share, reset=None, inputs=inputs)


def _jelly(where: str, m: Any, share: Any, decays_input: bool) -> Neurons:
    """Neurons that start and rest at v_reset, or at 0 where they reset softly: v is counted from there."""
    if m.step_mode != "s":
        raise UserError(f"{where} takes all steps at once: functional.set_step_mode(net, 's') before")
    soft = m.v_reset is None
    origin = 0.0 if soft else float(m.v_reset)
    threshold = float(m.v_threshold)
    share = np.asarray(share, np.float64)
    gain = share if decays_input else np.ones_like(share)
    return Neurons(
        1.0 - share,
        gain=gain,
        threshold=threshold - origin,
        reset="soft" if soft else "hard",
        value=threshold if soft else 0.0,
        notes=("SpikingJelly fires at v ≥ θ, Loihi at v > θ",),
    )


def _jelly_if(where: str, m: Any) -> Neurons:
    return _jelly(where, m, 0.0, False)


def _jelly_lif(where: str, m: Any) -> Neurons:
    return _jelly(where, m, 1.0 / float(m.tau), bool(m.decay_input))


def _jelly_parametric(where: str, m: Any) -> Neurons:
    return _jelly(where, m, array(m.w.sigmoid()), bool(m.decay_input))


Reader = Callable[[str, Any], Neurons]
_READERS: dict[str, dict[str, Reader]] = {
    "snntorch": {
        "Leaky": _leaky,
        "Synaptic": _synaptic,
        "RLeaky": _rleaky,
        "RSynaptic": _rsynaptic,
        "Lapicque": _lapicque,
        "Alpha": _alpha,
    },
    "norse": {
        "LIFCell": _norse,
        "LIFBoxCell": _norse,
        "LIFRecurrentCell": _norse_recurrent,
        "IAFCell": _norse_integrate,
        "LICell": _norse_readout,
        "LIBoxCell": _norse_readout,
        "LILinearCell": _norse_readout,
    },
    "spikingjelly": {"IFNode": _jelly_if, "LIFNode": _jelly_lif, "ParametricLIFNode": _jelly_parametric},
}
_CONTAINERS = ("SequentialState", "Lift", "RecurrentOneToOne", "Dropout", "Dropout2d")
# Those of SpikingJelly derive from PyTorch's.
_TORCH = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.Sequential,
)  # fmt: skip
