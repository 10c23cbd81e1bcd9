"""What Loihi 1's silicon does otherwise than Lava's fixed-point models, as far as it is documented in public.

Source: nengo-loihi (Applied Brain Research), whose emulator was compared with the chip: `CompartmentState` in
emulator/interface.py, `overflow_signed` and `discretize_weights` in builder/discretize.py, `SynapseConfig` in
block.py; and Davies et al., IEEE Micro 38(1), 2018.

- What reaches a neuron in one step, over all its connections and << 6, wraps at 21 bits and a sign; Lava has
  no such limit below its 24-bit current.
- u, and u + bias before it is added to v, wrap at 23 bits and a sign; Lava adds the bias to v without.
- A negative weight exponent shifts each weight and costs it its low bits; Lava shifts the sum. Which way a
  negative weight is rounded is not documented: here it is floored, as Lava floors sums.
- Synapses lie in blocks of up to 64, per source and core, each with 10 bits of header and filled up to words
  of 64 bits. Weights have 1 to 6 or 8 bits, indices 6 to 12. Delays add 6 bits.
- Refractory delays hold v at 0, as `Population.refractory` says. There are neither graded spikes nor other
  resets.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError

INPUT_BITS = 21  # and a sign: of what reaches a neuron in one step
CURRENT_BITS = 23  # and a sign: of u, and of u + bias
WEIGHT_FORMATS = (1, 2, 3, 4, 5, 6, 8)
INDEX_FORMATS = (6, 7, 8, 9, 10, 11, 12)
DELAY_BITS = 6
BLOCK, HEADER_BITS, WORD_BITS = 64, 10, 64


def wrapped(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Two's complement of `bits` bits and a sign, of integers held as floats."""
    half = float(2**bits)
    if -half <= values.min() and values.max() < half:
        return values
    return np.mod(values + half, 2 * half) - half


def format_bits(wanted: int, formats: tuple[int, ...]) -> int:
    """The narrowest format that holds `wanted` bits."""
    return next(bits for bits in formats if bits >= wanted)


def stored_bits(used: NDArray[np.bool_], weight_bits: int, delayed: bool) -> int:
    """Synaptic memory of a core for synapses `[n_target, n_source]`, of which those `used` are not 0.

    A source has either all its targets in order or a list of them with an index each, whichever is smaller
    for the whole core.
    """
    width = format_bits(weight_bits, WEIGHT_FORMATS) + (DELAY_BITS if delayed else 0)
    index = format_bits(max(1, int(np.ceil(np.log2(max(len(used), 2))))), INDEX_FORMATS)
    listed = used.sum(axis=0)
    full = np.where(listed > 0, len(used), 0)
    return min(int(_words(full, width).sum()), int(_words(listed, width + index).sum()))


def _words(synapses: NDArray[np.integer[Any]], width: int) -> NDArray[np.int64]:
    """Bits of so many synapses per source, in blocks with headers and whole words."""
    blocks, rest = np.divmod(np.asarray(synapses, np.int64), BLOCK)
    return blocks * _whole(BLOCK * width) + np.where(rest > 0, _whole(rest * width), 0)


def _whole(bits: Any) -> Any:
    return -(-(bits + HEADER_BITS) // WORD_BITS) * WORD_BITS


def check_loihi1(program: Program) -> None:
    """Raise `HardwareError` for what Loihi 1 has no circuit for."""
    for population in program.populations:
        if population.graded or population.reset == "soft" or np.any(population.reset_value):
            what = "sends graded spikes" if population.graded else "does not reset to 0"
            raise HardwareError(
                f"layer {population.name!r} {what}, which is microcode of Loihi 2: place it on loihi2, or "
                "take `Network.with_hard_resets`, whose spikes are others"
            )
    for connection in program.connections:
        if connection.graded:
            raise HardwareError(
                f"connection {connection.name!r} multiplies by numbers, which only Loihi 2's spikes carry: "
                "place it on loihi2, or encode the inputs as spikes"
            )
