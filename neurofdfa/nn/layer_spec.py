"""Hidden layers as a user writes them, bottom up: `["conv 16x3x3 pad 1", "pool 2", 128]`.

    128                               128 neurons, each of which hears everything below
    conv CxRxK [stride S] [pad P]     C channels with a kernel of R rows and K columns
    pool W                            sums over windows of W x W, in front of whatever comes next
    delay D, delay A-B                spikes from below arrive D steps later, or each neuron's from A to B

conv and pool need an image below them: the input's (channels, rows, columns), a conv, or a pool.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.pooling import Shape, SumPool
from neurofdfa.nn.quantizer import WeightQuantizer
from neurofdfa.nn.synapse import Conv2d, Dense, Synapse

_CONV = re.compile(r"conv (\d+)x(\d+)x(\d+)((?: (?:stride|pad) \d+)*)")
_POOL = re.compile(r"pool (\d+)")
_DELAY = re.compile(r"delay (\d+)(?:-(\d+))?")
_HELP = {
    "conv": "conv CHANNELSxROWSxCOLUMNS [stride S] [pad P], e.g. 'conv 16x3x3 pad 1'",
    "pool": "pool WINDOW, e.g. 'pool 2'",
    "delay": "delay STEPS or delay LEAST-MOST, e.g. 'delay 0-7'",
}


@dataclass(frozen=True)
class Conv:
    """A convolutional layer; see `neurofdfa.nn.synapse.Conv2d`."""

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """Sums in front of the next synapses; see `neurofdfa.nn.pooling.SumPool`."""

    window: int


@dataclass(frozen=True)
class Delay:
    """Spikes arrive from `least` to `most` steps late, each neuron's own number drawn once."""

    least: int
    most: int


Stage: TypeAlias = int | Conv | Pool | Delay


class Plan(NamedTuple):
    """Synapses of the hidden layers, the recurrent ones of each (None without), and those of the readout."""

    layers: tuple[Synapse, ...]
    recurrent: tuple[Synapse | None, ...]
    readout: Synapse


def read_stage(value: int | str) -> Stage:
    """One entry of `hidden`; raises `UserError` that says how it is written."""
    if isinstance(value, int):
        if value < 1:
            raise UserError(f"a layer has 1 neuron or more, got {value}")
        return value
    text = plain(value)
    if isinstance(text, int):
        return read_stage(text)
    if found := _CONV.fullmatch(text):
        channels, rows, columns = (int(n) for n in found.groups()[:3])
        words = found[4].split()
        settings = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        if len(settings) * 2 != len(words):
            raise UserError(f"'{text}' says the same thing twice")
        if min(channels, rows, columns, settings.get("stride", 1)) < 1:
            raise UserError(f"'{text}': channels, rows, columns and stride are 1 or more")
        return Conv(channels, (rows, columns), settings.get("stride", 1), settings.get("pad", 0))
    if found := _POOL.fullmatch(text):
        if int(found[1]) < 1:
            raise UserError(f"'{text}': a window has 1 row or more")
        return Pool(int(found[1]))
    if found := _DELAY.fullmatch(text):
        least, most = int(found[1]), int(found[2] or found[1])
        if least > most:
            raise UserError(f"'{text}': the shortest delay comes first")
        return Delay(least, most)
    kind = text.split(" ")[0] if text else ""
    if kind in _HELP:
        raise UserError(f"'{text}' is not understood: write {_HELP[kind]}")
    words = ", ".join(["a number of neurons", *_HELP.values()])
    raise UserError(f"'{text}' is no layer: write {words}")


