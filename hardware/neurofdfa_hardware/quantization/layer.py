"""One layer's integers: weights, threshold, bias and decays for a given weight step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, entries, per_row, with_entries
from neurofdfa_hardware.chip.program import ALWAYS_ON, Connection, Population, SignMode
from neurofdfa_hardware.chip.ranges import (
    ACTIVATION_SHIFT,
    BIAS_EXP_MAX,
    BIAS_MANT_MAX,
    CURRENT_LIMIT,
    DECAY_MAX,
    MEMBRANE_MAX,
    THRESHOLD_MAX,
    WEIGHT_EXP_MAX,
    WEIGHT_EXP_MIN,
)
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.network import Edge, IntArray, Layer
from neurofdfa_hardware.quantization.calibrate import Float64, Method, Rounding, round_weights

Target = Literal["loihi", "netx"]

# How far above the largest u and v seen the 24 bits must reach: comfortably, and if that fails barely.
_ROOM = (4.0, 1.1)
# lava-dl's files have no bias exponent.
_NETX_BIAS_EXP = 6


@dataclass(frozen=True)
class Recipe:
    """How weights become integers; the arguments of `quantize`."""

    bits: Mapping[str, int]
    method: Method
    rounding: Rounding
    per_channel: bool
    percentile: float
    steps: Mapping[str, float]
    target: Target
    rng: np.random.Generator | None


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer on the chip: float = integer · step / 2^(shift + 6) for membranes."""

    population: Population
    connections: tuple[Connection, ...]
    step: Float64
    shift: int


def build_layer(
    layer: Layer, edges: Sequence[Edge], step: Float64, largest: float, recipe: Recipe
) -> QuantizedLayer:
    """The integers of one layer for a given weight step `[n]`; delays are still those of the network."""
    bits, netx = recipe.bits[layer.name], recipe.target == "netx"
    grid_bits = 7 if bits == 1 else 9 - bits
    shift = _shift(layer, step, largest, grid_bits, netx)
    unit = 2.0**shift / step
    mant, exp = _bias(layer.bias * unit * (1 << ACTIVATION_SHIFT), _NETX_BIAS_EXP if netx else 0)
    population = Population(
        name=layer.name,
        size=layer.size,
        du=_decay(1.0 - layer.alpha, 1),
        dv=_decay(1.0 - layer.beta, 0),
        vth=_collapse(np.rint(layer.threshold * unit).astype(np.int64))
        if layer.spiking
        else np.asarray(THRESHOLD_MAX),
        bias_mant=mant,
        bias_exp=exp,
        spiking=layer.spiking,
    )
    if not layer.plain:
        population = replace(
            population,
            reset=layer.reset,
            reset_value=_reset_value(layer, unit),
            refractory=layer.refractory,
        )
    connections: list[Connection] = []
    for edge in edges:
        integers = _integers(edge, step, bits, grid_bits, recipe)
        whole = Connection(
            edge.name,
            edge.source,
            edge.target,
            integers,
            shift - grid_bits,
            bits,
            "mixed",
            edge.delay,
        )
        connections += split_signs(whole) if bits == 1 else [whole]
    if layer.drive is not None and np.any(layer.drive):
        connections += always_on(layer.name, np.rint(layer.drive * unit).astype(np.int64))
    return QuantizedLayer(population, tuple(connections), step, shift)


def _integers(edge: Edge, step: Float64, bits: int, grid_bits: int, recipe: Recipe) -> IntArray | Kernel:
    """Weights on the chip's grid; those of a kernel are rounded once."""
    values = entries(edge.weight)
    steps = per_row(edge.weight, step).reshape(-1)
    flat = round_weights(values.reshape(len(values), -1), steps, bits, recipe.rounding, recipe.rng)
    return with_entries(edge.weight, flat.reshape(values.shape) << grid_bits)


def split_signs(whole: Connection) -> list[Connection]:
    """The same weights in an excitatory and an inhibitory connection, which need no bit for the sign."""

    def half(suffix: str, mode: SignMode, cut: Callable[[NDArray[Any], int], NDArray[Any]]) -> Connection:
        weight = with_entries(whole.weight, cut(entries(whole.weight), 0))
        return replace(whole, name=whole.name + suffix, weight=weight, sign_mode=mode)

    return [half("/+", "excitatory", np.maximum), half("/-", "inhibitory", np.minimum)]


