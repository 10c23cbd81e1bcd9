"""Where do spikes change on the way to the chip? Float → quantised weights → integers → Lava, step by step.

Stage "float" is the network as read; "quantised" computes in float with the numbers the chip holds;
"integer" is the integer reference; "lava" is a record that Lava returned; "loihi1" the integers as the
silicon of Loihi 1 computes them. Each is compared with the one before. All are on the input's time axis, so
layer latency does not count as a difference. Membranes are given in the float network's unit, as they stood
before the reset, when they met the threshold.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import predict, simulate, truncate
from neurofdfa_hardware.chip.kernel import dense, entries, with_entries
from neurofdfa_hardware.chip.program import (
    ALWAYS_ON,
    Chip,
    Population,
    Program,
    Record,
    connection_lag,
    layer_depths,
)
from neurofdfa_hardware.chip.ranges import ACTIVATION_SHIFT, MEMBRANE_MAX
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.golden import before_reset
from neurofdfa_hardware.nir.network import Edge, FloatRecord, Layer, Network, float_predict, float_simulate

Float64 = NDArray[np.float64]

# Steps shown before and behind a divergence.
_AROUND = 3


@dataclass(frozen=True)
class Divergence:
    """The first differing spike: the earliest step, then the earliest layer, then sample and neuron.

    steps: the steps around it; before, after: the membrane of the neuron at them in the two stages, empty
    where a record holds no states; threshold_before, threshold_after: what it was compared with.
    """

    sample: int
    step: int
    layer: str
    neuron: int
    spike_before: int
    spike_after: int
    steps: tuple[int, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    threshold_before: float
    threshold_after: float


@dataclass(frozen=True)
class Comparison:
    """One stage beside the one before it.

    spikes: neuron-steps compared; spikes_equal: those alike; agreement: by layer, 0..1;
    samples_equal: samples without any differing spike; membrane_error: largest difference of the output's
    membrane in float units; same_prediction: share of samples with the class of the stage before;
    divergence: None when every spike is equal.
    """

    before: str
    after: str
    spikes: int
    spikes_equal: int
    agreement: dict[str, float]
    samples: int
    samples_equal: int
    membrane_error: float
    same_prediction: float
    divergence: Divergence | None


@dataclass(frozen=True)
class ParityReport:
    """All comparisons in order; predictions: the class of every sample by stage."""

    comparisons: tuple[Comparison, ...]
    predictions: dict[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers."""
        return asdict(self)


@dataclass(frozen=True)
class _Stage:
    """One way of computing the same layers, membranes `[T, B, n]` and thresholds `[n]` in float units."""

    name: str
    spikes: Mapping[str, NDArray[np.uint8 | np.int32]]
    membranes: Mapping[str, Float64]
    thresholds: Mapping[str, Float64]
    output: Float64
    predictions: NDArray[np.int64]


def parity(
    network: Network,
    program: Program,
    spikes: NDArray[np.uint8],
    lava: Record | None = None,
    chip: Chip = "lava",
) -> ParityReport:
    """Compare all stages on `spikes` uint8 `[T, B, n_in]`; `lava` is Lava's record of the same spikes.

    chip: "loihi1" adds what Loihi 1 would do otherwise.
    Raises `HardwareError` when network and program are not of the same layers.
    """
    if [layer.name for layer in network.layers] != [population.name for population in program.populations]:
        raise HardwareError("the program was not made from this network: their layers differ")
    units = {layer.name: _unit(network, program, layer) for layer in network.layers}
    held = network_from_program(program)
    stages = [
        _float_stage("float", network, spikes, {name: np.ones_like(unit) for name, unit in units.items()}),
        _float_stage("quantised", held, spikes, units),
        _integer_stage("integer", program, simulate(program, spikes, states=True), units),
    ]
    if lava is not None:
        stages.append(_integer_stage("lava", program, lava, units))
    if chip != "lava":
        record = simulate(program, spikes, states=True, chip=chip)
        stages.append(_integer_stage(chip, program, record, units))
    comparisons = [_compare(network, one, other) for one, other in pairwise(stages)]
    return ParityReport(
        tuple(comparisons), {stage.name: tuple(int(k) for k in stage.predictions) for stage in stages}
    )