def plain(value: int | str) -> int | str:
    """The same entry in its one spelling: numbers as int, single blanks, lower case."""
    if isinstance(value, int):
        return value
    text = " ".join(value.lower().split())
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def plan(
    n_in: int,
    hidden: Sequence[int | str],
    n_out: int,
    *,
    shape: tuple[int, ...] = (),
    recurrent: bool = False,
    bias: bool = False,
    grid: WeightQuantizer | None = None,
    generator: torch.Generator | None = None,
) -> Plan:
    """The synapses of a feed-forward chain. shape: of the input where it is an image, (channels, rows,
    columns); generator: of delays that are drawn. Raises `UserError`, naming the entry of `hidden`, where
    something does not fit.
    """
    below = _Below(n_in, _image(n_in, shape))
    layers: list[Synapse] = []
    own: list[Synapse | None] = []
    for entry in hidden:
        try:
            stage = read_stage(entry)
            if isinstance(stage, Pool | Delay):
                below = below.behind(stage, generator)
                continue
            layers.append(below.synapse(stage, bias, grid))
            own.append(_recurrent(layers[-1], grid) if recurrent else None)
        except UserError as error:
            raise UserError(f"hidden layer '{entry}': {error}") from error
        synapse = layers[-1]
        below = _Below(synapse.n_out, synapse.image if isinstance(synapse, Conv2d) else None)
    if not layers:
        raise UserError("hidden needs at least one layer of neurons")
    return Plan(tuple(layers), tuple(own), below.synapse(n_out, bias, grid))


@dataclass(frozen=True)
class _Below:
    """What the next synapses find below them: n spikes, as an image or not, a pool and delays that wait."""

    n: int
    image: Shape | None
    pool: SumPool | None = None
    delay: Tensor | None = None

    def behind(self, stage: Pool | Delay, generator: torch.Generator | None) -> "_Below":
        if isinstance(stage, Pool):
            if self.pool is None:
                return replace(self, pool=SumPool(self._needed(), stage.window))
            return replace(self, pool=SumPool(self.pool.shape, self.pool.window * stage.window))
        if self.delay is not None:
            raise UserError("one delay follows another: write their sum")
        if stage.least == stage.most:
            return replace(self, delay=torch.full((self.n,), stage.most))
        drawn = generator if generator is not None else torch.Generator().manual_seed(0)
        steps = torch.randint(stage.least, stage.most + 1, (self.n,), generator=drawn, device=drawn.device)
        return replace(self, delay=steps)

    def synapse(self, stage: int | Conv, bias: bool, grid: WeightQuantizer | None) -> Synapse:
        made = self._made(stage, bias, grid)
        return made if self.delay is None else made.delayed(self.delay)

    def _made(self, stage: int | Conv, bias: bool, grid: WeightQuantizer | None) -> Synapse:
        if isinstance(stage, int):
            return Dense(self.n, stage, pool=self.pool, bias=bias, grid=grid)
        shape = self._needed() if self.pool is None else self.pool.pooled
        return Conv2d(
            shape,
            stage.channels,
            stage.kernel,
            stride=stage.stride,
            padding=stage.padding,
            pool=self.pool,
            bias=bias,
            grid=grid,
        )

    def _needed(self) -> Shape:
        if self.image is None:
            raise UserError(
                f"it needs an image below it and finds {self.n} neurons in a row; for an input that is an "
                "image give the network its shape, [channels, rows, columns]"
            )
        return self.image


def _recurrent(synapse: Synapse, grid: WeightQuantizer | None) -> Synapse:
    """All-to-all, or the layer's own kernel at every position."""
    if not isinstance(synapse, Conv2d):
        return Dense(synapse.n_out, synapse.n_out, grid=grid)
    rows, columns = synapse.weight.shape[2], synapse.weight.shape[3]
    if rows != columns or rows % 2 == 0:
        raise UserError(
            f"a recurrent convolution keeps its image's size with a square kernel of odd size only, not with "
            f"{rows} x {columns}"
        )
    return Conv2d(synapse.image, synapse.channels, (rows, columns), padding=rows // 2, grid=grid)


def _image(n_in: int, shape: tuple[int, ...]) -> Shape | None:
    if len(shape) != 3:
        return None
    if prod(shape) != n_in or min(shape) < 1:
        raise UserError(f"a shape of {list(shape)} does not fit {n_in} inputs")
    return shape[0], shape[1], shape[2]
