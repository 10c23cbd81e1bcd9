"""A network: modules from the input to the readout, stepped through time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.assembly import assemble
from neurofdfa.nn.delay import DelayLines, new_line, send
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.inputs import Given, dense
from neurofdfa.nn.integrator import I
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.layer_spec import modules_of
from neurofdfa.nn.leaky_integrator import LI
from neurofdfa.nn.lif import LIF, LIFState
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.readout import Readout, ReadoutKind, ReadoutState, ReadoutStep
from neurofdfa.notebook import card


class NetworkState(NamedTuple):
    """State of every hidden layer and of the readout; lines: what is on its way to each of them."""

    layers: tuple[LIFState, ...]
    readout: ReadoutState
    lines: DelayLines = ()


class NetworkStep(NamedTuple):
    """What every layer saw and did in one step; a rule reads its learning signals from this."""

    layers: tuple[LayerStep, ...]
    readout: ReadoutStep
    lines: DelayLines = ()

    @property
    def state(self) -> NetworkState:
        """The state after the step."""
        return NetworkState(tuple(layer.after for layer in self.layers), self.readout.state, self.lines)

    @property
    def y(self) -> Tensor:
        """Outputs after the step, `[B, k]`."""
        return self.readout.y

    def first(self, samples: int) -> "NetworkStep":
        """The same step for the first `samples` samples of the batch, as views."""
        lines = tuple(None if line is None else line[:, :samples] for line in self.lines)
        layers = tuple(layer.first(samples) for layer in self.layers)
        return NetworkStep(layers, self.readout.first(samples), lines)


class Masks(NamedTuple):
    """Dropout scalings drawn once per sequence: of the input and of each layer, `[B, n]` or None."""

    input: Tensor | None
    layers: tuple[Tensor | None, ...]

    def select(self, rows: Callable[[Tensor], Tensor]) -> "Masks":
        """The masks of some of the samples."""
        own = [None if mask is None else rows(mask) for mask in (self.input, *self.layers)]
        return Masks(own[0], tuple(own[1:]))


class Trajectory(NamedTuple):
    """A whole sequence: outputs `[T, B, k]` and, per hidden layer, spikes `[T, B, n]`.

    readout_spikes: of a spiking readout, else None.
    """

    y: Tensor
    spikes: tuple[Tensor, ...]
    readout_spikes: Tensor | None


class Network(nn.Module):
    """A chain of modules from the input to the readout.

    Synapses (`Linear`, `Conv2d`) have in front of them what they need (`SumPool2d`, `AvgPool2d`, `Flatten`,
    `Delay`) and neurons behind them (`LIF`, `ALIF`, `CubaLIF`, `IF` or your own). `Dropout` stands behind
    neurons, or in front of everything for the input. The last module is the readout: `I`, `LI` or `LIF`.

    input_shape: (n,) or (channels, rows, columns) of a step's input, needed only where the input is an image.
    generator: of all weights, and of delays and time constants that are drawn; seeded with 0 unless given.
    initialise: draw the weights; False keeps those that the modules have.
    State is explicit and never part of the `state_dict`. `hidden` and `readout` are the same network as rules
    and engines see it: layers of synapses and neurons. Raises `UserError`, naming the module, where something
    does not fit.

    >>> net = Network(Linear(64, 128), LIF(tau_mem=5e-3), Linear(128, 10), LI())
    >>> net(torch.rand(16, 2, 64)).shape
    torch.Size([16, 2, 10])
    """

    def __init__(
        self,
        *modules: nn.Module,
        input_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
        initialise: bool = True,
    ) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0) if generator is None else generator
        made = assemble(modules, input_shape, drawn)
        self.layers = _Fixed(modules)
        self._hidden, self._readout, self._input_dropout = made
        self.input_shape = tuple(input_shape) if input_shape is not None else (self.n_in,)
        if initialise:
            self.initialise(drawn)
        for module in modules:
            if isinstance(module, Neuron):
                module.draw(drawn)

    @property
    def hidden(self) -> tuple[SpikingLayer, ...]:
        """The hidden layers, bottom up."""
        return self._hidden

    @property
    def readout(self) -> Readout:
        """What becomes of the last hidden layer's spikes."""
        return self._readout

    @property
    def input_dropout(self) -> float:
        """Probability that an input channel is silent during a training sequence."""
        return 0.0 if self._input_dropout is None else self._input_dropout.p

    @property
    def n_in(self) -> int:
        """Number of input channels."""
        return self.hidden[0].synapse.n_in

    @property
    def n_out(self) -> int:
        """Number of outputs k."""
        return self.readout.n

    @property
    def constants(self) -> tuple[Any, ...]:
        """The settings of neurons, readout and dropout, which engines copy: equal while none has changed."""
        layers = [x for layer in self.hidden for x in (*layer.cell.constants, layer.dropout)]
        outputs = self.readout.outputs
        own = outputs.constants if isinstance(outputs, Neuron) else (outputs.kappa,)
        return self.input_dropout, *layers, *own

    def initialise(
        self,
        generator: torch.Generator,
        *,
        gain: float = 1.0,
        recurrent_gain: float = 0.3,
        readout_gain: float = 0.3,
    ) -> None:
        """Draw weights ~ N(0, gain²/n_in) layer by layer from `generator` alone."""
        for layer in self.hidden:
            layer.synapse.module.initialise(gain, generator)
            if layer.recurrent is not None:
                layer.recurrent.module.initialise(recurrent_gain, generator)
        self.readout.synapse.module.initialise(readout_gain, generator)

    def initial_state(self, batch: int) -> NetworkState:
        """All zero."""
        return NetworkState(
            tuple(layer.initial_state(batch) for layer in self.hidden),
            self.readout.initial_state(batch),
            self.initial_lines(batch),
        )

    @property
    def delays(self) -> tuple[Tensor | None, ...]:
        """Of the synapses of every hidden layer and of the readout, `[n_in]`; () where there are none."""
        synapses = (*(layer.synapse for layer in self.hidden), self.readout.synapse)
        found = tuple(synapse.delay for synapse in synapses)
        return () if all(delay is None for delay in found) else found

    def initial_lines(self, batch: int) -> DelayLines:
        """Nothing on its way."""
        weight = self.readout.synapse.weight
        return tuple(
            None if delay is None else new_line(delay, weight.new_zeros(batch, len(delay)))
            for delay in self.delays
        )

    def draw_masks(self, batch: int, generator: torch.Generator) -> Masks | None:
        """Dropout masks for one training sequence, or None when no dropout is set."""

        def draw(n: int, p: float) -> Tensor | None:
            if p == 0.0:
                return None
            kept = torch.rand(batch, n, generator=generator, device=generator.device) >= p
            weight = self.readout.synapse.weight
            return kept.to(weight.device, weight.dtype) / (1.0 - p)

        masks = Masks(
            draw(self.n_in, self.input_dropout), tuple(draw(layer.n, layer.dropout) for layer in self.hidden)
        )
        return None if masks.input is None and all(m is None for m in masks.layers) else masks

    def step(
        self, x: Tensor, state: NetworkState, masks: Masks | None = None, *, differentiable: bool = False
    ) -> NetworkStep:
        """One time step. x: input spikes or currents, `[B, n_in]`.

        differentiable: give spikes the surrogate's derivative under autograd; for the BPTT reference.
        """
        steps: list[LayerStep] = []

        def play(index: int, pre: Tensor) -> Tensor:
            mask = None if masks is None else masks.layers[index]
            seen = self.hidden[index].play(pre, state.layers[index], mask, differentiable=differentiable)
            steps.append(seen)
            return seen.sent

        shown = x if masks is None or masks.input is None else x * masks.input
        pre, lines = self.walk(shown, state.lines, play)
        readout = self.readout.step(pre, state.readout, differentiable=differentiable)
        return NetworkStep(tuple(steps), readout, lines)

    def walk(
        self, x: Tensor, lines: DelayLines, visit: Callable[[int, Tensor], Tensor]
    ) -> tuple[Tensor, DelayLines]:
        """Carry `x` up through the hidden layers; what the readout hears, and what is under way after it.

        visit: (index of a hidden layer, what arrives there) → what the layer sends on. lines: what is under
        way before. The only way up there is: of spikes, of their tangents, and of whole sequences.
        """
        delays, after = self.delays, list[Tensor | None]()

        def arrive(x: Tensor, index: int) -> Tensor:
            if lines:
                delay, line = delays[index], lines[index]
                if delay is not None and line is not None:
                    x, line = send(delay, x, line)
                after.append(line)
            return x

        for index in range(len(self.hidden)):
            x = visit(index, arrive(x, index))
        return arrive(x, len(self.hidden)), tuple(after)

    def drive_tangent(self, index: int, sent: Tensor) -> Tensor:
        """What perturbations of the spikes that hidden layer `index` sends, `[B, n]`, do to the drive of the
        layer above it, or of the readout: `[B, n_above]`.
        """
        above = self.hidden[index + 1] if index + 1 < len(self.hidden) else self.readout
        return above.synapse.linear(sent)

    def steps(
        self, x: Tensor, masks: Masks | None = None, *, differentiable: bool = False
    ) -> Iterator[NetworkStep]:
        """Step through a sequence `[T, B, n_in]` from the zero state, yielding each step's record."""
        state = self.initial_state(x.shape[1])
        for x_t in x:
            step = self.step(x_t, state, masks, differentiable=differentiable)
            state = step.state
            yield step

    def flat(self, x: Given) -> Tensor:
        """A sequence as `[T, B, n_in]` with the weights' type. It may come in the input's own shape,
        `[T, B, *input_shape]`, of any number type, or as lists of events. Raises `UserError` else.
        """
        x = dense(x, self.readout.synapse.weight)
        if x.dim() == 3 and x.shape[2] == self.n_in:
            return x
        if x.dim() > 3 and tuple(x.shape[2:]) == self.input_shape:
            return x.flatten(2)
        own = ", ".join(map(str, self.input_shape))
        flat = "" if len(self.input_shape) == 1 else f" or [T, B, {self.n_in}]"
        raise UserError(
            f"this network takes [T, B, {own}]{flat}: steps, samples and what one step shows; got "
            f"{list(x.shape)}"
        )

    def forward(self, x: Given) -> Tensor:
        """Outputs over time, `[T, B, k]`, of a sequence `[T, B, n_in]` or `[T, B, *input_shape]`.

        Spikes have the surrogate's derivative under autograd. Dropout is the `Trainer`'s and plays no part.
        """
        x = self.flat(x)
        differentiable = torch.is_grad_enabled()
        return torch.stack([step.y for step in self.steps(x, differentiable=differentiable)])

    @torch.no_grad()
    def run(self, x: Given) -> Trajectory:
        """Inference over a sequence as for `forward`, without a graph; see `Trajectory`."""
        x = self.flat(x)
        ys: list[Tensor] = []
        spikes: list[list[Tensor]] = [[] for _ in self.hidden]
        output: list[Tensor] = []
        for step in self.steps(x):
            ys.append(step.y)
            for kept, layer in zip(spikes, step.layers, strict=True):
                kept.append(layer.after.s)
            if step.readout.population is not None:
                output.append(step.readout.population.after.s)
        return Trajectory(
            torch.stack(ys),
            tuple(torch.stack(kept) for kept in spikes),
            torch.stack(output) if output else None,
        )

    def _repr_html_(self) -> str:
        """A table for a notebook: every module and its parameters."""
        rows = [
            (number, repr(module), sum(p.numel() for p in module.parameters()) or "")
            for number, module in enumerate(self.layers)
        ]
        total = sum(p.numel() for p in self.parameters())
        return card(
            f"network of {self.n_in} inputs and {self.n_out} outputs, {total} parameters",
            rows,
            ("", "module", "parameters"),
        )

    def decode(self, y: Tensor) -> Tensor:
        """Scores from outputs over time: `[T, B, k]` → `[B, k]`, as `readout.decode` says."""
        return y.mean(0) if self.readout.decode == "mean" else y[-1]