def _reset_value(layer: Layer, unit: Float64) -> IntArray:
    """What a spike does to the membrane, in the unit of v."""
    value = np.zeros(layer.size) if layer.reset_value is None else layer.reset_value
    exact = np.rint(value * unit * (1 << ACTIVATION_SHIFT))
    if np.any(np.abs(exact) > MEMBRANE_MAX):
        raise HardwareError(
            f"layer {layer.name!r}: its reset moves the membrane by {np.abs(value).max():.4g}, which leaves "
            "the chip's 24 bits: use fewer bits or a smaller threshold"
        )
    return _collapse(exact.astype(np.int64))


def always_on(layer: str, drive: IntArray) -> list[Connection]:
    """Synapses from what is always on that add exactly `drive` `[n]` to every step's input: up to 14 bits."""
    exponent = max(0, int(np.abs(drive).max()).bit_length() - 7)
    if exponent > WEIGHT_EXP_MAX:
        raise HardwareError(
            f"layer {layer!r}: the bias into its current is {int(np.abs(drive).max())} weight units, more "
            "than two synapses hold: use a smaller bias or fewer bits"
        )
    high = drive >> exponent
    parts = [("bias", high, exponent), ("bias, low bits", drive - (high << exponent), 0)]
    # Twice the weight and half the value: the grid of signed 8 bits has only even numbers.
    return [
        Connection(f"{layer}: {what}", ALWAYS_ON, layer, 2 * weight[:, None], exp - 1)
        for what, weight, exp in parts
        if np.any(weight)
    ]


def _shift(layer: Layer, step: Float64, largest: float, grid_bits: int, netx: bool) -> int:
    """The finest resolution at which the threshold has 17 bits and u and v stay within 24 with room."""
    if layer.spiking:
        vth = float((layer.threshold / step).max())
        if np.rint(vth) > THRESHOLD_MAX:
            raise HardwareError(
                f"layer {layer.name!r}: its threshold is {vth:.0f} weight steps, and Loihi's has 17 bits "
                f"({THRESHOLD_MAX}): its weights are too small beside the threshold; use a larger step or "
                "fewer bits"
            )
    else:
        vth = 0.0
    if layer.reset_value is not None:
        largest = max(largest, float(np.abs(layer.reset_value).max()))
    reach = largest / float(step.min()) * (1 << ACTIVATION_SHIFT)
    bias = float(np.abs(layer.bias / step).max()) * (1 << ACTIVATION_SHIFT)
    # lava-dl's files hold whole sums of single weights, at most a Dense's range.
    coarsest, finest = (0, grid_bits) if netx else (grid_bits + WEIGHT_EXP_MIN, grid_bits + WEIGHT_EXP_MAX)
    largest_bias = BIAS_MANT_MAX * 2.0 ** (_NETX_BIAS_EXP if netx else BIAS_EXP_MAX)
    if bias * 2.0**coarsest > largest_bias:
        raise HardwareError(
            f"layer {layer.name!r}: a bias of {np.abs(layer.bias).max():.4g} is beyond the chip's mantissa "
            "and exponent: use a smaller bias or fewer bits"
        )
    for room in _ROOM:
        for shift in range(finest, coarsest - 1, -1):
            fits = np.rint(vth * 2.0**shift) <= THRESHOLD_MAX and bias * 2.0**shift <= largest_bias
            if fits and reach * 2.0**shift * room < CURRENT_LIMIT:
                return shift
    raise HardwareError(
        f"layer {layer.name!r}: its membrane reaches {largest:.4g} on the calibration inputs, "
        f"{largest / float(step.min()):.3g} weight steps, more than 24 bits hold: use fewer steps in time, a "
        "stronger leak or a larger step"
    )


def _decay(share: Float64, offset: int) -> IntArray:
    return _collapse(np.clip(np.rint(4096.0 * share).astype(np.int64) - offset, 0, DECAY_MAX))


def _bias(bias: Float64, least: int) -> tuple[IntArray, IntArray]:
    """Mantissa and exponent of each neuron, with the smallest exponent from `least` on that holds it."""
    exact = np.abs(bias) / BIAS_MANT_MAX
    exp = np.maximum(np.ceil(np.log2(np.maximum(exact, 1.0))).astype(np.int64), least)
    return _collapse(np.rint(bias / 2.0**exp).astype(np.int64)), _collapse(exp)


def _collapse(values: IntArray) -> IntArray:
    """A scalar where all neurons agree, which backends handle faster."""
    return values[0].reshape(()) if np.all(values == values[0]) else values
