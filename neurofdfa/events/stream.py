"""One step after the other, for streams that never end."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.events.batch_shape import Shape
from neurofdfa.events.bound_batch import give_target
from neurofdfa.events.feedback_binding import Probes
from neurofdfa.events.kernels import sequence
from neurofdfa.events.records import CAPACITY
from neurofdfa.events.session import KernelSession, PreparedBatch
from neurofdfa.events.support import weighted, why_not_carried, why_not_network
from neurofdfa.events.trainer import EventEngine
from neurofdfa.nn.network import Network
from neurofdfa.train.batch import BatchStats, prepare_target
from neurofdfa.train.finite import check_data, check_loss
from neurofdfa.train.learning import Learning
from neurofdfa.train.stream import broken_off, check_open, check_step

LONGEST = 200_000


class RunStream:
    """Inference step by step: `y = stream.step(x_t)`, x_t `[B, n_in]` of 0 and 1, y `[B, k]`.

    values: take any numbers instead (products in place of spike lists). Raises `UserError` for networks that
    the event engine does not run.
    """

    def __init__(self, network: Network, batch: int = 1, *, values: bool = False) -> None:
        reason = why_not_network(network)
        if reason is not None:
            raise UserError(reason)
        _check_batch(batch)
        self.execution = KernelSession(network, 1, 1)
        self.execution.dense = values
        size = 4 if self.execution.dtype == torch.float32 else 8
        layers = len(network.hidden)
        self.work = self.execution.work(Shape(1, batch, size, False, "none", 0, (0,) * layers, False, 0, 1))
        self.execution.call(self.work, sequence.CLEAR, 0, 0)

    def step(self, x_t: Tensor) -> Tensor:
        """Advance by one step. Raises `UserError`, before anything has moved, for inputs that do not fit."""
        y = _room(self.execution, self.work, x_t)
        _check_spikes(self.execution, x_t)
        check_data("inputs", x_t)
        self.work.frames[0].head.record_y = y.data_ptr()
        self.execution.bind(self.work, None)
        alive = self.execution.give_input(self.work, x_t.unsqueeze(0), None)
        self.execution.call(self.work, sequence.FORWARD, 0, 1)
        del alive
        return y


class LearnStream:
    """Learning step by step on the event engine, see `neurofdfa.train.trainer.Trainer.stream`: the numbers of
    a sequence without end, of which every step's loss weighs 1/horizon. `why_not_stream` says what it
    refuses.
    """

    def __init__(self, learning: Learning, batch: int, *, horizon: int, values: bool, probes: Probes) -> None:
        network = learning.network
        self.learning, self.batch, self.update_every = learning, batch, learning.update_every
        self.ended, self.t, self.last, self.pending = False, 0, _settled(network) - 2, 0
        self.engine = learner = EventEngine(learning, 1, 1, probes)
        learner.update_every = None
        self.share = Shard(batch)
        learning.rule_state, self.observed = learner.teaching.begin(learning.rule_state, self.share)
        probed = 0 if self.observed is None else self.observed.count
        carried = learner.teaching.per_synapse
        self.work = learner.frames_for(self.last + 2, batch, probed, carried=carried)
        learner.execution.dense = values
        learner.step_weight = 1.0 / horizon
        for frame in self.work.frames:
            frame.head.share = learner.step_weight
        learner.execution.give_masks(self.work, None)
        learner.execution.call(self.work, sequence.CLEAR, 0, 0)

    @torch.no_grad()
    def step(self, x_t: Any, target_t: Any) -> Tensor:
        """Learn from one step; returns y before the update, `[B, k]`."""
        check_open(self.ended)
        learner, work, execution = self.engine, self.work, self.engine.execution
        start = min(self.t, self.last)  # from there on, traces of a constant and of the probes are settled
        x_t = check_step(self.learning, x_t, self.batch)
        y = _room(execution, work, x_t)
        _check_spikes(execution, x_t)
        target = prepare_target(self.learning.network, self.learning.loss, target_t, self.batch, None)
        target = give_target(work, self.learning.loss, self.learning.network.n_out, target)
        alive = [target, learner.give_probes(work, 1, self.share, self.observed)]
        learner.bind(work)
        alive.append(execution.give_input(work, x_t.unsqueeze(0), None))
        for frame in work.frames:
            frame.head.record_y = y.data_ptr() - start * y.numel() * y.element_size()
            frame.head.input_step = 0
            for row in frame.layers[1:-1]:
                if row.given:
                    row.given -= start * work.shape.probed * row.n * y.element_size()
        with broken_off(self):
            learner.run_chunk(work, start, 1, self.share)
            self.t, self.pending = self.t + 1, self.pending + 1
            if self.pending == self.update_every:
                self._update()
        return y

    @torch.no_grad()
    def end(self) -> BatchStats:
        """Apply what is left to apply, close the stream and report means over its steps."""
        check_open(self.ended)
        self.ended = True
        learner, steps = self.engine, max(1, self.t)
        measures = learner.execution.measures(self.work)
        loss = torch.tensor(measures.loss, dtype=learner.execution.dtype)
        with broken_off(self):
            check_loss(loss)
            if self.pending:
                self._update()
        network, dtype = self.learning.network, learner.execution.dtype
        cells = np.array([steps * self.batch * layer.n for layer in network.hidden])
        filling = self.work.filling * steps / self.work.shape.steps
        mean = network.readout.decode == "mean"
        scores = self.work.scores[:, : network.n_out] / (steps if mean else 1)
        return BatchStats(
            loss,
            scores.clone(),
            torch.as_tensor(measures.spikes / cells, dtype=dtype),
            torch.as_tensor((measures.zeros - filling) / cells, dtype=dtype),
        )

    def _update(self) -> None:
        learner = self.engine
        learner.collect(self.work)
        learner.finish(
            learner.teaching.touched(self.work.shape.probed > 0),
            self.pending,
            self.pending * learner.step_weight,
        )
        self.pending = 0


def why_not_stream(learning: Learning, batch: int) -> str | None:
    """Why the engine cannot learn step by step for ever as this learner does, or None if it can."""
    network = learning.network
    if batch > CAPACITY:
        return f"a stream takes 1 to {CAPACITY} samples side by side on the event engine, got {batch}"
    if network.readout.kappa >= 1.0:
        return 'a stream on the event engine needs a readout that forgets: readout="leaky" with a tau_out'
    if network.input_dropout or any(layer.dropout for layer in network.hidden):
        return "a stream on the event engine has no sequences to draw dropout for: set dropout to 0"
    if learning.loss.when != "every-step":
        return "a stream on the event engine has no last step and no window: take a loss at every step"
    if weighted(learning.rule):
        return "a stream on the event engine has a feedback that all steps count alike for"
    if reason := why_not_carried(network, learning.rule.trace):
        return reason
    if learning.group.size > 1:
        return "a stream on the event engine is learnt by one process"
    return None


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= CAPACITY:
        raise UserError(f"a stream takes 1 to {CAPACITY} samples side by side, got {batch}")


def _room(execution: KernelSession, work: PreparedBatch, x_t: Tensor) -> Tensor:
    batch, n = work.shape.batch, execution.network.n_in
    if tuple(x_t.shape) != (batch, n):
        raise UserError(f"a step of this stream is [{batch}, {n}], got {list(x_t.shape)}")
    return torch.empty(batch, execution.network.n_out, dtype=execution.dtype)


def _check_spikes(execution: KernelSession, x_t: Tensor) -> None:
    if not execution.dense and not torch.equal(x_t * x_t, x_t):
        raise UserError("this stream takes spikes, 0 or 1: make it with values=True for other numbers")


def _settled(network: Network) -> int:
    """Steps after which what decays has gone, to rounding; cascades take somewhat longer."""
    neurons = [layer.neuron for layer in network.hidden]
    slowest = max(network.readout.kappa, *(d for lif in neurons for d in (lif.alpha, lif.beta)))
    steps = 2 if slowest <= 0 else math.ceil(1.5 * math.log(1e-15) / math.log(slowest)) + 2
    if steps > LONGEST:
        raise UserError(f"time constants of more than {LONGEST // 50} steps are too long for a stream")
    return max(steps, 3)
