"""Bind a network to the kernels and run sequences through it, on one thread or several."""

import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.data.event_lists import Events
from neurofdfa.errors import UserError
from neurofdfa.events.batch_shape import Shape
from neurofdfa.events.constants import fill, fill_decays
from neurofdfa.events.kernels import sequence
from neurofdfa.events.parameters import Gradients, Packed, copy_of
from neurofdfa.events.records import INPUT_EVENTS
from neurofdfa.events.tables import Frame, build, keeps_membranes, padded
from neurofdfa.events.tiling import Tiling, tilings
from neurofdfa.events.weight_layout import parts_of
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Masks, Network

INPUT_KINDS = {torch.uint8: 0, torch.bool: 0, torch.float32: 1, torch.float64: 2}
DENSE, LISTED = 3, 4
DENSE_FROM = 0.4
"""Shard of active inputs above which products beat spike lists (measured, docs/engine.md)."""


class Measures(NamedTuple):
    """Sums over a sequence: loss (mean over the batch), spikes and ψ = 0 per hidden layer, input events."""

    loss: float
    spikes: NDArray[np.int64]
    zeros: NDArray[np.int64]
    events: int


class PreparedBatch(NamedTuple):
    """Frames of all workers for one shape, and the scores that they write, `[B, KPAD]`.

    cells: neurons · steps · samples per hidden layer; filling: how often ψ is 0 for the neurons that only
    fill up its panels (their membranes stay at 0).
    """

    shape: Shape
    frames: tuple[Frame, ...]
    scores: Tensor
    cells: NDArray[np.int64]
    filling: NDArray[np.int64]


