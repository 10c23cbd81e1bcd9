"""From a float network to the integers of the chip, with a scale found on training inputs.

In each layer one integer weight stands for `step` float units and is worth 2^shift on the chip, so
    weight = round(W/step), vth = round(θ/step·2^shift), bias = round(b/step·2^(shift+6)) = mant << exp
    du = round(4096·(1 − alpha)) − 1,  dv = round(4096·(1 − beta))
`step` decides which weights are told apart (`quantization.calibrate`); `shift` is the largest that
keeps the threshold in 17 bits and leaves two bits of room over the largest u and v seen on the calibration
inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import step_population
from neurofdfa_hardware.chip.kernel import Kernel, entries
from neurofdfa_hardware.chip.program import (
    ALWAYS_ON,
    INPUT,
    Connection,
    Program,
    connection_lag,
    layer_depths,
)
from neurofdfa_hardware.chip.ranges import ACTIVATION_SHIFT, DELAY_MAX, PAYLOAD_MAX, check_program
from neurofdfa_hardware.chip.synapse import Synapses, by_delay
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.golden import before_reset
from neurofdfa_hardware.nir.network import Edge, FloatRecord, IntArray, Layer, Network, float_simulate
from neurofdfa_hardware.quantization.calibrate import (
    METHODS,
    Float64,
    Method,
    Rounding,
    max_step,
    mse_step,
    percentile_step,
    search_steps,
)
from neurofdfa_hardware.quantization.layer import QuantizedLayer, Recipe, Target, build_layer
from neurofdfa_hardware.quantization.report import QuantizeReport, build_report


class Quantized(NamedTuple):
    """A program and what quantising did."""

    program: Program
    report: QuantizeReport


def quantize(
    network: Network,
    bits: int | Mapping[str, int] = 8,
    calibration: NDArray[np.uint8] | None = None,
    *,
    method: Method = "spikes",
    rounding: Rounding = "nearest",
    per_channel: bool = False,
    percentile: float = 99.9,
    steps: Mapping[str, float] | None = None,
    target: Target = "loihi",
    rng: np.random.Generator | None = None,
) -> Quantized:
    """Integers for `network`, calibrated on training inputs uint8 `[T, B, n_in]` (a few hundred samples).

    bits: 1..8, for all layers or by layer name. method: how the step is found: "max", "percentile", "mse", or
    "spikes" (the one whose integer layer, fed what the float layer was fed, errs least in its spikes).
    per_channel: one step per neuron (per channel of a convolution) of the spiking layers, which its own
    threshold makes good; a readout through membranes keeps one step, because its neurons are compared. steps:
    fixes the step of the layers it names. target: "netx" keeps to what lava-dl's files hold
    (`neurofdfa_hardware.netx`): weights within [−256, 254] on the chip and bias exponent 6.
    Inputs above 1 are counts or numbers: the synapses of the input then multiply by them (graded spikes).
    Raises `HardwareError` for bits outside 1..8, a step that overflows the 17-bit threshold, a membrane that
    cannot be kept in 24 bits, feedback faster than the chip's.
    """
    if calibration is None:
        raise HardwareError(
            "quantising needs training inputs to find its scale: pass calibration spikes [T, B, n]"
        )
    if rounding == "stochastic" and rng is None:
        raise HardwareError("stochastic rounding needs a numpy Generator: pass rng")
    if method not in METHODS:
        raise HardwareError(f"unknown calibration method {method!r}: use one of {', '.join(METHODS)}")
    recipe = Recipe(
        _bits_by_layer(network, bits),
        method,
        rounding,
        per_channel,
        percentile,
        dict(steps or {}),
        target,
        rng,
    )
    record = float_simulate(network, calibration, states=True)
    layers = [_quantize_layer(network, layer, record, calibration, recipe) for layer in network.layers]
    program = Program(
        network.input_size,
        tuple(layer.population for layer in layers),
        tuple(connection for layer in layers for connection in layer.connections),
        network.output,
        network.decode,
    )
    program = _on_chip_time(network, program)
    if calibration.max() > 1:
        program = replace(program, connections=tuple(_graded(c) for c in program.connections))
    check_program(program)
    scales = {layer.population.name: (layer.step, layer.shift) for layer in layers}
    return Quantized(program, build_report(network, program, scales, recipe.bits, record, calibration))


def _graded(connection: Connection) -> Connection:
    """Synapses of the input multiply by what it sends."""
    return replace(connection, graded=True) if connection.source == INPUT else connection


def _bits_by_layer(network: Network, bits: int | Mapping[str, int]) -> dict[str, int]:
    names = [layer.name for layer in network.layers]
    chosen = dict.fromkeys(names, bits) if isinstance(bits, int) else {**dict.fromkeys(names, 8), **bits}
    for name, count in chosen.items():
        if name not in names:
            raise HardwareError(f"bits are given for {name!r}, which is not a layer: {', '.join(names)}")
        if not 1 <= count <= 8:
            raise HardwareError(f"layer {name!r}: {count} weight bits; Loihi has 1 to 8")
    return chosen


def _quantize_layer(
    network: Network, layer: Layer, record: FloatRecord, calibration: NDArray[np.uint8], recipe: Recipe
) -> QuantizedLayer:
    edges = [edge for edge in network.edges if edge.target == layer.name]
    weight = _distinct_weights(edges)
    largest = max(np.abs(record.u[layer.name]).max(), np.abs(before_reset(layer, record)).max())
    bits = recipe.bits[layer.name]
    per_channel = recipe.per_channel and layer.spiking
    if layer.name in recipe.steps:
        candidates = [np.full(layer.size, recipe.steps[layer.name])]
    elif recipe.method == "max":
        candidates = [max_step(weight, bits, per_channel)]
    elif recipe.method == "percentile":
        candidates = [percentile_step(weight, bits, per_channel, recipe.percentile)]
    elif recipe.method == "mse":
        candidates = [mse_step(weight, bits, per_channel)]
    else:
        candidates = search_steps(weight, bits, per_channel)
    # Weights come by neuron or, where neurons share them, by channel.
    candidates = [np.repeat(step, layer.size // len(step)) for step in candidates]
    built: list[QuantizedLayer] = []
    for step in candidates:
        try:
            built.append(build_layer(layer, edges, step, float(largest), recipe))
        except HardwareError:
            # A finer step may overflow where a coarser one of the search does not.
            if step is candidates[-1] and not built:
                raise
    if len(built) == 1:
        return built[0]
    errors = [_layer_error(network, layer, one, record, calibration) for one in built]
    return built[int(np.argmin(errors))]


def _distinct_weights(edges: Sequence[Edge]) -> Float64:
    """Every weight of a layer once: `[n, m]`, `[channels, m]` where all edges are kernels, else one row."""
    rows = [entries(edge.weight).reshape(len(entries(edge.weight)), -1) for edge in edges]
    kernels = {isinstance(edge.weight, Kernel) for edge in edges}
    if len(kernels) == 1 and len({len(row) for row in rows}) == 1:
        return np.concatenate(rows, axis=1)
    return np.concatenate([row.reshape(1, -1) for row in rows], axis=1)


def _on_chip_time(network: Network, program: Program) -> Program:
    """Give each connection the delay that makes it heard when the network hears it."""
    depths = layer_depths(program)
    edges = {edge.name: edge for edge in network.edges}
    timed: list[Connection] = []
    for connection in program.connections:
        if connection.source == ALWAYS_ON:
            timed.append(connection)
            continue
        edge = edges[connection.name.removesuffix("/+").removesuffix("/-")]
        wanted = wanted_lag(network, edge)
        delay = wanted - connection_lag(connection, depths)
        if np.any(delay < 0):
            raise HardwareError(
                f"connection {edge.name!r} feeds back over layers, and each costs a step on the chip: it "
                f"arrives after {connection_lag(connection, depths)} steps, not {int(wanted.min())}; train "
                "with that delay, or put a Delay there"
            )
        if np.any(delay > DELAY_MAX):
            raise HardwareError(
                f"connection {edge.name!r} needs a delay of {delay.max()}: Loihi has {DELAY_MAX}"
            )
        timed.append(replace(connection, delay=delay if np.any(delay) else None))
    return replace(program, connections=tuple(timed))


def wanted_lag(network: Network, edge: Edge) -> IntArray:
    """Steps between a spike and its arrival in the network: scalar, or one per synapse."""
    delay = np.zeros((), np.int64) if edge.delay is None else edge.delay
    return np.asarray(delay + int(network.is_backward(edge)), np.int64)


def _layer_error(
    network: Network,
    layer: Layer,
    built: QuantizedLayer,
    record: FloatRecord,
    calibration: NDArray[np.uint8],
) -> float:
    """How far the integer layer errs when it is fed what the float layer was fed.

    Spikes that differ, for a spiking layer; squared error of the membrane otherwise.
    """
    edges = {edge.name: edge for edge in network.edges}
    graded = bool(calibration.max() > 1)
    sources = {INPUT: calibration, ALWAYS_ON: np.ones((*calibration.shape[:2], 1), np.bool_)}
    sources |= {name: spikes for name, spikes in record.spikes.items() if name != layer.name}
    parts: list[Synapses] = []
    for connection in built.connections:
        if connection.source == ALWAYS_ON:
            parts += by_delay(connection, 0, 1)
            continue
        lag = wanted_lag(network, edges[connection.name.removesuffix("/+").removesuffix("/-")])
        told = replace(connection, delay=lag, graded=graded and connection.source == INPUT)
        parts += by_delay(told, 0, PAYLOAD_MAX)
    spikes, v = step_population(built.population, parts, sources)
    if layer.spiking:
        return float(np.count_nonzero(spikes.view(np.uint8) != record.spikes[layer.name]))
    membrane = v * (built.step / 2.0 ** (built.shift + ACTIVATION_SHIFT))
    return float(np.sum((membrane - record.v[layer.name]) ** 2))