def network_from_program(program: Program) -> Network:
    """The float network with exactly the numbers of the chip, in the chip's unit (input << 0, vth << 0).

    Raises `HardwareError` for graded spikes between populations, which a float network does not have.
    """
    for population in program.populations:
        if population.graded:
            raise HardwareError(f"{population.name!r} sends graded spikes: no float network does that")
    depths = layer_depths(program)
    layers = tuple(
        Layer(
            name=population.name,
            size=population.size,
            alpha=_spread(population, (4095 - population.du) / 4096),
            beta=_spread(population, (4096 - population.dv) / 4096),
            threshold=_spread(population, population.vth),
            bias=_spread(population, _bias(population) / (1 << ACTIVATION_SHIFT)),
            spiking=population.spiking,
            reset=population.reset,
            reset_value=_spread(population, population.reset_value / (1 << ACTIVATION_SHIFT)),
            refractory=population.refractory,
            drive=_drive(program, population),
        )
        for population in program.populations
    )
    edges: list[Edge] = []
    network = Network(program.input_size, layers, (), program.output, program.decode)
    for connection in program.connections:
        if connection.source == ALWAYS_ON:
            continue
        weight = truncate(entries(connection.weight), connection.num_weight_bits, connection.sign_mode)
        summed = with_entries(connection.weight, np.asarray(weight * 2.0**connection.weight_exp, np.float64))
        edge = Edge(connection.name, connection.source, connection.target, summed)
        delay = np.zeros((), np.int64) if connection.delay is None else connection.delay
        lag = connection_lag(connection, depths) + delay - int(network.is_backward(edge))
        edges.append(replace(edge, delay=np.asarray(lag, np.int64)))
    return Network(program.input_size, layers, tuple(edges), program.output, program.decode)


def _spread(population: Population, value: Any) -> Float64:
    return np.broadcast_to(np.asarray(value, np.float64), (population.size,)).copy()


def _drive(program: Program, population: Population) -> Float64 | None:
    """What is always on adds to the current at every step, None for nothing."""
    total = np.zeros(population.size)
    for connection in program.connections:
        if connection.source == ALWAYS_ON and connection.target == population.name:
            weight = truncate(dense(connection.weight), connection.num_weight_bits, connection.sign_mode)
            total += np.floor(weight[:, 0] * 2.0**connection.weight_exp)
    return total if np.any(total) else None


def _bias(population: Population) -> Float64:
    return np.ldexp(population.bias_mant.astype(np.float64), population.bias_exp)


def _unit(network: Network, program: Program, layer: Layer) -> Float64:
    """Chip weight per float weight `[n]`, by least squares over the weights of the layer.

    The rows of a layer share one unit unless its thresholds say that they do not.
    """
    wanted = {edge.name: entries(edge.weight) for edge in network.edges if edge.target == layer.name}
    found = {name: np.zeros_like(weight) for name, weight in wanted.items()}
    for connection in program.connections:
        if connection.target == layer.name and connection.source != ALWAYS_ON:
            weight = truncate(entries(connection.weight), connection.num_weight_bits, connection.sign_mode)
            name = connection.name.removesuffix("/+").removesuffix("/-")
            found[name] += weight * 2.0**connection.weight_exp
    population = next(p for p in program.populations if p.name == layer.name)
    if layer.spiking and np.all(layer.threshold > 0):
        return _spread(population, population.vth) / layer.threshold
    power = sum(float(np.sum(weight**2)) for weight in wanted.values())
    product = sum(float(np.sum(weight * found[name])) for name, weight in wanted.items())
    return np.full(layer.size, product / power if power > 0 and product > 0 else 1.0)