class KernelSession:
    """A network and what its kernels need."""

    def __init__(self, network: Network, threads: int, chunk: int | None) -> None:
        self.network, self.threads, self.chunk = network, threads, chunk
        self.dtype = network.readout.synapse.weight.dtype
        self.one: Any = (np.float32 if self.dtype == torch.float32 else np.float64)(1)
        self.hidden, self.n_in, self.n_out = network.hidden, network.n_in, network.n_out
        self.parts, self.constants = _parts(network), network.constants
        self.synapses = [*(layer.synapse for layer in self.hidden), network.readout.synapse]
        self.tilings = tilings(self.hidden)
        self.recorded = [
            x.n if tiling is None else tiling.width
            for x, tiling in zip(self.hidden, self.tilings, strict=True)
        ]
        """Values per step and sample of what a hidden layer's recording holds."""
        pairs = zip(self.hidden, self.tilings, strict=True)
        self.places = [slice(layer.n) if tiling is None else tiling.places for layer, tiling in pairs]
        """Where the neurons of a layer stand among those of its panels."""
        weights, biases, recurrent = parts_of(network)
        self.weights = [copy_of(w, x.grid) for w, x in zip(weights, self.synapses, strict=True)]
        spiking = network.readout.population is not None
        eye = torch.eye(network.n_out, dtype=self.dtype)
        self.own_errors = Packed(eye, transposed=True, narrow=True) if spiking else None
        """What a spiking readout learns through: it is told its own errors."""
        self.biases = [None if bias is None else copy_of(bias) for bias in biases]
        self.recurrent = [
            None if own is None or layer.recurrent is None else copy_of(own, layer.recurrent.grid)
            for own, layer in zip(recurrent, self.hidden, strict=True)
        ]
        self.packed = {
            id(kept.tensor): kept
            for kept in (*self.weights, *self.biases, *self.recurrent)
            if kept is not None
        }
        self.general = tuple(map(keeps_membranes, self.hidden))
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.works: dict[Shape, PreparedBatch] = {}
        self.bound: set[Shape] = set()
        self.masked: set[Shape] = set()
        self.dense = False

    def fits(self) -> bool:
        """Whether the network still has what was bound: a `.to()` exchanges its tensors, a user settings."""
        same = all(map(operator.is_, self.parts, _parts(self.network)))
        return same and self.constants == self.network.constants

    def workers(self, steps: int, batch: int) -> int:
        """Threads that have at least a group of samples each."""
        return max(1, min(self.threads, batch))

    def work(self, shape: Shape, *, filtered: bool = False) -> PreparedBatch:
        """Frames for a shape, kept for the next batch of the same shape."""
        if shape not in self.works:
            if len(self.works) >= 4:
                self.works.clear()
                self.bound.clear()
                self.masked.clear()
            kpad = padded(self.network.n_out)
            scores = torch.zeros(shape.batch, kpad, dtype=self.dtype)
            frames = tuple(build(self.network, shape, k, self.chunk) for k in range(shape.workers))
            for frame in frames:
                fill(frame, self.network, filtered=filtered, dropout=False)
                frame.head.scores = scores.data_ptr()
            widths = np.array([layer.n for layer in self.hidden])
            filling = np.array([_filling(*x) for x in zip(self.hidden, self.tilings, strict=True)])
            times = shape.steps * shape.batch
            self.works[shape] = PreparedBatch(shape, frames, scores, times * widths, times * filling)
            self._write_masks(self.works[shape], None)
        return self.works[shape]

    def bind(self, work: PreparedBatch, gradients: Gradients | None) -> bool:
        """Copy weights that have changed; write addresses into the records of a shape that has none yet.

        Returns whether it has: copies and gradients stay where they are.
        """
        for kept in self.packed.values():
            kept.refresh()
        if any(layer.time_constants is not None for layer in self.hidden):
            for frame in work.frames:
                fill_decays(frame, self.network)
        if work.shape in self.bound:
            return False
        self.bound.add(work.shape)
        for worker, frame in enumerate(work.frames):
            for index, synapse in enumerate(self.synapses, 1):
                row, bias = frame.layers[index], self.biases[index - 1]
                row.weight = self.weights[index - 1].address
                row.bias = 0 if bias is None else bias.address
                if gradients is not None:
                    row.gradient = gradients.address(synapse.weight, worker)
                    if synapse.bias is not None:
                        row.bias_gradient = gradients.address(synapse.bias, worker)
            if gradients is not None and self.own_errors is not None:
                frame.layers[-1].feedback = self.own_errors.address
            for index, own in enumerate(self.recurrent, 1):
                row = frame.layers[index]
                if own is not None:
                    row.recurrent = own.address
                    if gradients is not None:
                        row.recurrent_gradient = gradients.address(own.tensor, worker)
        return True

    def give_input(self, work: PreparedBatch, x: Tensor | Events, masks: Masks | None) -> Any:
        """Point the records at the input; returns what must stay alive."""
        if isinstance(x, Events):
            for frame in work.frames:
                frame.head.input, frame.head.input_kind = x.channels.ctypes.data, LISTED
                frame.head.input_starts = x.starts.ctypes.data
                frame.head.input_sample = 8 * (x.shape[0] + 1)
            return x
        if x.dim() != 3 or x.shape[2] != self.n_in:
            raise UserError(f"input must be [T, B, {self.n_in}], got {list(x.shape)}")
        if self.dense or x.dtype not in INPUT_KINDS:
            x = x.to(self.dtype)
        if self.dense and masks is not None and masks.input is not None:
            x = x * masks.input
        if self.dense and self.tilings[0] is not None:
            x = self.tilings[0].look(x)
        if x.stride(2) != 1:
            x = x.contiguous()
        kind = DENSE if self.dense else INPUT_KINDS[x.dtype]
        for frame in work.frames:
            head = frame.head
            head.input, head.input_kind = x.data_ptr(), kind
            head.input_step = x.stride(0) * x.element_size()
            head.input_sample = x.stride(1) * x.element_size()
        return x

    def give_masks(self, work: PreparedBatch, masks: Masks | None) -> list[Any]:
        """Hand dropout over; returns what must stay alive."""
        if masks is None:
            if work.shape in self.masked:
                self.masked.discard(work.shape)
                self._write_masks(work, None)
            return []
        self.masked.add(work.shape)
        return self._write_masks(work, masks)

    def _write_masks(self, work: PreparedBatch, masks: Masks | None) -> list[Any]:
        given = (None,) * (1 + len(self.hidden))
        if masks is not None:
            given = (masks.input, *masks.layers)
        alive: list[Any] = []
        for index, mask in enumerate(given):
            tiling = self.tilings[index - 1] if index > 0 else None
            if mask is not None and tiling is not None:
                mask = tiling.spread(mask)
            if mask is None:
                words, gain = np.zeros(1, np.int64), None
            else:
                words = _words(mask.numpy() != 0, panels=index > 0)
                gain = torch.zeros(mask.shape[0], padded(mask.shape[1]), dtype=self.dtype)
                gain[:, : mask.shape[1]] = mask
                alive += [words, gain]
            for frame in work.frames:
                row = frame.layers[index]
                row.keep = 0 if mask is None else words.ctypes.data
                row.keep_pitch = words.strides[0]
                if index == 0:
                    row.scale = 1.0 if mask is None else 1.0 / (1.0 - self.network.input_dropout)
                    continue
                dropout = self.hidden[index - 1].dropout
                row.scale = 1.0 if mask is None else 1.0 / (1.0 - dropout)
                row.gain = row.ones_row if gain is None else gain.data_ptr()
                row.gain_pitch = 0 if gain is None else gain.stride(0) * gain.element_size()
        return alive

    def run(self, work: PreparedBatch) -> None:
        """All sequences of a batch."""
        self.call(work, sequence.WHOLE, 0, work.shape.steps)

    def call(self, work: PreparedBatch, task: int, start: int, steps: int) -> None:
        """One task of the kernel (`sequence.WHOLE` …) on `steps` steps from `start`, for every worker."""

        def one_worker(frame: Frame) -> None:
            sequence.run_range(self.one, *frame.records, *frame.groups, task, start, steps)

        self.each(work, one_worker)

    def each(self, work: PreparedBatch, task: Callable[[Frame], None]) -> None:
        """Run a task for every worker, in threads when there are several."""
        if self.pool is None or len(work.frames) == 1:
            for frame in work.frames:
                task(frame)
        else:
            list(self.pool.map(task, work.frames))

    def spread(self, task: Callable[[int, int], None]) -> None:
        """Run one of so many equal shares of a task in every thread."""
        if self.pool is None:
            task(0, 1)
        else:
            list(self.pool.map(task, range(self.threads), [self.threads] * self.threads))

    def measures(self, work: PreparedBatch) -> Measures:
        """Sums over all workers."""
        flags = sum((frame.flags for frame in work.frames[1:]), work.frames[0].flags)
        loss = sum(float(frame.loss[0]) for frame in work.frames)
        count = len(self.hidden)
        return Measures(loss, flags[2 : 2 + count], flags[34 : 34 + count], int(flags[65]))

    def saw_values(self, work: PreparedBatch) -> bool:
        """Whether an input was neither 0 nor 1, so that lists of spikes do not describe it."""
        return any(frame.flags[0] for frame in work.frames)

    def settle(self, work: PreparedBatch, steps: int) -> None:
        """Choose products or spike lists for the next batch from the density of this one. steps: of all
        samples together.
        """
        if not self.dense:
            cells = steps * self.n_in
            self.dense = sum(int(frame.flags[INPUT_EVENTS]) for frame in work.frames) > DENSE_FROM * cells


