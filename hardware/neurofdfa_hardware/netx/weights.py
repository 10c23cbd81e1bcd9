"""What lava-dl does to the whole weights of a file before a Dense gets them."""

import numpy as np

from neurofdfa_hardware.chip.program import IntArray, SignMode
from neurofdfa_hardware.chip.synapse import truncate
from neurofdfa_hardware.errors import HardwareError


def check_exact(name: str, weight: IntArray, recurrent: IntArray | None) -> None:
    """Refuse weights that lava-dl would change."""
    parts = [weight] if recurrent is None else [weight, recurrent]
    shifted, bits, _ = fit_bits(np.concatenate(parts, axis=1))
    for part in np.split(shifted, [weight.shape[1]], axis=1)[: len(parts)]:
        mode = sign_mode(part)
        held = 1 <= bits <= (9 if mode == "mixed" else 8)
        if not held or np.any(truncate(part, bits, mode) != part):
            found = f"{int(weight.min())} to {int(weight.max())}"
            raise HardwareError(
                f"layer {name!r}: lava-dl would change its weights ({found}): it "
                "holds −256 to 254, and drops bits of weights that are all zero or negative; quantise with "
                "target='netx'"
            )


def fit_bits(weight: IntArray) -> tuple[IntArray, int, int]:
    """What lava-dl makes of whole weights: shifted weights, bits and the exponent that undoes the shift.

    Mixed signs with odd weights beyond ±127 come out with 9 bits, which Lava's Dense accepts.
    """
    largest, smallest = int(weight.max()), int(weight.min())
    if (largest > 254 and smallest < 0) or (smallest < -256 and largest > 0):
        weight = np.clip(weight, -256, 254)
        largest, smallest = int(weight.max()), int(weight.min())
    mixed = smallest < 0 <= largest
    if largest == smallest == 0:
        return weight, 8, 0
    if mixed:
        scale = min(127 / largest if largest else np.inf, -128 / smallest)
    else:
        scale = -256 / smallest if largest < 0 else 255 / largest
    shift = int(np.floor(np.log2(scale))) + int(mixed)
    even = next((n for n in range(8, 0, -1) if not np.any(weight % 2**n)), 0) - int(mixed)
    shifted = weight << shift if shift >= 0 else weight >> -shift
    return shifted, 8 - shift - even, -shift


def sign_mode(weight: IntArray) -> SignMode:
    """The mode that Lava's Dense finds by itself."""
    if weight.min() >= 0:
        return "excitatory"
    return "inhibitory" if weight.max() <= 0 else "mixed"
