"""From a list of modules to layers: shapes are followed from bottom to top and checked on the way."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import nn

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.delay import Delay
from neurofdfa.nn.derived import check_step
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.integrator import I
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.pooling import Flatten, Shape, SumPool, SumPool2d
from neurofdfa.nn.readout import Readout
from neurofdfa.nn.synapse import Convolution, Dense, Synapse


class Assembled(NamedTuple):
    """Hidden layers, bottom up, the readout, and the dropout of the input, None without."""

    hidden: tuple[SpikingLayer, ...]
    readout: Readout
    input_dropout: Dropout | None


def assemble(
    modules: Sequence[nn.Module], input_shape: tuple[int, ...] | None, generator: torch.Generator
) -> Assembled:
    """The layers that the modules make; raises `UserError`, naming the module, where one does not fit.

    generator: of delays that are drawn.
    """
    if len({id(module) for module in modules}) < len(modules):
        raise UserError("the same module stands in two places: make one for each, their sizes are their own")
    walk = _Walk(_first_shape(modules, input_shape), generator)
    *below, last = modules if modules else (None,)
    for index, module in enumerate(below):
        try:
            walk.pass_on(module)
        except UserError as error:
            raise UserError(f"layers.{index} {module}: {error}") from error
    try:
        return walk.end(last)
    except UserError as error:
        raise UserError(f"layers.{len(below)} {last}: {error}") from error


def _first_shape(modules: Sequence[nn.Module], given: tuple[int, ...] | None) -> tuple[int, ...]:
    if given is not None:
        if len(given) not in (1, 3) or min(given) < 1:
            raise UserError(f"input_shape is (n,) or (channels, rows, columns), got {tuple(given)}")
        return tuple(given)
    first = next((m for m in modules if isinstance(m, Linear | Conv2d | SumPool2d | Flatten)), None)
    if isinstance(first, Linear):
        return (first.n_in,)
    raise UserError("the input is an image here: give the network input_shape=(channels, rows, columns)")


class _Walk:
    """Where the walk has got to: the shape there, what waits for the next synapses, what has been made."""

    def __init__(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        self.shape = shape
        self.generator = generator
        self.pool: SumPool | None = None
        self.delay: Delay | None = None
        self.synapse: Synapse | None = None
        self.hidden: list[SpikingLayer] = []
        self.input_dropout: Dropout | None = None
        self.behind_neuron = True  # the input counts as one

    def pass_on(self, module: nn.Module) -> None:
        """One module further up."""
        if isinstance(module, Linear | Conv2d):
            self._connect(module)
        elif isinstance(module, Neuron):
            self._fire(module)
        elif isinstance(module, Dropout):
            self._drop(module)
        elif isinstance(module, Delay | SumPool2d | Flatten):
            if self.synapse is not None:
                raise UserError("it stands behind a neuron, and the synapses below have none yet")
            self._reshape(module)
        elif isinstance(module, I):
            raise UserError("only the last layer may be an integrator: put LIF neurons here")
        else:
            hint = (
                "neurofdfa's Linear"
                if isinstance(module, nn.Linear | nn.Conv2d)
                else "its layers and neurons"
            )
            raise UserError(f"a network is not made of {type(module).__name__}: take {hint}")
        self.behind_neuron = isinstance(module, Neuron)

    def end(self, module: nn.Module | None) -> Assembled:
        """The last module, which is the readout."""
        if not isinstance(module, I | Neuron):
            raise UserError("the last layer is the readout: I() or LI(), or LIF() to count its spikes")
        if self.synapse is None:
            raise UserError("it has no synapses below it: put Linear in front of it")
        if not self.hidden:
            raise UserError("a network needs at least one layer of neurons below its readout")
        if len(self.shape) != 1:
            raise UserError("the readout's outputs stand in a row: put Linear in front of it")
        if isinstance(module, I):
            module.n = self.shape[0]
        else:
            if module.wants_recurrent or module.recurrent is not None:
                raise UserError("a readout is not recurrent: put Linear and I() behind it")
            if isinstance(module, LIF) and (
                module.adaptation or module.learn_tau or module.tau_mem_spread or module.tau_syn_spread
            ):
                raise UserError("the readout's neurons are alike, with fixed thresholds and time constants")
            self._place(module)
        readout = Readout(self.synapse, module)
        steps = {dt for dt in (*(layer.cell.dt for layer in self.hidden), module.dt) if dt is not None}
        if len(steps) > 1:
            raise UserError(
                f"all neurons of a network share one dt, got {', '.join(map(str, sorted(steps)))}"
            )
        return Assembled(tuple(self.hidden), readout, self.input_dropout)

    def _connect(self, module: Linear | Conv2d) -> None:
        if self.synapse is not None:
            raise UserError("synapses follow synapses: put neurons between them")
        if type(module).forward not in (Linear.forward, Conv2d.forward):
            raise UserError("its own forward would not be called: write quantized_weight, what spikes see")
        if isinstance(module, Conv2d):
            made = Convolution(module, self._image(), pool=self.pool, delay=self.delay)
            self.synapse, self.shape = made, made.image
        else:
            if len(self.shape) != 1:
                raise UserError(f"it finds an image of {self.shape} below it: put Flatten() in front of it")
            if module.n_in != self.shape[0]:
                raise UserError(f"it takes {module.n_in} inputs and finds {self.shape[0]}")
            self.synapse = Dense(module, pool=self.pool, delay=self.delay)
            self.shape = (module.n_out,)
        self.pool = self.delay = None

    def _fire(self, neuron: Neuron) -> None:
        if self.synapse is None:
            raise UserError("it has no synapses below it: put Linear or Conv2d in front of it")
        self._place(neuron)
        self.hidden.append(SpikingLayer(self.synapse, neuron))
        self.synapse = None

    def _place(self, neuron: Neuron) -> None:
        if not isinstance(neuron, LIF):
            check_step(neuron)
        elif type(neuron).step is not LIF.step or type(neuron).advance is not LIF.advance:
            raise UserError("LIF's step is written out elsewhere: derive a step of your own from Neuron")
        module = self.synapse.module if self.synapse is not None else None
        neuron.place(self.shape, module.kernel_size if isinstance(module, Conv2d) else None)

    def _drop(self, module: Dropout) -> None:
        if not self.behind_neuron:
            raise UserError("it stands right behind a neuron, or in front of everything for the input")
        if self.hidden:
            self.hidden[-1].dropped = module
        else:
            self.input_dropout = module

    def _reshape(self, module: Delay | SumPool2d | Flatten) -> None:
        if isinstance(module, SumPool2d):
            self.pool = module.on(self._image(), self.pool)
            self.shape = self.pool.pooled
        elif isinstance(module, Flatten):
            self.shape = (prod(self.shape),)
        elif self.delay is not None:
            raise UserError("one delay follows another: write their sum")
        elif self.pool is not None and module.least != module.most:
            raise UserError("delays that differ stand in front of the pool, where the neurons are")
        else:
            module.place(prod(self.shape) if self.pool is None else self.pool.n_in, self.generator)
            self.delay = module

    def _image(self) -> Shape:
        if len(self.shape) != 3:
            raise UserError(
                f"it needs an image below it and finds {self.shape[0]} neurons in a row; for an input that "
                "is an image give the network input_shape=(channels, rows, columns)"
            )
        return self.shape[0], self.shape[1], self.shape[2]
