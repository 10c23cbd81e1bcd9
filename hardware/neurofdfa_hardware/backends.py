"""One protocol for whatever executes an integer program: compile it, then run spikes through it.

A backend of this package is one new file and one line in `_BACKENDS`. One from outside is an entry point of
the group "neurofdfa.backends" in its own package, which every command line then takes by its name, or is
handed to `register_backend` by a program.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import Prepared, prepare, simulate
from neurofdfa_hardware.chip.program import Chip, Program, Record
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import LavaBackend

Spikes = NDArray[np.uint8]
Progress = Callable[[float], None]
GROUP = "neurofdfa.backends"
DEFAULT = "fixed-point"


class CompiledProgram(Protocol):
    """A program that a backend has accepted."""

    def run(self, spikes: Spikes, *, states: bool = False, progress: Progress | None = None) -> Record:
        """Run uint8 `[T, B, n_in]`, every sample from rest; with `states` also u and v of all populations.

        progress: called with the fraction that is done, 0 to 1, as often as the backend likes.
        """
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

    def run(self, spikes: Spikes, *, states: bool = False, progress: Progress | None = None) -> Record:
        """Run the integer reference."""
        record = simulate(self.prepared, spikes, states=states)
        if progress is not None:
            progress(1.0)
        return record


@dataclass(frozen=True)
class FixedPointBackend:
    """The integer reference in numpy. chip: whose arithmetic, Lava's or that of Loihi 1's silicon."""

    name: str = DEFAULT
    chip: Chip = "lava"

    def compile(self, program: Program) -> FixedPointProgram:
        """Check the program's ranges and truncate its weights."""
        return FixedPointProgram(prepare(program, self.chip))


_BACKENDS: dict[str, Callable[[], Backend]] = {
    DEFAULT: FixedPointBackend,
    "lava": LavaBackend,
    "loihi1": lambda: FixedPointBackend("loihi1", "loihi1"),
}


def register_backend(name: str, make: Callable[[], Backend]) -> None:
    """Make a backend known by name for the rest of this process; raises `HardwareError` for a taken name."""
    if name in _known():
        raise HardwareError(f"there already is a backend {name!r}: choose another name")
    _BACKENDS[name] = make


def backend_names() -> tuple[str, ...]:
    """The backends there are: this package's, those registered, and those of installed packages."""
    return tuple(_known())


def backend(name: str = DEFAULT) -> Backend:
    """The backend of that name; raises `HardwareError` that lists those there are."""
    known = _known()
    if name not in known:
        raise HardwareError(f"unknown backend {name!r}: choose one of {', '.join(known)}")
    return known[name]()


def _known() -> dict[str, Callable[[], Backend]]:
    """Name → how to make it; a package's entry point does not hide a backend that was here before."""
    outside = {point.name: _from_entry_point(point.name) for point in entry_points(group=GROUP)}
    return {**_BACKENDS, **{name: make for name, make in outside.items() if name not in _BACKENDS}}


def _from_entry_point(name: str) -> Callable[[], Backend]:
    def make() -> Backend:
        (point,) = entry_points(group=GROUP, name=name)
        try:
            return point.load()()
        except Exception as error:  # whatever a package from outside raises when it is loaded
            raise HardwareError(f"the backend {name!r} ({point.value}) cannot be loaded: {error}") from error

    return make
