"""The event-driven execution of `neurofdfa.train.online`: same calls, same numbers, far less work."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.data.event_lists import Events
from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.events.batch_shape import Shape, room_for
from neurofdfa.events.bound_batch import give_lengths, give_target, has_values
from neurofdfa.events.feedback_binding import FeedbackBinding, Probes
from neurofdfa.events.inference import run
from neurofdfa.events.kernels import sequence
from neurofdfa.events.measured import batch_stats
from neurofdfa.events.notice import fall_back
from neurofdfa.events.optimizer import OnePass
from neurofdfa.events.parameters import Gradients
from neurofdfa.events.relevance import filter_back
from neurofdfa.events.session import KernelSession, PreparedBatch
from neurofdfa.events.support import LOSS_KINDS, weighted, why_not
from neurofdfa.events.weight_layout import learnt_by
from neurofdfa.nn.loss import SpikeCountError, answer_step, first_step
from neurofdfa.nn.network import Masks, Trajectory
from neurofdfa.rules.traces import bind_path
from neurofdfa.train.batch import BatchStats, densely
from neurofdfa.train.finite import check_gradients, check_loss
from neurofdfa.train.learning import Learning
from neurofdfa.train.online import OnlineLoop

UNEQUAL = "the event engine weighs estimates of samples of one length, and these have lengths of their own"


class EventEngine:
    """Executes a learner event by event: the numbers of `neurofdfa.train.online.OnlineLoop`, far sooner.

    threads: how many to use. chunk: steps between which errors are filtered back (None: as many as fit, at
    most 128). probes: "counter" draws a rule's probes from a counter-based generator seeded by the learner's;
    "reference" draws the very numbers that the reference draws, which is slower. update_every: steps between
    updates, None for one at the end of a sequence. Raises `UserError` for what it does not execute.
    """

    takes_events: ClassVar[bool] = True

    def __init__(
        self,
        learning: Learning,
        threads: int = 1,
        chunk: int | None = None,
        probes: Probes = "counter",
    ) -> None:
        reason = why_not(learning)
        if reason is not None:
            raise UserError(reason)
        self.learning = learning
        self.network, self.rule, self.group = learning.network, learning.rule, learning.group
        self.loss, self.rate_regulariser = learning.loss, learning.rate_regulariser
        self.update_every = learning.update_every
        self.execution = KernelSession(self.network, threads, chunk)
        self.teaching = FeedbackBinding(self.network, self.rule, learning.rule_state, probes)
        matrices, averaged = self.teaching.matrices, self.teaching.averaged
        self.gradient = Gradients(learnt_by(self.teaching.kind, self.network, matrices), threads)
        learnt = [p for p in learning.parameters if id(p) in self.gradient.of]
        self._one_pass = OnePass(self.execution, self.gradient, learnt, averaged)
        self._reference = OnlineLoop(learning)
        """What learns from samples of unequal lengths where estimates are weighed."""
        self.step_weight = 1.0
        """Part of a sequence that one step is."""
        traces = [bind_path(self.rule.trace, self.network, k) for k in range(len(self.network.hidden))]
        self._paths = [x.path for x in traces] if self.teaching.per_synapse else []
        """Decays of the layers above each hidden layer, where a trace is filtered by them."""

    @torch.no_grad()
    def train(self, x: Tensor | Events, target: Tensor, lengths: Tensor | None = None) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]` or `Events`; target, lengths: as for
        `Trainer`.
        """
        if lengths is not None and weighted(self.rule):
            fall_back(UNEQUAL)
            return self._reference.train(densely(self.network, x), target, lengths)
        share = Shard(x.shape[1], self.group)
        masks = self.network.draw_masks(share.total, self.learning.generator)
        if masks is not None:
            masks = masks.select(share.rows)
        wanted = share.rows(target, 1 if target.dim() == 3 else 0)
        part = x.rows(share.mine) if isinstance(x, Events) else share.rows(x, 1)
        updating = self._every(x.shape[0]) > 0
        work, stats = self._pass(part, wanted, masks, share, lengths, updating=updating)
        steps = work.shape.steps
        every = self._every(steps)
        left = steps % every if every else steps
        if left:
            self._update_from(work, steps - left, left, share, stats)
        else:
            self.group.sum_(stats)
        return stats

    @torch.no_grad()
    def gradients(
        self, x: Tensor | Events, target: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer, in the order of `network.parameters()`."""
        if lengths is not None and weighted(self.rule):
            fall_back(UNEQUAL)
            return self._reference.gradients(densely(self.network, x), target, lengths)
        known = self.gradient.of
        try:
            with self.learning.trial():
                self._pass(x, target, None, Shard(x.shape[1]), lengths)
                return tuple(
                    self.gradient.take(p) if id(p) in known else torch.zeros_like(p)
                    for p in self.network.parameters()
                )
        finally:
            self.gradient.clear()

    def run(self, x: Tensor | Events) -> Trajectory:
        """Inference."""
        return run(self.network, x, threads=self.execution.threads)

    def abandon(self) -> None:
        """Forget a sequence that was interrupted."""
        self._reference.abandon()
        self.gradient.clear()

    @property
    def habits(self) -> dict[str, bool]:
        """Whether inputs are multiplied as a whole, since lists of their spikes would be long."""
        return {"dense": self.execution.dense}

    def resume(self, habits: dict[str, bool]) -> None:
        """Multiply inputs as before."""
        self.execution.dense = habits.get("dense", False)

    def _pass(
        self,
        x: Tensor | Events,
        target: Tensor,
        masks: Masks | None,
        share: Shard,
        lengths: Tensor | None,
        *,
        updating: bool = False,
    ) -> tuple[PreparedBatch, BatchStats]:
        """Forward, errors and gradients of the samples here, as means over them.

        lengths: theirs, `[B]`, where they differ. updating: weights learn every `update_every` steps, and the
        gradients are what is left at the end.
        """
        execution = self.execution
        batch = x.shape[1]
        steps = x.shape[0] if lengths is None else room_for(x.shape[0])
        self.learning.rule_state, observed = self.teaching.begin(self.learning.rule_state, share)
        probed = 0 if observed is None else observed.count
        work = self.frames_for(steps, batch, probed, own=lengths is not None)
        windows = give_lengths(work, self.loss, lengths)
        alive = [execution.give_masks(work, masks), give_target(work, self.loss, self.network.n_out, target)]
        alive.append(self.give_probes(work, x.shape[0], share, observed, lengths))
        self.bind(work)
        self.step_weight = 1.0 / steps
        rates = self.learning.rates
        if updating and self._agreed(share, not execution.dense and has_values(x)):
            execution.dense = True  # what has been learnt cannot be undone: look before
        alive.append(self._run(work, x, masks, share, lengths, updating))
        if not updating and self._agreed(share, execution.saw_values(work)):
            execution.dense, self.learning.rates = True, rates
            self.gradient.clear()
            alive.append(self._run(work, x, masks, share, lengths, updating))
        self.collect(work)
        self.learning.rule_state = self.teaching.take_seen(work, self.learning.rule_state)
        answers = steps - answer_step(self.loss.when, steps)
        stats = batch_stats(self.network, work, execution.measures(work), share, windows, answers)
        execution.settle(work, steps * batch if lengths is None else int(lengths.sum()))
        return work, stats

    def collect(self, work: PreparedBatch) -> None:
        """Sum the gradients of all threads."""
        workers, one = len(work.frames), self.execution.one
        if workers > 1:
            self.execution.spread(lambda share, shares: self.gradient.collect(workers, one, share, shares))
        self.gradient.settle()

    def frames_for(
        self, steps: int, batch: int, probed: int, *, carried: bool = False, own: bool = False
    ) -> PreparedBatch:
        """What the kernels need for batches of a shape. carried: traces per synapse go from chunk to chunk;
        own: samples have lengths of their own.
        """
        execution = self.execution
        size = 4 if execution.dtype == torch.float32 else 8
        shape = Shape(
            steps, batch, size, True, self.teaching.kind, probed, self.teaching.stages,
            self.rate_regulariser.strength > 0, self._every(steps), execution.workers(steps, batch),
            self.teaching.per_synapse, carried or (self.teaching.per_synapse and self._every(steps) > 0),
            execution.general, own,
        )  # fmt: skip
        fresh = shape not in execution.works
        work = execution.work(shape, filtered=self.teaching.filtered)
        if fresh:
            for frame in work.frames:
                frame.head.loss = LOSS_KINDS[type(self.loss)]
                frame.head.loss_from = first_step(self.loss.when, steps)
                frame.head.share = 1.0 / (steps - frame.head.loss_from)
                if isinstance(self.loss, SpikeCountError):
                    frame.head.correct, frame.head.wrong = self.loss.correct, self.loss.wrong
                frame.head.scores_from = answer_step(self.loss.when, steps)
            self.teaching.write(work)
        return work

    def give_probes(
        self,
        work: PreparedBatch,
        steps: int,
        share: Shard,
        observed: Shard | None,
        lengths: Tensor | None = None,
    ) -> list[Tensor]:
        """Probes of the next `steps` steps; returns what must stay alive."""
        state, generator = self.learning.rule_state, self.learning.generator
        return self.teaching.give_probes(work, state, steps, share, observed, lengths, generator)

    def bind(self, work: PreparedBatch) -> None:
        """Bring all copies up to date, and tell the records of a shape once where everything lies."""
        self.teaching.refresh()
        if self.execution.bind(work, self.gradient):
            self.teaching.bind(work, self.gradient)

    def _agreed(self, share: Shard, values: bool) -> bool:
        """Whether spike lists do not describe the input. Who exchanges rates decides together."""
        saw = values and not self.execution.dense
        if self.rate_regulariser.strength == 0:
            return saw
        seen = torch.tensor(float(saw))
        share.group.sum_([seen])
        return bool(seen)

    def _run(
        self,
        work: PreparedBatch,
        x: Tensor | Events,
        masks: Masks | None,
        share: Shard,
        lengths: Tensor | None,
        updating: bool,
    ) -> Any:
        execution = self.execution
        alive = execution.give_input(work, x, masks)
        if lengths is not None:
            self._run_unequal(work, lengths)
        elif self.rate_regulariser.strength > 0 or updating:
            self._run_chunks(work, share, updating)
        else:
            execution.run(work)
        return alive

    def _run_unequal(self, work: PreparedBatch, lengths: Tensor) -> None:
        """Samples that have lengths of their own; the rate target pulls alike in all of their steps."""
        execution, target, rates = self.execution, self.rate_regulariser, self.learning.rates
        pulls = list(enumerate(rates if target.strength > 0 else (), 1))
        for index, rate in pulls:
            pull, places = target.signal(rate).numpy() / work.shape.batch, execution.places[index - 1]
            for frame in work.frames:
                table = frame.extra(index)
                share = np.ones((len(table), 1))
                if self.teaching.per_synapse:
                    filter_back(share, frame.head.error_kappa, self._paths[index - 1])
                table[:, places] = share * pull
                frame.step_counts(index).fill(0)
        execution.run(work)
        if pulls:
            fired = [self._fired(work, index).sum(0) for index, _ in pulls]
            self.learning.rates = target.observe_all(rates, fired, lengths)

    def _run_chunks(self, work: PreparedBatch, share: Shard, updating: bool) -> None:
        """Chunk by chunk for the whole batch: the rate target's signal needs every sample's spikes first, and
        so do updates inside a sequence.
        """
        steps = work.shape.steps
        chunk = steps if work.shape.backwards else work.frames[0].head.chunk
        self.execution.call(work, sequence.CLEAR, 0, 0)
        for start in range(0, steps, chunk):
            self.run_chunk(work, start, min(chunk, steps - start), share)
            end = start + chunk
            if updating and self.update_every and end <= steps and end % self.update_every == 0:
                self.collect(work)
                self._update_from(work, end - self.update_every, self.update_every, share, ())
                self.bind(work)

    def _every(self, steps: int) -> int:
        """Steps between updates inside a sequence of so many, 0 where there are none."""
        return self.update_every if self.update_every is not None and self.update_every <= steps else 0

    def _update_from(
        self, work: PreparedBatch, start: int, count: int, share: Shard, stats: Sequence[Tensor]
    ) -> None:
        """Learn from the gradients of `count` steps of every process."""
        touched = self.teaching.touched(work.shape.probed > 0)
        steps = work.shape.steps
        first = first_step(self.loss.when, steps)
        told = max(0, start + count - max(start, first)) / (steps - first)
        self._combine(touched, stats, share)
        if stats:
            check_loss(stats[0])
        self.finish(touched, count, told)

    def run_chunk(self, work: PreparedBatch, start: int, length: int, share: Shard) -> None:
        """Forward and gradients of one chunk for the whole batch, going on from the last one's state."""
        execution, target = self.execution, self.rate_regulariser
        regulated = target.strength > 0
        indices = range(1, len(self.learning.rates) + 1 if regulated else 1)
        for frame in work.frames:
            for index in indices:
                frame.step_counts(index).fill(0)
        execution.call(work, sequence.FORWARD, start, length)
        fired = [self._fired(work, index)[:length].double() / work.shape.batch for index in indices]
        rates: list[NDArray[np.float64]] = []
        for index, seen in enumerate(share.mean(fired) if regulated else (), 1):
            averages = target.averages(self.learning.rates[index - 1].double().numpy(), seen.numpy())
            rates.append(averages[-1])
            pull = target.strength * (averages - target.rate) * self.step_weight / work.shape.batch
            if self.teaching.per_synapse:
                filter_back(pull, work.frames[0].head.error_kappa, self._paths[index - 1])
            for frame in work.frames:
                frame.extra(index)[:length, execution.places[index - 1]] = pull
        execution.call(work, sequence.LEARN_FROM, start, length)
        if regulated:
            self.learning.rates = tuple(
                torch.as_tensor(rate, dtype=old.dtype)
                for rate, old in zip(rates, self.learning.rates, strict=True)
            )

    def _fired(self, work: PreparedBatch, index: int) -> Tensor:
        """How many of the samples here fired, by step and neuron of a layer."""
        counts = np.sum([frame.step_counts(index) for frame in work.frames], axis=0)
        return torch.from_numpy(counts[:, self.execution.places[index - 1]])  # pyright: ignore[reportUnknownMemberType]

    def _combine(self, touched: bool, stats: Sequence[Tensor], share: Shard) -> None:
        """From means over the samples here to means over the batch, in one message with the stats."""
        if self.group.size == 1:
            return
        weights = [p for p in self.network.parameters() if id(p) in self.gradient.of]
        parts = [self.gradient.flat(p).mul_(share.weight) for p in weights]
        if touched:
            parts += self.teaching.parts(self.gradient, share)
        self.group.sum_([*parts, *stats])

    def finish(self, touched: bool, count: int, told: float) -> None:
        """Optimizer steps, as `Learning.update` makes them.

        touched: whether the feedback has gradients; count: time steps since the last update; told: Σ of the
        loss's weights over them. Raises `Diverged`, before anything is updated, for gradients that are not
        finite.
        """
        learnt = (*self.learning.parameters, *(self.teaching.matrices if touched else ()))
        if not self.gradient.finite():  # or their sum overflows: then a closer look finds nothing
            known = self.gradient.of
            check_gradients(self.network, [(p, self.gradient.flat(p)) for p in learnt if id(p) in known])
        self.learning.updates += 1
        plain, average = self._one_pass.fits(self.learning.optimizer), None
        if not plain:
            for p in self._one_pass.learnt:
                p.grad = self.gradient.take(p)
                self.gradient.flat(p).zero_()
            self.learning.optimizer.step()
            for p in self._one_pass.learnt:
                p.grad = None
        teacher = self.learning.feedback_optimizer if touched else None
        if teacher is not None:
            self.learning.follow_schedule()
            average = self.teaching.average(self.learning.rule_state, teacher, self.step_weight, count)
        self._one_pass.step(self.learning.optimizer if plain else None, average)
        if teacher is not None and average is None:
            self.teaching.take_gradients(
                self.gradient, self.learning.rule_state, self.step_weight, count, told
            )
            teacher.step()
            for b in self.teaching.matrices:
                b.grad = None
        self.learning.decay(self.teaching.matrices if teacher is not None else ())
        self.learning.check_weights()
