"""Which of Lava's processes stands for a connection: Dense, Sparse, Conv, DelayDense or DelaySparse."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.program import Connection, Program
from neurofdfa_hardware.chip.synapse import truncate

Form = Literal["dense", "sparse", "conv", "kernel"]
Synapses = Literal["auto", "dense", "sparse", "conv"]

# Measured (docs/lava.md): below so many weights Dense wins whatever they are, above it pays to skip zeros.
_SMALL = 2**18
_FULL = 0.25
# Conv loops over pairs of channels.
_FEW_PAIRS = 16


def choose_forms(program: Program, synapses: Synapses) -> dict[str, Form]:
    """The process of every connection by name; "kernel" is that of lanes for kernels.

    dense, sparse: that one for all. conv: Conv where the connection is one that Conv can hold, else Sparse;
    with delays Dense, for Lava's DelaySparse builds its matrices anew at every step. auto: what is fastest.
    """
    return {c.name: _form(c, synapses) for c in program.connections}


def lane_forms(program: Program) -> dict[str, Form]:
    """In lanes: kernels as they are, everything else as matrices."""
    return {c.name: "kernel" if isinstance(c.weight, Kernel) else "dense" for c in program.connections}


def _form(connection: Connection, synapses: Synapses) -> Form:
    if synapses in ("dense", "sparse"):
        return synapses
    if connection.delay is not None:
        return "dense"
    if synapses == "conv":
        return "sparse" if native_kernel(connection) is None else "conv"
    weight, size = connection.weight, float(np.prod(connection.weight.shape, dtype=np.float64))
    used = int(weight.fan_in().sum()) if isinstance(weight, Kernel) else int(np.count_nonzero(weight))
    if size < _SMALL or used > _FULL * size:
        return "dense"
    pairs = int(np.prod(weight.values.shape[:2])) if isinstance(weight, Kernel) else 0
    return "conv" if 0 < pairs <= _FEW_PAIRS and native_kernel(connection) is not None else "sparse"


def native_kernel(connection: Connection) -> NDArray[Any] | None:
    """The kernel as Lava's fixed-point Conv takes it, None when that would not give the same sums.

    Its model knows neither weight_exp nor num_weight_bits nor delays: weights arrive truncated and shifted,
    and a shift to the right must not drop bits, for the sum is what Dense shifts.
    """
    if not isinstance(connection.weight, Kernel) or connection.delay is not None:
        return None
    weight = truncate(connection.weight.values, connection.num_weight_bits, connection.sign_mode)
    if connection.weight_exp >= 0:
        return weight << connection.weight_exp
    dropped = (1 << -connection.weight_exp) - 1
    return None if np.any(weight & dropped) else weight >> -connection.weight_exp
