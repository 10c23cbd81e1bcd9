"""NIR's neuron nodes in discrete time: decays, gain of the input, bias of the membrane.

Forward Euler with step dt (Loihi computes the current first and the membrane from the new current):
    CubaLIF  τ_syn İ = −I + w_in S,  τ_mem v̇ = (v_leak − v) + R I
    →  alpha = 1 − dt/τ_syn, beta = 1 − dt/τ_mem, gain = w_in·(dt/τ_syn)·R·(dt/τ_mem), bias = v_leak·dt/τ_mem
    LIF, LI  alpha = 0, gain = R·dt/τ;   IF, I  alpha = 0, beta = 1, gain = R·dt, bias = 0
    Threshold  alpha = beta = 0, gain = 1

Norse 1.1's exporter means something else by the same nodes: it multiplies time constants by dt ("norse-1.0"
stands for those before, which wrote them as they are), its current jumps by the whole weight (gain without
dt/τ_syn), and its IF adds the input without dt.

NIR's neurons do not say how they reset. A node's own metadata may: "reset" ("hard", "soft" or "none"),
"reset_value" (what a soft reset takes off; the threshold unless given), "refractory" (in steps).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.lowering import Shape, per_neuron
from neurofdfa_hardware.nir.network import Conversion, Layer

Float64 = NDArray[np.float64]
Writer = Literal["norse", "norse-1.0", "snntorch", "spikingjelly"]
WRITERS: tuple[Writer, ...] = ("snntorch", "norse", "norse-1.0", "spikingjelly")
Reset = Literal["hard", "soft", "none"]
RESETS: tuple[Reset, ...] = ("hard", "soft", "none")
NEURON_NODES = (nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold, nir.LI, nir.CubaLI, nir.I)
SPIKING_NODES = (nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold)
# Where a simulator's membranes start, when that is not 0.
_START = {"norse": "v_leak", "norse-1.0": "v_leak", "spikingjelly": "v_reset"}
_WITH_CURRENT = (nir.CubaLIF, nir.CubaLI)
# Time constants longer than this, in seconds, are taken for a file that another exporter wrote.
_TOO_LONG = 1.0


@dataclass(frozen=True)
class Neurons:
    """A neuron node as read: its layer (with the leak's bias alone) and the gain `[n]` of its inputs."""

    layer: Layer
    gain: Float64
    conversions: tuple[Conversion, ...]


def read_neurons(
    name: str,
    node: nir.NIRNode,
    shape: Shape,
    dt: float,
    writer: Writer | None = None,
    reset: Reset | None = None,
) -> Neurons:
    """Discretise `node` for neurons of `shape`, as `writer` meant it (all but Norse: NIR under Euler).

    reset: of a node that does not say its own. Raises `HardwareError`, naming the node, for time constants
    shorter than dt, thresholds below zero and values that are not finite.
    """
    size = int(np.prod(shape))
    rows: list[Conversion] = []
    norse = writer in ("norse", "norse-1.0")

    def note(parameter: str, equation: str, value: Float64) -> Float64:
        rows.append(Conversion(name, parameter, equation, float(np.mean(value))))
        return value

    def parameter(field: str, infinite: bool = False) -> Float64:
        return per_neuron(name, field, getattr(node, field), shape, infinite)

    def share_of(field: str) -> Float64:
        tau = parameter(field, infinite=True)
        if writer == "norse":
            tau = tau / dt
            if np.all(tau > _TOO_LONG):
                raise HardwareError(
                    f"{field} of node {name!r} reads as {tau.min():.3g} s: Norse before 1.1 wrote time "
                    'constants as they are; read the file with writer="norse-1.0"'
                )
        return _share(name, field, tau, dt, writer)

    alpha, beta = np.zeros(size), np.ones(size)
    gain, bias = np.ones(size), np.zeros(size)
    if not isinstance(node, nir.Threshold):
        gain = parameter("r", infinite=True)
    if writer == "snntorch" and isinstance(node, nir.LIF | nir.CubaLIF):
        _check_step(name, parameter("tau_mem" if isinstance(node, nir.CubaLIF) else "tau", True), gain, dt)
    if isinstance(node, _WITH_CURRENT):
        share = share_of("tau_syn")
        alpha = note("alpha", "1 − dt/tau_syn", 1.0 - share)
        gain = _times(gain, _times(parameter("w_in", infinite=True), np.ones(size) if norse else share))
    if isinstance(node, nir.Threshold):
        beta = note("beta", "0 (no memory)", np.zeros(size))
    elif isinstance(node, nir.IF | nir.I):
        gain = note("gain", "r", gain) if norse else note("gain", "r·dt", gain * dt)
        note("beta", "1 (no leak)", beta)
    else:
        field = "tau_mem" if isinstance(node, _WITH_CURRENT) else "tau"
        share = share_of(field)
        beta = note("beta", f"1 − dt/{field}", 1.0 - share)
        current = ""
        if isinstance(node, _WITH_CURRENT):
            current = "w_in·" if norse else "w_in·(dt/tau_syn)·"
        gain = note("gain", f"{current}r·dt/{field}", _times(gain, share))
        bias = note("bias", f"v_leak·dt/{field}", parameter("v_leak") * share)
    layer = Layer(name, size, alpha, beta, np.zeros(size), bias, isinstance(node, SPIKING_NODES))
    if layer.spiking:
        field = "threshold" if isinstance(node, nir.Threshold) else "v_threshold"
        threshold = note("threshold", field, parameter(field))
        layer = _with_reset(replace(layer, threshold=threshold), node, writer, reset, parameter)
        origin = _START.get(writer or "", "")
        if hasattr(node, origin) and np.any(parameter(origin)):
            layer = _shifted(layer, note("shift", f"v − {origin}, where it starts", parameter(origin)))
        if np.any(layer.threshold < 0):
            raise HardwareError(
                f"node {name!r} has a threshold of {layer.threshold.min():g}: Loihi's cannot be below 0; "
                "shift v_leak and v_threshold up together"
            )
        if not layer.plain and layer.reset_value is not None:
            what = "taken off v" if layer.reset == "soft" else "v set to"
            note(f"{layer.reset} reset", what, layer.reset_value)
    return Neurons(layer, gain, tuple(rows))


def _with_reset(
    layer: Layer,
    node: nir.NIRNode,
    writer: Writer | None,
    reset: Reset | None,
    parameter: Callable[[str], Float64],
) -> Layer:
    """The layer with what its spikes do to v: the node's own metadata before `reset`."""
    said = node.metadata
    mode = said.get("reset", reset)
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if isinstance(node, nir.Threshold):
        return layer
    if mode not in RESETS:
        raise HardwareError(
            'the graph does not say how its neurons reset: pass reset="hard" if the membrane goes to 0 '
            'after a spike, which is Loihi\'s way, "soft" if the threshold is taken off it, "none" if '
            f"nothing happens (node {layer.name!r})"
        )
    refractory = int(said.get("refractory", 0))
    if mode == "hard":
        return replace(layer, reset_value=parameter("v_reset"), refractory=refractory)
    amount = np.zeros(layer.size) if mode == "none" else layer.threshold
    if "reset_value" in said:
        amount = np.broadcast_to(
            np.asarray(said["reset_value"], np.float64).reshape(-1), (layer.size,)
        ).copy()
    elif mode == "soft" and writer == "snntorch":
        # snnTorch takes the threshold off one step later, when the membrane has decayed.
        if np.any(layer.beta <= 0):
            raise HardwareError(
                f"node {layer.name!r} has beta = 0 and snnTorch's late soft reset: use reset_delay=False"
            )
        amount = layer.threshold / layer.beta
    return replace(layer, reset="soft", reset_value=amount)


def _shifted(layer: Layer, origin: Float64) -> Layer:
    """The same neurons with v counted from `origin` `[n]`, where they start: Loihi's start at 0."""
    value = layer.reset_value
    if layer.reset == "hard" and value is not None:
        value = value - origin
    return replace(
        layer,
        threshold=layer.threshold - origin,
        bias=layer.bias - origin * (1.0 - layer.beta),
        reset_value=value,
    )


def _times(gain: Float64, share: Float64) -> Float64:
    """gain·share; where an endless time constant made r = τ/dt infinite, the limit of r·dt/τ, which is 1."""
    endless = np.isinf(gain) & (share == 0)
    return np.where(endless, 1.0, np.where(endless, 0.0, gain) * share)


def _check_step(name: str, tau: Float64, r: Float64, dt: float) -> None:
    """SnnTorch writes r = τ/dt, which says the step that the file was written for."""
    known = np.isfinite(tau) & np.isfinite(r) & (r > 0)
    if not np.any(known):
        return
    written = float(np.median(tau[known] / r[known]))
    if abs(written / dt - 1.0) > 1e-3:
        raise HardwareError(
            f"node {name!r} was written for a step of {written:.4g} (its tau/r), not {dt:g}: "
            f"pass dt={written:.4g}"
        )


def _share(name: str, field: str, tau: Float64, dt: float, writer: Writer | None) -> Float64:
    """dt/τ, the part of a state that one step replaces."""
    if np.any(tau <= 0):
        raise HardwareError(f"{field} of node {name!r} is {tau.min():g}: time constants are positive")
    # An exporter that wrote tau = dt/(1 − 0) in float32 may come out a hair above 1.
    share = dt / tau
    if np.any(share > 1 + 1e-6):
        raise HardwareError(
            f"{field} of node {name!r} is {tau.min():g} s, shorter than dt = {dt:g} s: its decay would be "
            f"negative; pass dt ≤ {tau.min():g}, the step the network was trained with"
            + ("" if writer else ', or writer="norse" for a file of Norse 1.1, which multiplies them by dt')
        )
    return np.minimum(share, 1.0)
