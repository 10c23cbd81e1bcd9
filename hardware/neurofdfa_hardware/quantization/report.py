"""What quantising did to a network: rounding errors, saturation, and what the neurons do on real inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import predict, simulate
from neurofdfa_hardware.chip.kernel import Kernel, entries, per_row
from neurofdfa_hardware.chip.program import ALWAYS_ON, INPUT, Connection, Population, Program, Record
from neurofdfa_hardware.chip.ranges import ACTIVATION_SHIFT, CURRENT_LIMIT, MEMBRANE_MAX
from neurofdfa_hardware.chip.synapse import feed, heard_by
from neurofdfa_hardware.nir.graph import align
from neurofdfa_hardware.nir.network import FloatRecord, Layer, Network, float_predict

Float64 = NDArray[np.float64]
Scales = Mapping[str, tuple[Float64, int]]


@dataclass(frozen=True)
class Rounding:
    """One parameter of a layer: `wanted` and on the `chip`, in float units, where the error is largest."""

    layer: str
    parameter: str
    equation: str
    wanted: float
    chip: float

    @property
    def error(self) -> float:
        """Chip minus wanted."""
        return self.chip - self.wanted


@dataclass(frozen=True)
class LayerReport:
    """One layer after quantisation; counts are over all calibration samples.

    step: float weight per integer (the largest where it differs by neuron); weight_exp: the chip's exponent.
    clipped: weights beyond the range; weight_error: rms error over rms weight. wraps: times a current passed
    24 bits; saturations: times a membrane was clipped; dead / always_on: neurons that never / always fire.
    spike_agreement: fraction of neuron-steps equal to the float network's (1 for a silent integrator);
    firing_rate: spikes per neuron-step.
    """

    name: str
    bits: int
    step: float
    shift: int
    weight_exp: int
    clipped: int
    weight_error: float
    wraps: int
    saturations: int
    dead: int
    always_on: int
    spike_agreement: float
    firing_rate: float
    roundings: tuple[Rounding, ...]


@dataclass(frozen=True)
class QuantizeReport:
    """All layers, and the share of calibration samples whose class stayed what the float network says."""

    layers: tuple[LayerReport, ...]
    same_prediction: float

    def warnings(self) -> tuple[str, ...]:
        """What a user should look at, one line each."""
        lines: list[str] = []
        for layer in self.layers:
            for count, what in (
                (layer.wraps, "currents wrapped at 24 bits"),
                (layer.saturations, "membranes clipped"),
            ):
                if count:
                    lines.append(f"{layer.name}: {count} {what}: lower the scale")
            for count, what in ((layer.dead, "never fire"), (layer.always_on, "fire at every step")):
                if count:
                    lines.append(f"{layer.name}: {count} neurons {what} on the calibration inputs")
        return tuple(lines)


def build_report(
    network: Network,
    program: Program,
    scales: Scales,
    bits: Mapping[str, int],
    float_record: FloatRecord,
    calibration: NDArray[np.uint8],
) -> QuantizeReport:
    """Run the program on the calibration inputs and set it beside the float network."""
    record = simulate(program, calibration, states=True)
    differ = int(np.count_nonzero(predict(program, record) - float_predict(network, float_record)))
    layers = tuple(
        _layer_report(
            network, program, layer, scales[layer.name], bits[layer.name], record, float_record, calibration
        )
        for layer in network.layers
    )
    return QuantizeReport(layers, 1.0 - differ / calibration.shape[1])


def overflows(program: Program, record: Record, spikes: NDArray[np.uint8]) -> dict[str, tuple[int, int]]:
    """Wraps of u and clips of v of each population; `record` is of `spikes` and holds the states."""
    fired = {INPUT: spikes, ALWAYS_ON: np.ones((*spikes.shape[:2], 1), np.bool_), **record.spikes}
    counts: dict[str, tuple[int, int]] = {}
    for population in program.populations:
        parts = heard_by(program, population.name)
        u, v = (rows[population.name].astype(np.float64) for rows in (record.u, record.v))
        current = feed(parts, fired, u.shape).astype(np.float64)
        current[1:] += np.trunc(u[:-1] * ((4095 - population.du) / 4096))
        wraps = int(np.sum((current > CURRENT_LIMIT) | (current <= -CURRENT_LIMIT)))
        membrane = u + np.ldexp(population.bias_mant.astype(np.float64), population.bias_exp)
        membrane[1:] += np.trunc(v[:-1] * ((4096 - population.dv) / 4096))
        counts[population.name] = (wraps, int(np.sum(np.abs(membrane) > MEMBRANE_MAX)))
    return counts


def _layer_report(
    network: Network,
    program: Program,
    layer: Layer,
    scale: tuple[Float64, int],
    bits: int,
    record: Record,
    float_record: FloatRecord,
    calibration: NDArray[np.uint8],
) -> LayerReport:
    step, shift = scale
    connections = [c for c in program.connections if c.target == layer.name]
    weights = {edge.name: edge.weight for edge in network.edges if edge.target == layer.name}
    chip = _on_chip(weights, connections, step, shift)
    wanted = {name: entries(weight) for name, weight in weights.items()}
    reach = (1.0 if bits == 1 else 2.0 ** (bits - 1) - 1) + 0.5
    population = next(p for p in program.populations if p.name == layer.name)
    wraps, saturations = overflows(program, record, calibration)[layer.name]
    ours, theirs = record.spikes[layer.name], float_record.spikes[layer.name]
    fires = ours.mean(axis=(0, 1))
    return LayerReport(
        name=layer.name,
        bits=bits,
        step=float(step.max()),
        shift=shift,
        weight_exp=connections[0].weight_exp,
        clipped=sum(
            int(np.sum(np.abs(entries(weight)) > reach * per_row(weight, step)))
            for weight in weights.values()
        ),
        weight_error=_relative_error(wanted, chip),
        wraps=wraps,
        saturations=saturations,
        dead=int(np.sum(fires == 0)) if layer.spiking else 0,
        always_on=int(np.sum(fires == 1)) if layer.spiking else 0,
        spike_agreement=1.0 - int(np.count_nonzero(ours - theirs)) / ours.size,
        firing_rate=float(fires.mean()),
        roundings=(
            *(_worst(layer.name, f"weight {name}", "q·step", wanted[name], chip[name]) for name in wanted),
            *_roundings(layer, population, step, shift),
        ),
    )


def _on_chip(
    wanted: Mapping[str, Float64 | Kernel], connections: Sequence[Connection], step: Float64, shift: int
) -> dict[str, Float64]:
    """The weights of each edge, each once, as the chip has them, in float units."""
    total = {name: np.zeros_like(entries(weight)) for name, weight in wanted.items()}
    for connection in connections:
        if connection.source == ALWAYS_ON:
            continue
        name = connection.name.removesuffix("/+").removesuffix("/-")
        unit = 2.0 ** (connection.weight_exp - shift) * per_row(connection.weight, step)
        total[name] += entries(connection.weight) * unit
    return total


def _relative_error(wanted: Mapping[str, Float64], chip: Mapping[str, Float64]) -> float:
    """Rms error of the weights over their rms."""
    error = sum(float(np.sum((chip[name] - weight) ** 2)) for name, weight in wanted.items())
    power = sum(float(np.sum(weight**2)) for weight in wanted.values())
    return float(np.sqrt(error / power)) if power > 0 else 0.0


def _roundings(layer: Layer, population: Population, step: Float64, shift: int) -> tuple[Rounding, ...]:
    unit = 2.0**shift / step
    bias = population.bias_mant * 2.0**population.bias_exp / (unit * (1 << ACTIVATION_SHIFT))
    rows = [
        ("alpha", "1 − (du + 1)/4096", layer.alpha, (4095 - population.du) / 4096),
        ("beta", "1 − dv/4096", layer.beta, (4096 - population.dv) / 4096),
        ("bias", "mant·2^exp·step/2^(shift + 6)", layer.bias, bias),
    ]
    if layer.spiking:
        rows.append(("threshold", "vth·step/2^shift", layer.threshold, population.vth / unit))
    if not layer.plain:
        what = "v − value·step/2^(shift + 6)" if layer.reset == "soft" else "value·step/2^(shift + 6)"
        value = np.zeros(layer.size) if layer.reset_value is None else layer.reset_value
        rows.append((f"{layer.reset} reset", what, value, population.reset_value / (unit * 64)))
    return tuple(_worst(layer.name, *row) for row in rows)


def _worst(layer: str, parameter: str, equation: str, wanted: Float64, chip: Float64) -> Rounding:
    """The parameter where its rounding error is largest."""
    spread = np.broadcast_to(np.asarray(chip, np.float64), wanted.shape).reshape(-1)
    place = int(np.argmax(np.abs(spread - wanted.reshape(-1))))
    return Rounding(layer, parameter, equation, float(wanted.reshape(-1)[place]), float(spread[place]))


def rounding_table(report: QuantizeReport) -> str:
    """Every parameter as the chip holds it, where it errs most: equation, wanted, chip, error; as text."""
    rows = [("layer", "parameter", "equation", "wanted", "on the chip", "error")]
    for layer in report.layers:
        for row in layer.roundings:
            wanted, chip, error = (f"{value:.6g}" for value in (row.wanted, row.chip, row.error))
            rows.append((row.layer, row.parameter, row.equation, wanted, chip, error))
    return align(rows)
