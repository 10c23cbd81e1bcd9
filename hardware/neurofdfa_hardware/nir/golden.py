"""Does the network, as read, do what its exporter saw it do?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.network import Float64, FloatRecord, Layer, Network, float_simulate

# Exporters compute in float32: a membrane this close to the threshold (relative) may fall on either side.
_NEAR = 1e-4


@dataclass(frozen=True)
class GoldenCheck:
    """Outcome on the golden vector.

    ok: every spike equal, or the first difference of each sample is a rounding of the exporter's float32.
    wrong: differing spikes by layer; spikes: compared ones. readout_error: largest difference of the
    readout's membrane (None without one). first: where the first real difference is, in words.
    """

    ok: bool
    wrong: dict[str, int]
    spikes: int
    readout_error: float | None
    first: str | None


def check_golden(network: Network) -> GoldenCheck:
    """Run the golden input in float64 and compare. Raises `HardwareError` when the graph has none."""
    golden = network.golden
    if golden is None:
        raise HardwareError("the graph carries no golden vector: nothing says what its spikes should be")
    record = float_simulate(network, golden.input, states=True)
    layers = {layer.name: layer for layer in network.layers if layer.name in golden.spikes}
    excused = np.zeros(golden.input.shape[1], np.bool_)
    first: str | None = None
    for name, layer in layers.items():
        _same_shape(name, golden.spikes[name].shape, record.spikes[name].shape)
        found = _first_real(layer, golden.spikes[name], record, excused)
        first = first or found
    error = None
    if golden.readout is not None:
        _same_shape("readout", golden.readout.shape, record.output_v.shape)
        readout = next(layer for layer in network.layers if layer.name == network.output)
        difference = np.abs(golden.readout - before_reset(readout, record))[:, ~excused]
        error = float(difference.max(initial=0.0))
        if first is None and error > 1e-3 * max(1.0, float(np.abs(golden.readout).max())):
            first = f"the readout's membrane differs by up to {error:.3g}"
    return GoldenCheck(
        ok=first is None,
        wrong={name: int(np.sum(golden.spikes[name] != record.spikes[name])) for name in layers},
        spikes=sum(golden.spikes[name].size for name in layers),
        readout_error=error,
        first=first,
    )


def before_reset(layer: Layer, record: FloatRecord) -> Float64:
    """The membrane that was compared with the threshold, `[T, B, n]`; `record` must hold the states."""
    membrane = record.u[layer.name] + layer.bias
    membrane[1:] += layer.beta * record.v[layer.name][:-1]
    if layer.refractory:
        fired = record.spikes[layer.name].astype(np.bool_)
        for pause in range(1, layer.refractory + 1):
            held = fired[:-pause]
            membrane[pause:][held] = record.v[layer.name][pause:][held]
    return membrane


def _same_shape(name: str, seen: tuple[int, ...], ours: tuple[int, ...]) -> None:
    if seen != ours:
        raise HardwareError(f"golden/{name} has shape {seen}, the network gives {ours}")


def _first_real(
    layer: Layer, seen: NDArray[np.uint8], record: FloatRecord, excused: NDArray[np.bool_]
) -> str | None:
    """The first difference that rounding does not explain; samples that it does explain are excused."""
    differs = seen != record.spikes[layer.name]
    membrane = before_reset(layer, record)
    near = np.abs(membrane - layer.threshold) <= _NEAR * np.maximum(np.abs(layer.threshold), 1e-9)
    first: str | None = None
    for sample in np.flatnonzero(differs.any(axis=(0, 2)) & ~excused):
        t = int(np.argmax(differs[:, sample].any(axis=1)))
        neurons = np.flatnonzero(differs[t, sample])
        if np.all(near[t, sample, neurons]):
            excused[sample] = True
        elif first is None:
            n = neurons[0]
            first = (
                f"layer {layer.name!r}, sample {sample}, step {t}, neuron {n}: the exporter saw "
                f"{seen[t, sample, n]}, read like this v is {membrane[t, sample, n]:.6g} against a threshold "
                f"of {layer.threshold[n]:.6g}"
            )
    return first
