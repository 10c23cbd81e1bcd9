"""One step after the other, for streams that never end."""

import math

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.events.batch_shape import Shape
from neurofdfa.events.bound_batch import give_target
from neurofdfa.events.kernels import sequence
from neurofdfa.events.records import CAPACITY
from neurofdfa.events.session import KernelSession, PreparedBatch
from neurofdfa.events.support import why_not_network
from neurofdfa.events.tables import Frame
from neurofdfa.events.trainer import EventTrainer
from neurofdfa.nn.network import Network

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
        """Advance by one step."""
        y = _room(self.execution, self.work, x_t)
        self.work.frames[0].head.record_y = y.data_ptr()
        self.execution.bind(self.work, None)
        alive = self.execution.give_input(self.work, x_t.unsqueeze(0), None)
        self.execution.call(self.work, sequence.FORWARD, 0, 1)
        _refuse_values(self.execution, self.work.frames)
        del alive
        return y


class LearnStream:
    """Learning step by step, the same numbers as `Trainer(update_every=…)` in one endless sequence.

    learner: made with chunk=1. horizon: the loss of a step weighs 1/horizon, as in a sequence of that length.
    update_every: steps between updates of the weights. values: as for `RunStream`. Raises `UserError` for
    dropout, losses of the last step, and a readout that never forgets (its traces would grow for ever).

    >>> stream = LearnStream(EventTrainer(network, FDFA(), chunk=1), batch=1)
    >>> for x_t, target in events:         # x_t [B, n_in], target [B] or [B, k]
    ...     y = stream.step(x_t, target)
    """

    def __init__(
        self,
        learner: EventTrainer,
        batch: int = 1,
        *,
        horizon: int = 100,
        update_every: int = 1,
        values: bool = False,
    ) -> None:
        network = learner.network
        if horizon < 1 or update_every < 1:
            raise UserError("a stream needs horizon and update_every of at least 1")
        _check_batch(batch)
        if learner.execution.chunk != 1:
            raise UserError("a stream goes step by step: make its EventTrainer with chunk=1")
        if network.readout.kappa >= 1.0:
            raise UserError('a stream needs a readout that forgets: readout="leaky" with a tau_out')
        if network.input_dropout or any(layer.dropout for layer in network.hidden):
            raise UserError("a stream has no sequences to draw dropout for: set dropout to 0")
        if learner.loss.when != "every-step":
            raise UserError("a stream has no last step and no window: take a loss at every step")
        if learner.teaching.per_synapse or getattr(learner.rule, "weighting", "uniform") != "uniform":
            raise UserError("a stream has traces per neuron and a feedback that all steps count alike for")
        if learner.update_every is not None:
            raise UserError("a stream has an update_every of its own: make its EventTrainer without")
        if learner.team.size > 1:
            raise UserError("a stream is learnt by one process")
        self.learner, self.batch, self.update_every = learner, batch, update_every
        self.t, self.last, self.pending = 0, _settled(network) - 2, 0
        self.share = Shard(batch)
        learner.rule_state, self.observed = learner.teaching.begin(learner.rule_state, self.share)
        probed = 0 if self.observed is None else self.observed.count
        self.work = learner.frames_for(self.last + 2, batch, probed)
        learner.execution.dense = values
        learner.step_weight = 1.0 / horizon
        for frame in self.work.frames:
            frame.head.share = learner.step_weight
        learner.execution.give_masks(self.work, None)
        learner.execution.call(self.work, sequence.CLEAR, 0, 0)

    @torch.no_grad()
    def step(self, x_t: Tensor, target: Tensor) -> Tensor:
        """Learn from one step; returns y before the update, `[B, k]`."""
        learner, work, execution = self.learner, self.work, self.learner.execution
        start = min(self.t, self.last)  # from there on, traces of a constant and of the probes are settled
        y = _room(execution, work, x_t)
        target = give_target(work, learner.loss, learner.network.n_out, target)
        alive = [target, learner.give_probes(work, 1, self.share, self.observed)]
        learner.bind(work)
        alive.append(execution.give_input(work, x_t.unsqueeze(0), None))
        for frame in work.frames:
            frame.head.record_y = y.data_ptr() - start * y.numel() * y.element_size()
            frame.head.input_step = 0
            for row in frame.layers[1:-1]:
                if row.given:
                    row.given -= start * work.shape.probed * row.n * y.element_size()
        learner.run_chunk(work, start, 1, self.share)
        _refuse_values(execution, work.frames)
        self.t, self.pending = self.t + 1, self.pending + 1
        if self.pending == self.update_every:
            learner.collect(work)
            learner.finish(
                learner.teaching.touched(work.shape.probed > 0),
                self.pending,
                self.pending * learner.step_weight,
            )
            self.pending = 0
        return y


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= CAPACITY:
        raise UserError(f"a stream takes 1 to {CAPACITY} samples side by side, got {batch}")


def _room(execution: KernelSession, work: PreparedBatch, x_t: Tensor) -> Tensor:
    batch, n = work.shape.batch, execution.network.n_in
    if tuple(x_t.shape) != (batch, n):
        raise UserError(f"a step of this stream is [{batch}, {n}], got {list(x_t.shape)}")
    return torch.empty(batch, execution.network.n_out, dtype=execution.dtype)


def _refuse_values(execution: KernelSession, frames: tuple[Frame, ...]) -> None:
    if not execution.dense and any(frame.flags[0] for frame in frames):
        raise UserError("this stream takes spikes, 0 or 1: make it with values=True for other numbers")


def _settled(network: Network) -> int:
    """Steps after which what decays has gone, to rounding; cascades take somewhat longer."""
    neurons = [layer.neuron for layer in network.hidden]
    slowest = max(network.readout.kappa, *(d for lif in neurons for d in (lif.alpha, lif.beta)))
    steps = 2 if slowest <= 0 else math.ceil(1.5 * math.log(1e-15) / math.log(slowest)) + 2
    if steps > LONGEST:
        raise UserError(f"time constants of more than {LONGEST // 50} steps are too long for a stream")
    return max(steps, 3)
