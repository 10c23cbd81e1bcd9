"""Bind a network to the kernels and run sequences through it, on one thread or several."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.engine import fields as f
from neurofdfa.engine.constants import fill
from neurofdfa.engine.kernels import sequence
from neurofdfa.engine.native import Events
from neurofdfa.engine.parameters import Gradients, Packed
from neurofdfa.engine.tables import Frame, Shape, build, cut, padded
from neurofdfa.errors import UserError
from neurofdfa.network import Masks, Network

INPUT_KINDS = {torch.uint8: 0, torch.bool: 0, torch.float32: 1, torch.float64: 2}
DENSE, LISTED = 3, 4
DENSE_FROM = 0.4
"""Share of active inputs above which products beat spike lists (measured, docs/engine.md)."""


class Measures(NamedTuple):
    """Sums over a sequence: loss (mean over the batch), spikes and ψ = 0 per hidden layer, input events."""

    loss: float
    spikes: NDArray[np.int64]
    zeros: NDArray[np.int64]
    events: int


class Work(NamedTuple):
    """Frames of all workers for one shape, and the scores that they write, `[B, KPAD]`."""

    shape: Shape
    frames: tuple[Frame, ...]
    scores: Tensor


class Execution:
    """A network and what its kernels need. feedback: "none", "broadcast", "dkp" or "fdfa"."""

    def __init__(self, network: Network, threads: int, chunk: int | None) -> None:
        self.network, self.threads, self.chunk = network, threads, chunk
        self.dtype = network.readout.synapse.weight.dtype
        self.one: Any = (np.float32 if self.dtype == torch.float32 else np.float64)(1)
        synapses = [layer.synapse for layer in network.hidden] + [network.readout.synapse]
        self.weights = [
            Packed(synapse.weight, transposed=True, grid=synapse.grid, narrow=index == len(network.hidden))
            for index, synapse in enumerate(synapses)
        ]
        self.biases = [
            None if synapse.bias is None else Packed(synapse.bias, transposed=False) for synapse in synapses
        ]
        self.recurrent = [
            None
            if layer.recurrent is None
            else Packed(layer.recurrent.weight, transposed=True, grid=layer.recurrent.grid)
            for layer in network.hidden
        ]
        self.packed = {
            id(kept.tensor): kept
            for kept in (*self.weights, *self.biases, *self.recurrent)
            if kept is not None
        }
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.works: dict[Shape, Work] = {}
        self.bound: set[Shape] = set()
        self.dense = False
        self.constants = np.zeros(4)

    def fits(self) -> bool:
        """Whether the network still has the tensors that were bound (a `.to()` exchanges them)."""
        synapses = [layer.synapse for layer in self.network.hidden] + [self.network.readout.synapse]
        return self.dtype == synapses[0].weight.dtype and all(
            kept.tensor is synapse.weight for kept, synapse in zip(self.weights, synapses, strict=True)
        )

    def workers(self, steps: int, batch: int) -> int:
        """Threads that have at least a group of samples each."""
        return max(1, min(self.threads, batch))

    def work(self, shape: Shape, *, filtered: bool = False) -> Work:
        """Frames for a shape, kept for the next batch of the same shape."""
        if shape not in self.works:
            if len(self.works) >= 4:
                self.works.clear()
                self.bound.clear()
            kpad = padded(self.network.n_out)
            scores = torch.zeros(shape.batch, kpad, dtype=self.dtype)
            frames = tuple(build(self.network, shape, k, self.chunk) for k in range(shape.workers))
            for frame in frames:
                fill(frame, self.network, filtered=filtered, dropout=False)
                frame.head[f.SCORES] = scores.data_ptr()
            self.works[shape] = Work(shape, frames, scores)
        return self.works[shape]

    def bind(self, work: Work, gradients: Gradients | None) -> None:
        """Write addresses of weights and gradients into the tables, and copy weights that have changed."""
        if gradients is None:
            for kept in self.packed.values():
                kept.refresh()
            if work.shape in self.bound:
                return
            self.bound.add(work.shape)
        hidden = self.network.hidden
        synapses = [layer.synapse for layer in hidden] + [self.network.readout.synapse]
        for worker, frame in enumerate(work.frames):
            for index, synapse in enumerate(synapses, 1):
                row, bias = frame.table[index], self.biases[index - 1]
                row[f.WEIGHT] = self.weights[index - 1].address
                row[f.BIAS] = 0 if bias is None else bias.address
                if gradients is not None:
                    row[f.GRADIENT] = gradients.address(synapse.weight, worker)
                    if synapse.bias is not None:
                        row[f.BIAS_GRADIENT] = gradients.address(synapse.bias, worker)
            for index, (layer, own) in enumerate(zip(hidden, self.recurrent, strict=True), 1):
                row = frame.table[index]
                if own is not None and layer.recurrent is not None:
                    row[f.RECURRENT] = own.address
                    if gradients is not None:
                        row[f.RECURRENT_GRADIENT] = gradients.address(layer.recurrent.weight, worker)

    def give_input(self, work: Work, x: Tensor | Events, masks: Masks | None) -> Any:
        """Point the tables at the input; returns what must stay alive."""
        if isinstance(x, Events):
            for frame in work.frames:
                frame.head[f.INPUT], frame.head[f.INPUT_KIND] = x.channels.ctypes.data, LISTED
                frame.head[f.INPUT_STARTS] = x.starts.ctypes.data
            return x
        if x.dim() != 3 or x.shape[2] != self.network.n_in:
            raise UserError(f"input must be [T, B, {self.network.n_in}], got {list(x.shape)}")
        if self.dense or x.dtype not in INPUT_KINDS:
            x = x.to(self.dtype)
        if self.dense and masks is not None and masks.input is not None:
            x = x * masks.input
        if x.stride(2) != 1:
            x = x.contiguous()
        kind = DENSE if self.dense else INPUT_KINDS[x.dtype]
        for frame in work.frames:
            head = frame.head
            head[f.INPUT], head[f.INPUT_KIND] = x.data_ptr(), kind
            head[f.INPUT_STEP] = x.stride(0) * x.element_size()
            head[f.INPUT_SAMPLE] = x.stride(1) * x.element_size()
        return x

    def give_masks(self, work: Work, masks: Masks | None) -> list[Any]:
        """Hand dropout over; returns what must stay alive."""
        given = (None,) * (1 + len(self.network.hidden))
        if masks is not None:
            given = (masks.input, *masks.layers)
        alive: list[Any] = []
        for index, mask in enumerate(given):
            if mask is None:
                words, gain = np.zeros(1, np.int64), None
            else:
                words = _words(mask.numpy() != 0, panels=index > 0)
                gain = torch.zeros(mask.shape[0], padded(mask.shape[1]), dtype=self.dtype)
                gain[:, : mask.shape[1]] = mask
                alive += [words, gain]
            for frame in work.frames:
                row = frame.table[index]
                row[f.KEEP] = 0 if mask is None else words.ctypes.data
                row[f.KEEP_PITCH] = words.strides[0]
                if index == 0:
                    frame.floats[0, f.SCALE] = (
                        1.0 if mask is None else 1.0 / (1.0 - self.network.input_dropout)
                    )
                    continue
                dropout = self.network.hidden[index - 1].dropout
                frame.floats[index, f.SCALE] = 1.0 if mask is None else 1.0 / (1.0 - dropout)
                row[f.GAIN] = row[f.ONES_ROW] if gain is None else gain.data_ptr()
                row[f.GAIN_PITCH] = 0 if gain is None else gain.stride(0) * gain.element_size()
        return alive

    def run(self, work: Work) -> None:
        """All sequences of a batch."""
        self.call(work, sequence.WHOLE, 0, work.shape.steps)

    def call(self, work: Work, task: int, start: int, steps: int) -> None:
        """One task of the kernel (`sequence.WHOLE` …) on `steps` steps from `start`, for every worker."""

        def one_worker(frame: Frame) -> None:
            addresses = (frame.head, frame.table, frame.floats, self.constants, frame.fired)
            sequence.run_range(self.one, *addresses, *frame.groups, task, start, steps)

        self.each(work, one_worker)

    def each(self, work: Work, task: Callable[[Frame], None]) -> None:
        """Run a task for every worker, in threads when there are several."""
        if self.pool is None or len(work.frames) == 1:
            for frame in work.frames:
                task(frame)
        else:
            list(self.pool.map(task, work.frames))

    def share(self, rows: int, task: Callable[[int, int], None]) -> None:
        """Split a range of rows among the threads, if there is enough of it."""
        if self.pool is None or rows < 64:
            task(0, rows)
            return
        cuts = [rows * k // self.threads for k in range(self.threads + 1)]
        list(self.pool.map(task, cuts[:-1], cuts[1:]))

    def measures(self, work: Work) -> Measures:
        """Sums over all workers."""
        flags = np.sum([frame.flags for frame in work.frames], axis=0)
        loss = sum(float(frame.loss[0]) for frame in work.frames)
        count = len(self.network.hidden)
        return Measures(loss, flags[2 : 2 + count], flags[34 : 34 + count], int(flags[65]))

    def saw_values(self, work: Work) -> bool:
        """Whether an input was neither 0 nor 1, so that lists of spikes do not describe it."""
        return any(frame.flags[0] for frame in work.frames)

    def settle(self, work: Work) -> None:
        """Choose products or spike lists for the next batch from the density of this one."""
        if not self.dense:
            cells = work.shape.steps * work.shape.batch * self.network.n_in
            self.dense = sum(int(frame.flags[f.INPUT_EVENTS]) for frame in work.frames) > DENSE_FROM * cells


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


__all__ = ["Execution", "Measures", "Work", "cut"]