def _parts(network: Network) -> list[Any]:
    """What tables and copies are made from, and what they cannot express."""
    readout = network.readout
    parts: list[Any] = [readout.population, readout.synapse.weight, readout.synapse.delay]
    if readout.population is not None:
        parts.append(readout.population.neuron)
    for layer in network.hidden:
        synapse = layer.synapse
        parts += (synapse.weight, synapse.delay, synapse.grid, layer.neuron, layer.time_constants)
    return parts


def _filling(layer: SpikingLayer, tiling: Tiling | None) -> int:
    """How many neurons that only fill up a panel have ψ = 0."""
    at_rest = layer.neuron.surrogate(torch.tensor(-layer.neuron.v_threshold))
    width = padded(layer.n) if tiling is None else tiling.width
    return width - layer.n if float(at_rest) == 0 else 0


def _words(kept: NDArray[np.bool_], *, panels: bool) -> NDArray[np.int64]:
    """Truth values `[B, n]` as words of 64 bits per row, or one word per panel (64 or 16 neurons)."""
    batch, n = kept.shape
    full = np.zeros((batch, -(-n // 64) * 64), bool)
    full[:, :n] = kept
    words = np.packbits(full, axis=1, bitorder="little").view(np.int64)
    if not panels:
        return np.ascontiguousarray(words)
    wide = padded(n) // 64
    narrow = words[:, wide:].view(np.uint16).astype(np.int64)[:, : (padded(n) - 64 * wide) // 16]
    return np.ascontiguousarray(np.concatenate([words[:, :wide], narrow], axis=1))
