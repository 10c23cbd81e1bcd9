"""A whole sequence as a network lived it: every layer's steps, one after the other or all side by side."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import LIFState, lif_step, psi
from neurofdfa.nn.network import Masks, Network, NetworkStep
from neurofdfa.nn.readout import ReadoutStep
from neurofdfa.nn.surrogate import heaviside
from neurofdfa.train.unroll import layered, masked, over_time


class LayerRecord(NamedTuple):
    """What one layer saw and did: inputs `[T, B, n_in]`, states before and after every step and ψ, each
    `[T, B, n]`; mask: dropout scaling of what it sends, `[B, n]` or None.
    """

    pre: Tensor
    before: LIFState
    after: LIFState
    psi: Tensor
    mask: Tensor | None

    @property
    def s(self) -> Tensor:
        """Spikes, `[T, B, n]`."""
        return self.after.s

    def step(self, t: int) -> LayerStep:
        """One step."""
        before, after = (_each(state, partial(_step, t)) for state in (self.before, self.after))
        return LayerStep(self.pre[t], before, after, self.psi[t], self.mask)

    def all_steps(self) -> LayerStep:
        """All of them side by side, `[T·B, n]`."""
        before, after = (_each(state, _flat) for state in (self.before, self.after))
        mask = None if self.mask is None else self.mask.expand_as(self.psi).flatten(0, 1)
        return LayerStep(self.pre.flatten(0, 1), before, after, self.psi.flatten(0, 1), mask)


class Record(NamedTuple):
    """The hidden layers, what the readout heard `[T, B, n]`, its neurons where it has some, and its outputs y
    `[T, B, k]`.
    """

    hidden: tuple[LayerRecord, ...]
    pre: Tensor
    population: LayerRecord | None
    y: Tensor

    def step(self, t: int) -> NetworkStep:
        """One step of the network."""
        population = None if self.population is None else self.population.step(t)
        return NetworkStep(
            tuple(layer.step(t) for layer in self.hidden), ReadoutStep(self.pre[t], self.y[t], population)
        )

    def all_steps(self) -> NetworkStep:
        """All of them side by side, as if they were samples."""
        population = None if self.population is None else self.population.all_steps()
        readout = ReadoutStep(self.pre.flatten(0, 1), self.y.flatten(0, 1), population)
        return NetworkStep(tuple(layer.all_steps() for layer in self.hidden), readout)


def record(network: Network, x: Tensor, masks: Masks | None) -> Record:
    """Run a sequence `[T, B, n_in]` from the start, without a graph."""
    return _by_layer(network, x, masks) if layered(network) else _by_step(network, x, masks)


def _by_layer(network: Network, x: Tensor, masks: Masks | None) -> Record:
    hidden: list[LayerRecord] = []

    def run(index: int, pre: Tensor) -> Tensor:
        mask = None if masks is None else masks.layers[index]
        hidden.append(_run(network.hidden[index], pre, mask))
        return hidden[-1].s if mask is None else hidden[-1].s * mask

    shown = x if masks is None or masks.input is None else masked(x, masks.input)
    sent, _ = network.walk(shown, (), run)
    readout = network.readout
    population = None if readout.population is None else _run(readout.population, sent, None)
    drive = over_time(readout.synapse, sent) if population is None else population.s
    y, ys = torch.zeros_like(drive[0]), list[Tensor]()
    for now in drive:
        y = readout.kappa * y + now
        ys.append(y)
    return Record(tuple(hidden), sent, population, torch.stack(ys))


def _run(layer: SpikingLayer, pre: Tensor, mask: Tensor | None) -> LayerRecord:
    lif, drive = layer.neuron, over_time(layer.synapse, pre)
    first = layer.initial_state(pre.shape[1])
    seen = [first]
    for now in drive:
        seen.append(lif_step(now, seen[-1], lif, heaviside))
    i, u, s = (torch.stack(values) for values in list(zip(*seen, strict=True))[:3])
    after = LIFState(i[1:], u[1:], s[1:], first.a)
    return LayerRecord(pre, LIFState(i[:-1], u[:-1], s[:-1], first.a), after, psi(after, lif), mask)


def _by_step(network: Network, x: Tensor, masks: Masks | None) -> Record:
    seen = list(network.steps(x, masks))
    hidden = tuple(
        _stacked(layer, [step.layers[k] for step in seen]) for k, layer in enumerate(network.hidden)
    )
    population = network.readout.population
    own = [step.readout.population for step in seen if step.readout.population is not None]
    return Record(
        hidden,
        torch.stack([step.readout.pre for step in seen]),
        None if population is None else _stacked(population, own),
        torch.stack([step.y for step in seen]),
    )


def _stacked(layer: SpikingLayer, steps: list[LayerStep]) -> LayerRecord:
    states = [steps[0].before, *(step.after for step in steps)]
    whole = [torch.stack(values) for values in zip(*states, strict=True)]
    kind: Any = type(states[0])
    before, after = kind(*(x[:-1] for x in whole)), kind(*(x[1:] for x in whole))
    return LayerRecord(
        torch.stack([step.pre for step in steps]), before, after, layer.slopes(steps), steps[0].mask
    )


def _step(t: int, x: Tensor) -> Tensor:
    return x[t]


def _flat(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


def _each(state: LIFState, change: Callable[[Tensor], Tensor]) -> LIFState:
    """The same change of all values that neurons have; a threshold that does not adapt stays as it is."""
    kept = state.a if state.a.dim() < 3 or len(state.a) != len(state.s) else change(state.a)
    return LIFState(change(state.i), change(state.u), change(state.s), kept)