def _float_stage(
    name: str, network: Network, spikes: NDArray[np.uint8], units: Mapping[str, Float64]
) -> _Stage:
    record: FloatRecord = float_simulate(network, spikes, states=True)
    return _Stage(
        name,
        record.spikes,
        {layer.name: before_reset(layer, record) / units[layer.name] for layer in network.layers},
        {layer.name: layer.threshold / units[layer.name] for layer in network.layers},
        record.output_v / units[network.output],
        float_predict(network, record),
    )


def _integer_stage(name: str, program: Program, record: Record, units: Mapping[str, Float64]) -> _Stage:
    scale = {key: unit * (1 << ACTIVATION_SHIFT) for key, unit in units.items()}
    membranes: dict[str, Float64] = {}
    for population in program.populations:
        if population.name in record.u and population.name in record.v:
            u, v = (rows[population.name].astype(np.float64) for rows in (record.u, record.v))
            met = u + _bias(population)
            met[1:] += np.trunc(v[:-1] * ((4096 - population.dv) / 4096))
            for pause in range(1, population.refractory + 1):
                held = record.spikes[population.name][:-pause] != 0
                met[pause:][held] = v[pause:][held]
            membranes[population.name] = np.clip(met, -MEMBRANE_MAX, MEMBRANE_MAX) / scale[population.name]
    return _Stage(
        name,
        record.spikes,
        membranes,
        {p.name: _spread(p, p.vth) / units[p.name] for p in program.populations},
        record.output_v / scale[program.output],
        predict(program, record),
    )


def _compare(network: Network, before: _Stage, after: _Stage) -> Comparison:
    differs = {
        layer.name: before.spikes[layer.name] != after.spikes[layer.name]
        for layer in network.layers
        if layer.spiking
    }
    compared = sum(array.size for array in differs.values())
    samples = len(before.predictions)
    touched = np.zeros(samples, np.bool_)
    for array in differs.values():
        touched |= array.any(axis=(0, 2))
    return Comparison(
        before=before.name,
        after=after.name,
        spikes=compared,
        spikes_equal=compared - sum(int(array.sum()) for array in differs.values()),
        agreement={name: 1.0 - int(array.sum()) / array.size for name, array in differs.items()},
        samples=samples,
        samples_equal=int(np.count_nonzero(~touched)),
        membrane_error=float(np.abs(before.output - after.output).max()),
        same_prediction=1.0 - int(np.count_nonzero(before.predictions - after.predictions)) / samples,
        divergence=_first(differs, before, after),
    )


def _first(differs: Mapping[str, NDArray[np.bool_]], before: _Stage, after: _Stage) -> Divergence | None:
    found: tuple[int, str] | None = None
    for name, array in differs.items():
        steps = array.any(axis=(1, 2))
        if steps.any() and (found is None or int(np.argmax(steps)) < found[0]):
            found = (int(np.argmax(steps)), name)
    if found is None:
        return None
    step, name = found
    sample, neuron = (int(index[0]) for index in np.nonzero(differs[name][step]))
    total = len(differs[name])
    steps = tuple(range(max(0, step - _AROUND), min(total, step + _AROUND + 1)))

    def around(stage: _Stage) -> tuple[float, ...]:
        if name not in stage.membranes:
            return ()
        return tuple(float(stage.membranes[name][t, sample, neuron]) for t in steps)

    return Divergence(
        sample=sample,
        step=step,
        layer=name,
        neuron=neuron,
        spike_before=int(before.spikes[name][step, sample, neuron]),
        spike_after=int(after.spikes[name][step, sample, neuron]),
        steps=steps,
        before=around(before),
        after=around(after),
        threshold_before=float(before.thresholds[name][neuron]),
        threshold_after=float(after.thresholds[name][neuron]),
    )
