"""One protocol for whatever executes an integer program: compile it, then run spikes through it.

Adding a backend is one new file and one line in `BACKENDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.fixed_point import Prepared, prepare, simulate
from neurofdfa_hardware.lava import LavaBackend
from neurofdfa_hardware.program import Program, Record

Spikes = NDArray[np.uint8]


class CompiledProgram(Protocol):
    """A program that a backend has accepted."""

    def run(self, spikes: Spikes, *, states: bool = False) -> Record:
        """Run uint8 `[T, B, n_in]`, every sample from rest; with `states` also u and v of all populations."""
        ...


class Backend(Protocol):
    """Something that executes integer programs, bit for bit as the chip does."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    def compile(self, program: Program) -> CompiledProgram:
        """Check the program and prepare it; raises `HardwareError` for one that does not fit."""
        ...


@dataclass(frozen=True)
class FixedPointProgram:
    """A program with its weights truncated and laid out once, for any number of runs."""

    prepared: Prepared

    def run(self, spikes: Spikes, *, states: bool = False) -> Record:
        """Run the integer reference."""
        return simulate(self.prepared, spikes, states=states)


@dataclass(frozen=True)
class FixedPointBackend:
    """The integer reference in numpy."""

    name: str = "fixed-point"

    def compile(self, program: Program) -> FixedPointProgram:
        """Check the program's ranges and truncate its weights."""
        return FixedPointProgram(prepare(program))


BACKENDS: dict[str, Callable[[], Backend]] = {
    "fixed-point": FixedPointBackend,
    "lava": LavaBackend,
}


def backend(name: str) -> Backend:
    """The backend of that name; raises `HardwareError` that lists those there are."""
    if name not in BACKENDS:
        raise HardwareError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    return BACKENDS[name]()
