"""Hidden layers as a config file writes them, with the names that they have in Python, bottom up:

    layers = [{ conv2d = { out_channels = 8, kernel_size = 3 } }, { sumpool2d = 2 }, { linear = 64 }]

    64, or linear = 64                                   `Linear` into 64 neurons
    conv2d = { out_channels, kernel_size, … }            `Conv2d`; stride, padding and bias may follow
    sumpool2d = 2, avgpool2d = 2                         in front of whatever comes next
    delay = 3, delay = [0, 7]                            spikes from below come late, each neuron's by its own
    flatten = {}, dropout = 0.1                          as in Python
    lif = { tau_mem = 5e-3, … }, alif, cubalif, if       neurons, with the settings that they have in Python
    i = {}, li = { tau_mem = 20e-3 }                     the readout

Neurons follow every `linear` and `conv2d` by themselves where none are written, and what lies below a layer
is known: n_in and in_channels are not written, and an image is flattened where a `linear` needs it.
A network whose readout is written too says so (readout = "written"); `describe` writes any network this way.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, cast

from torch import nn

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.delay import Delay
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.integrator import I
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.neuron_spec import NEURONS, describe_neuron, neuron_named
from neurofdfa.nn.pooling import AvgPool2d, Flatten, Shape, SumPool, SumPool2d

_POOLS = {"sumpool2d": SumPool2d, "avgpool2d": AvgPool2d}
_SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "linear": (("n_out",), ("bias", "weight_bits")),
    "conv2d": (("out_channels", "kernel_size"), ("stride", "padding", "bias", "weight_bits")),
    "sumpool2d": (("kernel_size",), ()),
    "avgpool2d": (("kernel_size",), ()),
    "delay": (("steps",), ()),
    "flatten": ((), ()),
    "dropout": (("p",), ()),
} | {kind: ((), settings) for kind, settings in NEURONS.items()}
"""Of every kind: what it needs, and what may follow. A bare value is the first of what it needs."""


class Spec(NamedTuple):
    """One entry, read: its kind, and its settings by name."""

    kind: str
    settings: dict[str, Any]

    def __str__(self) -> str:
        """As it is written."""
        needed, _ = _SETTINGS[self.kind]
        if needed and tuple(self.settings) == needed[:1]:
            return f"{self.kind} = {self.settings[needed[0]]}"
        inside = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
        return f"{self.kind} = {{ {inside} }}"


class Chain(NamedTuple):
    """The modules of the hidden layers and of what waits for the readout: n outputs of how many layers."""

    modules: tuple[nn.Module, ...]
    n: int
    layers: int


def read_layer(entry: object) -> Spec:
    """One entry; raises `UserError` that says how it is written."""
    if isinstance(entry, int) and not isinstance(entry, bool):
        return read_layer({"linear": entry})
    if not isinstance(entry, Mapping) or len(cast(Mapping[Any, Any], entry)) != 1:
        raise UserError(f"{entry!r} is no layer: write a number of neurons or one of {', '.join(_SETTINGS)}")
    ((kind, given),) = cast(Mapping[str, Any], entry).items()
    if kind not in _SETTINGS:
        raise UserError(f"'{kind}' is no layer: write a number of neurons or one of {', '.join(_SETTINGS)}")
    needed, more = _SETTINGS[kind]
    if not isinstance(given, Mapping) and not needed:
        raise UserError(f"{kind} takes a table of settings, {kind} = {{}} without any, got {given!r}")
    settings = dict(cast(Mapping[str, Any], given)) if isinstance(given, Mapping) else {needed[0]: given}
    if unknown := set(settings) - {*needed, *more}:
        takes = ", ".join((*needed, *more)) or "no settings"
        raise UserError(f"{kind} has no '{min(unknown)}': it takes {takes}")
    if missing := [name for name in needed if name not in settings]:
        raise UserError(f"{kind} needs {' and '.join(missing)}")
    if kind in NEURONS:
        neuron_named(kind, settings)
        return Spec(kind, settings)
    for name, value in settings.items():
        settings[name] = _checked(kind, name, value)
    return Spec(kind, settings)


def describe(network: Sequence[nn.Module]) -> tuple[dict[str, Any], ...]:
    """The modules of a network as entries that `modules_of` makes the same modules from, readout and all.

    Weights, drawn delays and time constants of each neuron's own are part of the `state_dict` and not written
    here. Raises `UserError`, naming the class, for a module or surrogate of the user's own: a file cannot
    say what it does without holding code.
    """
    return tuple(_described(module) for module in network)


def _described(module: nn.Module) -> dict[str, Any]:
    kind = type(module)
    if isinstance(module, Neuron | I):
        return describe_neuron(module)
    if isinstance(module, Linear | Conv2d) and kind in (Linear, Conv2d):
        return describe_synapse(module)
    if isinstance(module, SumPool2d) and kind in _POOLS.values():
        return {kind.__name__.lower(): module.kernel_size}
    if isinstance(module, Delay) and kind is Delay:
        return {"delay": module.least if module.least == module.most else [module.least, module.most]}
    if isinstance(module, Dropout) and kind is Dropout:
        return {"dropout": module.p}
    if kind is Flatten:
        return {"flatten": {}}
    raise UserError(f"{kind.__name__} is a class of your own, which a file cannot describe")


def describe_synapse(module: Linear | Conv2d) -> dict[str, Any]:
    """One entry."""
    entry: dict[str, Any] = {"bias": module.bias is not None}
    if module.quantizer is not None:
        entry["weight_bits"] = module.quantizer.bits
    if isinstance(module, Linear):
        return {"linear": {"n_out": module.n_out} | entry}
    size = list(module.kernel_size)
    sizes = {"out_channels": module.out_channels, "kernel_size": size}
    return {"conv2d": sizes | {"stride": module.stride, "padding": module.padding} | entry}


def _checked(kind: str, name: str, value: Any) -> Any:
    if name == "bias":
        if not isinstance(value, bool):
            raise UserError(f"{kind}: bias is true or false, got {value!r}")
        return value
    if name == "p":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UserError(f"{kind}: p is a number from 0 to below 1, got {value!r}")
        return value
    pair = (kind, name) in (("conv2d", "kernel_size"), ("delay", "steps"))
    if pair and isinstance(value, list | tuple):
        numbers = cast(Sequence[Any], value)
        if len(numbers) == 2:
            return tuple(_whole(kind, name, number) for number in numbers)
    return _whole(kind, name, value)


def _whole(kind: str, name: str, value: Any) -> int:
    least = 0 if name in ("padding", "steps") else 1
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{kind}: {name} is a whole number of {least} or more, got {value!r}")
    return value


def modules_of(
    n_in: int,
    hidden: Sequence[int | Mapping[str, Any]],
    image: Shape | None,
    population: Callable[[], Neuron],
    *,
    bias: bool,
    dropout: float,
    weight_bits: int | None,
) -> Chain:
    """The modules that these entries stand for. image: shape of the input where it is one; population: makes
    the neurons of a layer that has none written. Raises `UserError`, naming the entry, where something does
    not fit.
    """
    modules: list[nn.Module] = []
    n, shape, pool, layers = n_in, image, cast(SumPool | None, None), 0

    def needed() -> Shape:
        if shape is None:
            raise UserError(
                f"it needs an image below it and finds {n} neurons in a row; for an input that is an image "
                "give the network its shape, [channels, rows, columns]"
            )
        return shape

    specs = [read_layer(entry) for entry in hidden]
    for spec, following in zip(specs, [*specs[1:], None], strict=False):
        kind = spec.kind
        settings: dict[str, Any] = spec.settings
        try:
            if kind == "delay":
                modules.append(Delay(**settings))
                continue
            if kind in _POOLS:
                module = _POOLS[kind](**settings)
                pool = module.on(needed(), pool)
                shape = pool.pooled
                n = prod(shape)
                modules.append(module)
                continue
            if kind in NEURONS:
                modules.append(neuron_named(kind, settings))
                layers += kind not in ("i", "li")
                continue
            if kind == "dropout":
                modules.append(Dropout(**settings))
                continue
            if kind == "flatten":
                modules.append(Flatten())
                shape = None
                continue
            settings = {"bias": bias, "weight_bits": weight_bits} | settings
            if kind == "conv2d":
                made = Conv2d(needed()[0], **settings)
                shape = made.image(needed())
                n = prod(shape)
            else:
                if shape is not None:
                    modules.append(Flatten())
                made = Linear(n, **settings)
                shape, n = None, made.n_out
        except UserError as error:
            raise UserError(f"hidden layer '{spec}': {error}") from error
        modules.append(made)
        pool = None
        if following is None or following.kind not in NEURONS:
            modules.append(population())
            if dropout:
                modules.append(Dropout(dropout))
            layers += 1
    if shape is not None:
        modules.append(Flatten())
    return Chain(tuple(modules), n, layers)
