"""A network is hidden layers in order and a readout; this file steps it through time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.delay import DelayLines, DelayPath, new_line
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.layer_spec import plan
from neurofdfa.nn.lif import LIF, LIFState, decay, heaviside, psi, surrogate_spike
from neurofdfa.nn.quantizer import WeightQuantizer
from neurofdfa.nn.readout import Readout, ReadoutKind, ReadoutState, ReadoutStep
from neurofdfa.nn.time_constants import spread


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
    """Hidden `SpikingLayer`s in order and a `Readout`.

    input_dropout: probability that an input channel is silent during a training sequence.
    State is explicit and never part of the `state_dict`.
    """

    def __init__(
        self, layers: Sequence[SpikingLayer], readout: Readout, *, input_dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [layer.n for layer in layers]
        expected = [layer.synapse.n_in for layer in layers[1:]] + [readout.synapse.n_in]
        if not widths or widths != expected:
            raise UserError(
                f"layer widths {widths} do not fit the inputs {expected} of the layers after them"
            )
        if not 0.0 <= input_dropout < 1.0:
            raise UserError(f"input dropout must be in [0, 1), got {input_dropout}")
        self.layers = nn.ModuleList(layers)
        self.readout = readout
        self.input_dropout = input_dropout

    @property
    def hidden(self) -> tuple[SpikingLayer, ...]:
        """The hidden layers, typed."""
        return tuple(self.layers)  # pyright: ignore[reportReturnType]

    @property
    def n_in(self) -> int:
        """Number of input channels."""
        return self.hidden[0].synapse.n_in

    @property
    def n_out(self) -> int:
        """Number of outputs k."""
        return self.readout.n

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
            layer.synapse.initialise(gain, generator)
            if layer.recurrent is not None:
                layer.recurrent.initialise(recurrent_gain, generator)
        self.readout.synapse.initialise(readout_gain, generator)

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
        pre = x if masks is None or masks.input is None else x * masks.input
        steps: list[LayerStep] = []
        way = DelayPath(self.delays, state.lines)
        for index, (layer, before) in enumerate(zip(self.hidden, state.layers, strict=True)):
            pre = way.arrive(pre)
            spike = surrogate_spike(layer.neuron) if differentiable else heaviside
            after = layer.step(pre, before, spike)
            mask = None if masks is None else masks.layers[index]
            steps.append(LayerStep(pre, before, after, psi(after, layer.neuron), mask))
            pre = steps[-1].sent
        pre = way.arrive(pre)
        readout = self.readout.step(pre, state.readout, differentiable=differentiable)
        return NetworkStep(tuple(steps), readout, way.after)

    def steps(
        self, x: Tensor, masks: Masks | None = None, *, differentiable: bool = False
    ) -> Iterator[NetworkStep]:
        """Step through a sequence `[T, B, n_in]` from the zero state, yielding each step's record."""
        state = self.initial_state(x.shape[1])
        for x_t in x:
            step = self.step(x_t, state, masks, differentiable=differentiable)
            state = step.state
            yield step

    @torch.no_grad()
    def run(self, x: Tensor) -> Trajectory:
        """Inference over a sequence `[T, B, n_in]` without dropout; see `Trajectory`."""
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

    def decode(self, y: Tensor) -> Tensor:
        """Scores from outputs over time: `[T, B, k]` → `[B, k]`, as `readout.decode` says."""
        return y.mean(0) if self.readout.decode == "mean" else y[-1]


def feed_forward(
    n_in: int,
    hidden: Sequence[int | str],
    n_out: int,
    *,
    shape: tuple[int, ...] = (),
    neuron: LIF | None = None,
    readout: ReadoutKind = "integrator",
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
    """A chain of layers, all with the same neuron, with weights drawn from `generator`.

    hidden: sizes of dense layers; convolutions, pools and delays in words (`neurofdfa.nn.layer_spec`); shape:
    the input's (channels, rows, columns), where one of them needs it. tau_out: time constant of a "leaky"
    readout in seconds (default 20 dt). recurrent: give every hidden layer synapses from its own spikes,
    all-to-all or, in a convolution, with its own kernel. weight_bits: learn through a quantiser of so many
    bits.
    tau_mem_spread, tau_syn_spread: draw the hidden neurons' time constants around those of `neuron`, with
    this standard deviation of their logarithm; learn_tau: learn them (the synapse's where it is not 0).

    >>> net = feed_forward(64, ["conv 8x3x3", "pool 2", 32], 10, shape=(1, 8, 8))
    >>> net.run(torch.rand(16, 2, 64)).y.shape
    torch.Size([16, 2, 10])
    """
    lif = neuron if neuron is not None else LIF()
    if readout not in ("integrator", "leaky", "spike-count"):
        raise UserError(f"unknown readout '{readout}': choose integrator, leaky or spike-count")
    kappa = 1.0
    if readout == "leaky":
        tau = 20 * lif.dt if tau_out is None else tau_out
        if not 0 < tau < float("inf"):
            raise UserError(f"tau_out must be a finite number above 0, got {tau}")
        kappa = decay(tau, lif.dt, lif.decay_bits)
    grid = None if weight_bits is None else WeightQuantizer(weight_bits)
    drawn = generator if generator is not None else torch.Generator().manual_seed(0)
    chain = plan(n_in, hidden, n_out, shape=shape, recurrent=recurrent, bias=bias, grid=grid, generator=drawn)
    layers = [
        SpikingLayer(synapse, lif, recurrent=own, dropout=dropout)
        for synapse, own in zip(chain.layers, chain.recurrent, strict=True)
    ]
    outputs = Readout(chain.readout, readout, kappa, replace(lif, adaptation=0.0))
    network = Network(layers, outputs, input_dropout=input_dropout)
    network.initialise(drawn)
    if tau_mem_spread or tau_syn_spread or learn_tau:
        for layer in network.hidden:
            layer.time_constants = spread(layer.n, lif, tau_mem_spread, tau_syn_spread, learn_tau, drawn)
    return network


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
