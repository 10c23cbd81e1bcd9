"""Hidden layers as a config file writes them, with the names that they have in Python, bottom up:

    layers = [{ conv2d = { out_channels = 8, kernel_size = 3 } }, { sumpool2d = 2 }, { linear = 64 }]

    64, or linear = 64                                   `Linear` into 64 neurons
    conv2d = { out_channels, kernel_size, … }            `Conv2d`; stride, padding and bias may follow
    sumpool2d = 2, avgpool2d = 2                         in front of whatever comes next
    delay = 3, delay = [0, 7]                            spikes from below come late, each neuron's by its own

Neurons follow every `linear` and `conv2d` by themselves, and what lies below a layer is known: n_in and
in_channels are not written, and an image is flattened where a `linear` needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, cast

from torch import nn

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.delay import Delay
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.pooling import AvgPool2d, Flatten, Shape, SumPool, SumPool2d

_POOLS = {"sumpool2d": SumPool2d, "avgpool2d": AvgPool2d}
_SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "linear": (("n_out",), ("bias",)),
    "conv2d": (("out_channels", "kernel_size"), ("stride", "padding", "bias")),
    "sumpool2d": (("kernel_size",), ()),
    "avgpool2d": (("kernel_size",), ()),
    "delay": (("steps",), ()),
}
"""Of every kind: what it needs, and what may follow. A bare value is the first of what it needs."""


class Spec(NamedTuple):
    """One entry, read: its kind, and its settings by name."""

    kind: str
    settings: dict[str, Any]

    def __str__(self) -> str:
        """As it is written."""
        needed, _ = _SETTINGS[self.kind]
        if tuple(self.settings) == needed[:1]:
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
    settings = dict(cast(Mapping[str, Any], given)) if isinstance(given, Mapping) else {needed[0]: given}
    if unknown := set(settings) - {*needed, *more}:
        raise UserError(f"{kind} has no '{min(unknown)}': it takes {', '.join((*needed, *more))}")
    if missing := [name for name in needed if name not in settings]:
        raise UserError(f"{kind} needs {' and '.join(missing)}")
    for name, value in settings.items():
        settings[name] = _checked(kind, name, value)
    return Spec(kind, settings)


def _checked(kind: str, name: str, value: Any) -> Any:
    if name == "bias":
        if not isinstance(value, bool):
            raise UserError(f"{kind}: bias is true or false, got {value!r}")
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
    the neurons of a layer. Raises `UserError`, naming the entry, where something does not fit.
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

    for entry in hidden:
        spec = read_layer(entry)
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
            settings.setdefault("bias", bias)
            if kind == "conv2d":
                made = Conv2d(needed()[0], weight_bits=weight_bits, **settings)
                shape = made.image(needed())
                n = prod(shape)
            else:
                if shape is not None:
                    modules.append(Flatten())
                made = Linear(n, weight_bits=weight_bits, **settings)
                shape, n = None, made.n_out
        except UserError as error:
            raise UserError(f"hidden layer '{spec}': {error}") from error
        modules += [made, population()]
        if dropout:
            modules.append(Dropout(dropout))
        pool, layers = None, layers + 1
    if shape is not None:
        modules.append(Flatten())
    return Chain(tuple(modules), n, layers)
