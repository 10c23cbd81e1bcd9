"""Spiking networks that learn online with Forward Direct Feedback Alignment and other local rules.

    import neurofdfa as nf

Names and rooms are imported when they are first used, so that a command's `--help` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from neurofdfa.errors import UserError as UserError
    from neurofdfa.nn.alif import ALIF as ALIF
    from neurofdfa.nn.conv2d import Conv2d as Conv2d
    from neurofdfa.nn.cuba_lif import CubaLIF as CubaLIF
    from neurofdfa.nn.delay import Delay as Delay
    from neurofdfa.nn.dropout import Dropout as Dropout
    from neurofdfa.nn.integrate_and_fire import IF as IF
    from neurofdfa.nn.integrator import I as I
    from neurofdfa.nn.leaky_integrator import LI as LI
    from neurofdfa.nn.lif import LIF as LIF
    from neurofdfa.nn.linear import Linear as Linear
    from neurofdfa.nn.network import Network as Network
    from neurofdfa.nn.network import feed_forward as feed_forward
    from neurofdfa.nn.network import scale_to_rate as scale_to_rate
    from neurofdfa.nn.neuron import Neuron as Neuron
    from neurofdfa.nn.pooling import AvgPool2d as AvgPool2d
    from neurofdfa.nn.pooling import Flatten as Flatten
    from neurofdfa.nn.pooling import SumPool2d as SumPool2d
    from neurofdfa.nn.surrogate import ArcTan as ArcTan
    from neurofdfa.nn.surrogate import FastSigmoid as FastSigmoid
    from neurofdfa.nn.surrogate import Sigmoid as Sigmoid
    from neurofdfa.nn.surrogate import Surrogate as Surrogate
    from neurofdfa.nn.surrogate import Triangular as Triangular

_HOMES = {
    "errors": ("UserError",),
    "nn.alif": ("ALIF",),
    "nn.conv2d": ("Conv2d",),
    "nn.cuba_lif": ("CubaLIF",),
    "nn.delay": ("Delay",),
    "nn.dropout": ("Dropout",),
    "nn.integrate_and_fire": ("IF",),
    "nn.integrator": ("I",),
    "nn.leaky_integrator": ("LI",),
    "nn.lif": ("LIF",),
    "nn.linear": ("Linear",),
    "nn.network": ("Network", "feed_forward", "scale_to_rate"),
    "nn.neuron": ("Neuron",),
    "nn.pooling": ("AvgPool2d", "Flatten", "SumPool2d"),
    "nn.surrogate": ("ArcTan", "FastSigmoid", "Sigmoid", "Surrogate", "Triangular"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_ROOMS = ("data",)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'neurofdfa' has no attribute '{name}'")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_ROOMS})
