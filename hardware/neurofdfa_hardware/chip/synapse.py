"""What connections deliver: truncated weights, shifted sums, delays; exact in floating point.

Sums of weights are integers, and a float GEMM adds integers exactly as long as every partial sum stays
below 2^24 (float32) or 2^53 (float64); the bound Σ|w|·payload of the heaviest row chooses between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, apply, dense, entries, heaviest, with_entries
from neurofdfa_hardware.chip.program import (
    ALWAYS_ON,
    INPUT,
    Chip,
    Connection,
    IntArray,
    Program,
    SignMode,
    connection_lag,
    layer_depths,
)
from neurofdfa_hardware.chip.ranges import ACTIVATION_SHIFT, PAYLOAD_MAX, SUM_LIMIT
from neurofdfa_hardware.errors import HardwareError

FloatArray = NDArray[np.floating[Any]]


def truncate(weight: IntArray, num_weight_bits: int, sign_mode: SignMode) -> IntArray:
    """Clip and floor weights to what Loihi stores: `(w >> k) << k`, k = 8 − num_weight_bits (+ 1 when mixed).

    mixed clips to [−256, 255], excitatory to [0, 255]; inhibitory mirrors excitatory (floored in magnitude).
    """
    sign = -1 if sign_mode == "inhibitory" else 1
    low = -256 if sign_mode == "mixed" else 0
    drop = 8 - num_weight_bits + (1 if sign_mode == "mixed" else 0)
    kept = np.clip(np.asarray(weight, np.int64) * sign, low, 255)
    kept &= -(1 << drop)  # the same as >> drop << drop
    return kept * sign


@dataclass(frozen=True)
class Synapses:
    """The synapses of the connection `name` that share one delay.

    source: whose spikes they hear, `lag` steps late. weight: `[n_target, n_source]` or a kernel, of which
    only the sources in `of` and the targets in `onto` count (None: all). floor: the shift by weight_exp drops
    bits, so `scale` = 2^weight_exp is applied to the sum and floored; otherwise the weights have it already.
    bound: no sum is larger. risky: a sum may pass 24 bits and has to be looked at.
    """

    name: str
    source: str
    lag: int
    weight: FloatArray | Kernel
    scale: float
    floor: bool
    graded: bool
    bound: float
    risky: bool
    of: NDArray[np.bool_] | None = None
    onto: NDArray[np.bool_] | None = None

    def sums(self, spikes: NDArray[Any]) -> FloatArray:
        """Spikes (or payloads) `[rows, n_source]` → input aligned to u, i.e. << 6, `[rows, n_target]`.

        Raises `HardwareError` for a sum beyond 24 bits, which Lava's processes treat each in its own way.
        """
        if not self.graded and spikes.dtype != np.bool_:
            spikes = spikes != 0
        if self.of is not None:
            spikes = spikes * self.of
        if not isinstance(self.weight, Kernel):
            spikes = spikes.astype(self.weight.dtype)
        sums = apply(self.weight, spikes)
        if self.onto is not None:
            sums *= self.onto
        if self.floor:
            np.multiply(sums, self.scale, out=sums)
            np.floor(sums, out=sums)
            np.multiply(sums, 1 << ACTIVATION_SHIFT, out=sums)
        if self.risky and max(sums.max(), -sums.min()) >= SUM_LIMIT << ACTIVATION_SHIFT:
            raise HardwareError(
                f"the synaptic sums of connection {self.name!r} leave the chip's 24 bits: use smaller "
                "weights, a smaller weight exponent, or smaller payloads"
            )
        return sums


def heard_by(program: Program, target: str, chip: Chip = "lava") -> list[Synapses]:
    """Everything that arrives at one population, by connection and delay."""
    depths = layer_depths(program)
    payloads = {
        INPUT: PAYLOAD_MAX,
        ALWAYS_ON: 1,
        **{p.name: SUM_LIMIT if p.graded else 1 for p in program.populations},
    }
    return [
        part
        for connection in program.connections
        if connection.target == target
        for part in by_delay(
            connection, connection_lag(connection, depths), payloads[connection.source], chip
        )
    ]


def by_delay(connection: Connection, lag: int, payload: int, chip: Chip = "lava") -> Iterator[Synapses]:
    """Split a connection: Lava shifts the sum of each delay on its own, Loihi 1 each weight.

    payload: the largest it can hear.
    """
    stored, exponent = connection.weight, connection.weight_exp
    kept = truncate(entries(stored), connection.num_weight_bits, connection.sign_mode)
    if chip == "loihi1" and exponent < 0:
        kept, exponent = kept >> -exponent, 0
    weight = with_entries(stored, kept)
    delays = np.zeros((), np.int64) if connection.delay is None else np.asarray(connection.delay)
    payload = payload if connection.graded else 1
    scale = 2.0**exponent
    dropped = (1 << max(0, -exponent)) - 1
    for delay in np.unique(delays):
        part, of, onto = weight, None, None
        if delays.ndim and isinstance(weight, Kernel):
            chosen = (delays == delay).reshape(-1)
            of, onto = (chosen, None) if np.shape(delays)[:1] == (1,) else (None, chosen)
        elif delays.ndim:
            part = np.where(delays == delay, dense(weight), 0)
        heavy = heaviest(part) * payload
        floor = bool(np.any(entries(part) & dropped))
        # A power of two moves the binary point only: exactness does not depend on it.
        shift = 1.0 if floor else scale * (1 << ACTIVATION_SHIFT)
        numbers = (entries(part) * shift).astype(np.float32 if heavy < 2**24 else np.float64)
        bound = (heavy * scale + 1) * (1 << ACTIVATION_SHIFT)
        yield Synapses(
            name=connection.name,
            source=connection.source,
            lag=lag + int(delay),
            weight=with_entries(part, numbers),
            scale=scale,
            floor=floor,
            graded=connection.graded,
            bound=bound,
            risky=chip == "lava" and bound >= SUM_LIMIT << ACTIVATION_SHIFT,
            of=of,
            onto=onto,
        )


def feed(
    parts: Sequence[Synapses], fired: dict[str, NDArray[Any]], shape: tuple[int, int, int]
) -> FloatArray:
    """Input `[T, B, n]` of all steps at once, from spikes that are already known: one GEMM per part."""
    steps, batch, size = shape
    if len(parts) == 1 and parts[0].lag == 0:
        spikes = fired[parts[0].source]
        return parts[0].sums(spikes.reshape(steps * batch, -1)).reshape(shape)
    total = np.zeros(shape)
    for part in parts:
        heard = fired[part.source][: max(0, steps - part.lag)]
        if len(heard):
            rows = part.sums(heard.reshape(len(heard) * batch, -1))
            total[part.lag :] += rows.reshape(len(heard), batch, size)
    return total