class _Fixed(nn.ModuleList):
    """Modules that were put together: another one in their place would not be noticed."""

    def __setitem__(self, idx: Any, module: nn.Module) -> None:
        raise UserError("the layers of a network are fixed: build a new Network around the module")


def feed_forward(
    n_in: int,
    hidden: Sequence[int | Mapping[str, Any]],
    n_out: int,
    *,
    shape: tuple[int, ...] = (),
    neuron: Neuron | None = None,
    readout: ReadoutKind | Literal["written"] = "integrator",
    tau_out: float | None = None,
    bias: bool = False,
    recurrent: bool = False,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    weight_bits: int | None = None,
    tau_mem_spread: float = 0.0,
    tau_syn_spread: float = 0.0,
    learn_tau: bool = False,
    generator: torch.Generator | None = None,
) -> Network:
    """The short form of a `Network` in which all layers have the same neuron, a copy of `neuron` each.

    hidden: sizes of `Linear` layers, or layers as a config writes them (`neurofdfa.nn.layer_spec`):
    `{"conv2d": {"out_channels": 8, "kernel_size": 3}}`, `{"sumpool2d": 2}`, `{"linear": 64}`. shape: the
    input's (channels, rows, columns), where one of them needs it. readout: "written" where `hidden` names all
    modules, the readout's among them. tau_out: time constant of a "leaky"
    readout in seconds (default 20 dt). recurrent: give every hidden layer synapses from its own spikes,
    all-to-all or, in a convolution, with its own kernel. weight_bits: learn through a quantiser of so many
    bits. tau_mem_spread, tau_syn_spread, learn_tau: as for `LIF`.

    >>> net = feed_forward(64, [{"conv2d": {"out_channels": 8, "kernel_size": 3}}, 32], 10, shape=(1, 8, 8))
    >>> net(torch.rand(16, 2, 64)).shape
    torch.Size([16, 2, 10])
    """
    prototype = LIF() if neuron is None else neuron
    if readout not in ("integrator", "leaky", "spike-count", "written"):
        raise UserError(f"unknown readout '{readout}': choose integrator, leaky, spike-count or written")
    image = (shape[0], shape[1], shape[2]) if len(shape) == 3 else None
    if image is not None and (prod(image) != n_in or min(image) < 1):
        raise UserError(f"a shape of {list(image)} does not fit {n_in} inputs")

    def population() -> Neuron:
        made = prototype.copy()
        made.wants_recurrent = made.wants_recurrent or recurrent
        if tau_mem_spread or tau_syn_spread or learn_tau:
            if not isinstance(made, LIF):
                raise UserError(f"time constants of {type(made).__name__} are its own: set them there")
            made.spread(tau_mem_spread, tau_syn_spread, learn_tau)
        return made

    below = modules_of(n_in, hidden, image, population, bias=bias, dropout=dropout, weight_bits=weight_bits)
    if readout == "written":
        if below.n != n_out:
            raise UserError(f"the layers end with {below.n} outputs, and {n_out} are needed")
        return Network(*below.modules, input_shape=image or (n_in,), generator=generator)
    if not below.layers:
        raise UserError("hidden needs at least one layer of neurons")
    outputs: nn.Module = I()
    if readout == "leaky":
        bits = prototype.decay_bits if isinstance(prototype, LIF) else 12
        outputs = LI(20 * prototype.dt if tau_out is None else tau_out, dt=prototype.dt, decay_bits=bits)
    elif readout == "spike-count":
        outputs = prototype.copy()
        if isinstance(outputs, LIF):
            outputs.adaptation = 0.0
    first = [Dropout(input_dropout)] if input_dropout else []
    last = Linear(below.n, n_out, bias, weight_bits=weight_bits)
    return Network(*first, *below.modules, last, outputs, input_shape=image or (n_in,), generator=generator)


@torch.no_grad()
def scale_to_rate(network: Network, x: Tensor, rate: float = 0.06, *, rounds: int = 14) -> None:
    """Rescale each layer's input weights, bottom up, until a share `rate` of neurons fires per step on `x`.

    x: `[T, B, n_in]`. Bisection on a factor in [2⁻⁶, 2⁶]; data from the training split only. Raises
    `UserError`, with the layer as it was, where the largest factor leaves it at less than half the rate.
    """
    for index, layer in enumerate(network.hidden):
        original = layer.synapse.weight.clone()
        low, high, highest = -6.0, 6.0, 0.0
        for _ in range(rounds):
            middle = (low + high) / 2
            layer.synapse.weight.copy_(original * 2.0**middle)
            fired = torch.stack([step.layers[index].after.s.mean() for step in network.steps(x)]).mean()
            low, high = (middle, high) if fired < rate else (low, middle)
            highest = max(highest, float(fired))
        if highest < rate / 2:
            layer.synapse.weight.copy_(original)
            raise UserError(
                f"layer {index + 1} cannot reach a rate of {rate:g} spikes per step: it got to {highest:.2g};"
                " give it inputs that are not silent, or a lower rate"
            )
