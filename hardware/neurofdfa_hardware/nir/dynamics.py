"""NIR's neuron nodes in discrete time: decays, gain of the input, bias of the membrane.

Forward Euler with step dt (Loihi computes the current first and the membrane from the new current):
    CubaLIF  τ_syn İ = −I + w_in S,  τ_mem v̇ = (v_leak − v) + R I
    →  alpha = 1 − dt/τ_syn, beta = 1 − dt/τ_mem, gain = w_in·(dt/τ_syn)·R·(dt/τ_mem), bias = v_leak·dt/τ_mem
    LIF, LI  alpha = 0, gain = R·dt/τ;   IF, I  alpha = 0, beta = 1, gain = R·dt, bias = 0

Norse 1.1's exporter means something else by the same nodes: it multiplies time constants by dt, its current
jumps by the whole weight (gain without dt/τ_syn), and its IF adds the input without dt.
"""

from dataclasses import dataclass
from typing import Literal

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.lowering import Shape, per_neuron
from neurofdfa_hardware.nir.network import Conversion, Layer

Float64 = NDArray[np.float64]
Writer = Literal["norse", "snntorch", "spikingjelly"]
NEURON_NODES = (nir.LIF, nir.CubaLIF, nir.IF, nir.LI, nir.CubaLI, nir.I)
SPIKING_NODES = (nir.LIF, nir.CubaLIF, nir.IF)


@dataclass(frozen=True)
class Neurons:
    """A neuron node as read: its layer (with the leak's bias alone) and the gain `[n]` of its inputs."""

    layer: Layer
    gain: Float64
    conversions: tuple[Conversion, ...]


def read_neurons(
    name: str, node: nir.NIRNode, shape: Shape, dt: float, writer: Writer | None = None
) -> Neurons:
    """Discretise `node` for neurons of `shape`, as `writer` meant it (all but Norse: NIR under Euler).

    Raises `HardwareError`, naming the node, for time constants shorter than dt, v_reset ≠ 0, thresholds
    below zero and values that are not finite.
    """
    size = int(np.prod(shape))
    rows: list[Conversion] = []
    norse = writer == "norse"

    def note(parameter: str, equation: str, value: Float64) -> Float64:
        rows.append(Conversion(name, parameter, equation, float(np.mean(value))))
        return value

    def parameter(field: str) -> Float64:
        value = per_neuron(name, field, getattr(node, field), shape)
        return value / dt if norse and field.startswith("tau") else value

    alpha, beta = np.zeros(size), np.ones(size)
    gain, bias = parameter("r"), np.zeros(size)
    if isinstance(node, nir.CubaLIF | nir.CubaLI):
        share = _share(name, "tau_syn", parameter("tau_syn"), dt)
        alpha = note("alpha", "1 − dt/tau_syn", 1.0 - share)
        gain = gain * parameter("w_in") * (1.0 if norse else share)
    if isinstance(node, nir.IF | nir.I):
        gain = note("gain", "r", gain) if norse else note("gain", "r·dt", gain * dt)
        note("beta", "1 (no leak)", beta)
    else:
        field = "tau_mem" if isinstance(node, nir.CubaLIF | nir.CubaLI) else "tau"
        share = _share(name, field, parameter(field), dt)
        beta = note("beta", f"1 − dt/{field}", 1.0 - share)
        current = ""
        if isinstance(node, nir.CubaLIF | nir.CubaLI):
            current = "w_in·" if norse else "w_in·(dt/tau_syn)·"
        gain = note("gain", f"{current}r·dt/{field}", gain * share)
        bias = note("bias", f"v_leak·dt/{field}", parameter("v_leak") * share)
    threshold = np.zeros(size)
    if isinstance(node, SPIKING_NODES):
        _check_reset(name, parameter("v_reset"))
        threshold = note("threshold", "v_threshold", parameter("v_threshold"))
        if np.any(threshold < 0):
            raise HardwareError(
                f"node {name!r} has a threshold of {threshold.min():g}: Loihi's cannot be below 0; "
                "shift v_leak and v_threshold up together"
            )
    layer = Layer(name, size, alpha, beta, threshold, bias, spiking=isinstance(node, SPIKING_NODES))
    return Neurons(layer, gain, tuple(rows))


def _share(name: str, field: str, tau: Float64, dt: float) -> Float64:
    """dt/τ, the part of a state that one step replaces."""
    if np.any(tau <= 0):
        raise HardwareError(f"{field} of node {name!r} is {tau.min():g}: time constants are positive")
    # An exporter that wrote tau = dt/(1 − 0) in float32 may come out a hair above 1.
    share = dt / tau
    if np.any(share > 1 + 1e-6):
        raise HardwareError(
            f"{field} of node {name!r} is {tau.min():g} s, shorter than dt = {dt:g} s: its decay would be "
            f"negative; pass dt ≤ {tau.min():g}, the step the network was trained with"
        )
    return np.minimum(share, 1.0)


def _check_reset(name: str, v_reset: Float64) -> None:
    if np.any(v_reset != 0):
        worst = v_reset[np.argmax(np.abs(v_reset))]
        raise HardwareError(
            f"node {name!r} resets to v_reset = {worst:g}: Loihi resets the membrane to 0; "
            "train with v_reset = 0, or shift v, v_leak and v_threshold so that the reset is 0"
        )
