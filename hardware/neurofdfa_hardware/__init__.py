"""From a NIR graph to Loihi's fixed point: quantise, simulate bit for bit, run on Intel Lava.

The public names are loaded when they are first asked for, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurofdfa_hardware.backends import Backend, CompiledProgram, backend, backend_names, register_backend
    from neurofdfa_hardware.chip.fixed_point import predict, prepare, simulate
    from neurofdfa_hardware.chip.kernel import Kernel
    from neurofdfa_hardware.chip.mapping import picture, place
    from neurofdfa_hardware.chip.program import Connection, Population, Program, Record
    from neurofdfa_hardware.errors import HardwareError
    from neurofdfa_hardware.lava import LavaBackend, LavaMissing, require
    from neurofdfa_hardware.learning.learn import learn
    from neurofdfa_hardware.learning.plasticity import (
        Learned,
        LearningRule,
        feedback_of,
        mean_traces,
        on_grid,
        random_feedback,
        score_shift,
    )
    from neurofdfa_hardware.nir.golden import check_golden
    from neurofdfa_hardware.nir.graph import load, mapping_table, network_from_graph
    from neurofdfa_hardware.nir.importers import for_norse, for_snntorch
    from neurofdfa_hardware.nir.network import Network, float_predict, float_simulate
    from neurofdfa_hardware.quantization.parity import parity
    from neurofdfa_hardware.quantization.quantize import quantize

_ROOMS = {
    "backends": ("Backend", "CompiledProgram", "backend", "backend_names", "register_backend"),
    "chip.fixed_point": ("predict", "prepare", "simulate"),
    "chip.kernel": ("Kernel",),
    "chip.mapping": ("picture", "place"),
    "chip.program": ("Connection", "Population", "Program", "Record"),
    "errors": ("HardwareError",),
    "lava": ("LavaBackend", "LavaMissing", "require"),
    "learning.learn": ("learn",),
    "learning.plasticity": (
        "Learned",
        "LearningRule",
        "feedback_of",
        "mean_traces",
        "on_grid",
        "random_feedback",
        "score_shift",
    ),
    "nir.golden": ("check_golden",),
    "nir.graph": ("load", "mapping_table", "network_from_graph"),
    "nir.importers": ("for_norse", "for_snntorch"),
    "nir.network": ("Network", "float_predict", "float_simulate"),
    "quantization.parity": ("parity",),
    "quantization.quantize": ("quantize",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Backend",
    "CompiledProgram",
    "Connection",
    "HardwareError",
    "Kernel",
    "LavaBackend",
    "LavaMissing",
    "Learned",
    "LearningRule",
    "Network",
    "Population",
    "Program",
    "Record",
    "backend",
    "backend_names",
    "check_golden",
    "feedback_of",
    "float_predict",
    "float_simulate",
    "for_norse",
    "for_snntorch",
    "learn",
    "load",
    "mapping_table",
    "mean_traces",
    "network_from_graph",
    "on_grid",
    "parity",
    "picture",
    "place",
    "predict",
    "prepare",
    "quantize",
    "random_feedback",
    "register_backend",
    "require",
    "score_shift",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
