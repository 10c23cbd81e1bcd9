"""The event-driven execution of `neurofdfa.learner.Learner`: same calls, same numbers, far less work."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from neurofdfa.engine import fields as f
from neurofdfa.engine.constants import fill_probes
from neurofdfa.engine.execution import Execution, Work
from neurofdfa.engine.given import give_target, outline, point_at_probes
from neurofdfa.engine.kernels import sequence
from neurofdfa.engine.measured import batch_stats
from neurofdfa.engine.native import Events
from neurofdfa.engine.optimizer import OnePass, even, plain_adam, running_average
from neurofdfa.engine.parameters import Gradients, Packed, learnt_by
from neurofdfa.engine.relevance import filter_back, give_relevance, seen_errors
from neurofdfa.engine.support import LOSS_KINDS
from neurofdfa.engine.tables import Shape
from neurofdfa.errors import UserError
from neurofdfa.homeostasis import RateTarget
from neurofdfa.learner import BatchStats, Learner, check_batch
from neurofdfa.loss import Loss, SpikeCountError, answer_step, first_step
from neurofdfa.network import Masks, Network
from neurofdfa.signal.dkp import DKP
from neurofdfa.signal.fdfa import FDFA
from neurofdfa.signal.interface import OptimizerFactory, Rule
from neurofdfa.signal.readout_only import ReadoutOnly
from neurofdfa.team import ALONE, Share, Team
from neurofdfa.trace import PerSynapse

Probes = Literal["counter", "reference"]


class EventLearner(Learner):
    """Trains like `Learner`, event by event. `begin`, `step` and `end` are the reference's own.

    threads: how many to use (None: as many as torch). chunk: steps between which errors are filtered back
    (None: as many as fit, at most 128). probes: "counter" draws FDFA's signs from a counter-based generator
    seeded by `generator`; "reference" draws the very numbers that the reference draws, which is slower.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule[Any],
        optimizer: OptimizerFactory | None = None,
        *,
        loss: Loss | None = None,
        rate_target: RateTarget | None = None,
        generator: torch.Generator | None = None,
        threads: int | None = None,
        chunk: int | None = None,
        probes: Probes = "counter",
        team: Team = ALONE,
    ) -> None:
        super().__init__(
            network, rule, optimizer, loss=loss, rate_target=rate_target, generator=generator, team=team
        )
        if chunk is not None and chunk < 1:
            raise UserError(f"chunk must be at least 1 step, got {chunk}")
        self.probes: Probes = probes
        self.execution = Execution(network, threads or torch.get_num_threads(), chunk)
        self._matrices: tuple[Tensor, ...] = () if isinstance(rule, ReadoutOnly) else self.rule_state.matrices
        self._feedback = [Packed(b, transposed=True) for b in self._matrices]
        self._kind = "dkp" if isinstance(rule, DKP) else "fdfa" if isinstance(rule, FDFA) else "broadcast"
        if isinstance(rule, ReadoutOnly):
            self._kind = "none"
        self.gradient = Gradients(learnt_by(self._kind, network, self._matrices), self.execution.threads)
        learnt = [p for p in network.parameters() if id(p) in self.gradient.of]
        averaged = self._feedback if self._kind == "fdfa" else []
        self._one_pass = OnePass(self.execution, self.gradient, learnt, averaged)
        self._stages: tuple[int, ...] = ()
        if isinstance(rule, FDFA):
            self._stages = tuple(sum(1 for d in kernel if d) for kernel in rule.kernels(network))
        self.execution.constants[0] = network.readout.kappa
        if isinstance(self.loss, SpikeCountError):
            self.execution.constants[1:3] = self.loss.correct, self.loss.wrong
        self.step_weight = 1.0
        """Part of a sequence that one step is."""
        self.whole_trace = isinstance(rule.trace, PerSynapse)
        """A trace per synapse; sequences longer than a chunk run the reference."""
        self._longest = min(chunk or f.CAPACITY, f.CAPACITY)
        self._counted: Tensor | None = None
        """Σ of the weights of a batch's estimates, over steps, per output; None where each weighs 1."""

    @torch.no_grad()
    def train(self, x: Tensor | Events, target: Tensor) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]` or `Events`; target: as for `Learner`."""
        check_batch(self.network, outline(x), target)
        if self.whole_trace and x.shape[0] > self._longest:
            return super().train(self._dense(x), target)
        share = Share(x.shape[1], self.team)
        masks = self.network.draw_masks(share.total, self.generator)
        if masks is not None:
            masks = masks.select(share.rows)
        wanted = share.rows(target, 1 if target.dim() == 3 else 0)
        part = x.rows(share.mine) if isinstance(x, Events) else share.rows(x, 1)
        work, stats = self._pass(part, wanted, masks, share)
        self._combine(work.shape.probed > 0, stats, share)
        self.finish(work.shape.probed > 0, work.shape.steps)
        return stats

    @torch.no_grad()
    def gradients(self, x: Tensor | Events, target: Tensor) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer, in the order of `network.parameters()`."""
        check_batch(self.network, outline(x), target)
        if self.whole_trace and x.shape[0] > self._longest:
            return super().gradients(self._dense(x), target)
        kept = (self.rule_state, self.rates, self.generator.get_state())
        self._pass(x, target, None, Share(x.shape[1]))
        known = self.gradient.of
        result = tuple(
            self.gradient.take(p) if id(p) in known else torch.zeros_like(p)
            for p in self.network.parameters()
        )
        self.gradient.clear()
        self.rule_state, self.rates = kept[:2]
        self.generator.set_state(kept[2])
        return result

    def _pass(
        self, x: Tensor | Events, target: Tensor, masks: Masks | None, share: Share
    ) -> tuple[Work, BatchStats]:
        """Forward, errors and gradients of the samples here, as means over them."""
        execution = self.execution
        steps, batch = x.shape[:2]
        observed = self.count_batch(share)
        work = self.frames_for(steps, batch, 0 if observed is None else observed.count)
        alive = [execution.give_masks(work, masks), give_target(work, self.loss, self.network.n_out, target)]
        alive.append(self.give_probes(work, steps, share, observed))
        self.bind(work)
        self.step_weight = 1.0 / steps
        execution.constants[f.SHARE] = 1.0 / (steps - first_step(self.loss.when, steps))
        rates = self.rates
        alive.append(self._run(work, x, masks, share))
        if self._saw_values(work, share):
            execution.dense, self.rates = True, rates
            self.gradient.clear()
            alive.append(self._run(work, x, masks, share))
        self.collect(work)
        self._take_seen(work)
        answers = steps - answer_step(self.loss.when, steps)
        stats = batch_stats(self.network, work, execution.measures(work), share, answers)
        execution.settle(work)
        return work, stats

    def collect(self, work: Work) -> None:
        """Sum the gradients of all threads."""
        workers, one = len(work.frames), self.execution.one
        if workers > 1:
            self.execution.spread(lambda share, shares: self.gradient.collect(workers, one, share, shares))

    def _dense(self, x: Tensor | Events) -> Tensor:
        return x.dense(self.execution.dtype) if isinstance(x, Events) else x

    def count_batch(self, share: Share) -> Share | None:
        """Count the batch as the rule does; returns the samples that carry tangents."""
        if not isinstance(self.rule, FDFA):
            return None
        state = self.rule.begin(self.network, self.rule_state, share)
        self.rule_state = state._replace(tangent=None, noise=(), kernels=())
        return None if state.tangent is None else self.rule.probed(share)

    def frames_for(self, steps: int, batch: int, probed: int) -> Work:
        """What the kernels need for batches of one shape."""
        execution = self.execution
        size = 4 if execution.dtype == torch.float32 else 8
        shape = Shape(
            steps, batch, size, True, self._kind, probed, self._stages, self.rate_target.strength > 0,
            execution.workers(steps, batch),
        )  # fmt: skip
        fresh = shape not in execution.works
        filtered = getattr(self.rule.trace, "filtered", False) and not self.whole_trace
        work = execution.work(shape, filtered=filtered)
        if fresh:
            for frame in work.frames:
                frame.head[f.LOSS] = LOSS_KINDS[type(self.loss)]
                frame.head[f.LOSS_FROM] = first_step(self.loss.when, steps)
                frame.head[f.SCORES_FROM] = answer_step(self.loss.when, steps)
                frame.head[f.WHOLE_TRACE] = self.whole_trace
                frame.head[f.DOWNSTREAM] = getattr(self.rule.trace, "downstream", False)
                if probed and isinstance(self.rule, FDFA):
                    fill_probes(frame, self.network, self.rule)
        return work

    def give_probes(self, work: Work, steps: int, share: Share, observed: Share | None) -> list[Tensor]:
        """Seed of the probes, or the probes themselves."""
        rule = self.rule
        if not isinstance(rule, FDFA) or observed is None:
            return []
        give_relevance(work, self.rule_state.relevance)
        if self.probes == "reference" or rule.probe == "gaussian":
            drawn = [[rule.draw(observed, b, self.generator) for b in self._matrices] for _ in range(steps)]
            given = [torch.stack([step[k] for step in drawn]) for k in range(len(self._matrices))]
            point_at_probes(work, share, 0, given)
            return given
        seed = torch.randint(-(2**62), 2**62, (1,), generator=self.generator, device=self.generator.device)
        point_at_probes(work, share, int(seed), [])
        return []

    def _take_seen(self, work: Work) -> None:
        """What the probed samples' errors were, for the weights of this batch and for the relevance."""
        self._counted = None
        relevance = getattr(self.rule_state, "relevance", None)
        if relevance is not None and work.shape.probed:
            seen, self._counted = seen_errors(work, relevance)
            self.rule_state = self.rule_state._replace(seen=self.rule_state.seen + seen / work.shape.steps)

    def bind(self, work: Work) -> None:
        """Bring all copies up to date, and tell the tables of a shape once where everything lies."""
        for kept in self._feedback:
            kept.refresh()
        if not self.execution.bind(work, self.gradient):
            return
        for worker, frame in enumerate(work.frames):
            for index, (b, rows) in enumerate(zip(self._matrices, self._feedback, strict=True), 1):
                frame.table[index, f.FEEDBACK] = rows.address
                frame.table[index, f.FEEDBACK_GRADIENT] = self.gradient.address(b, worker)

    def _saw_values(self, work: Work, share: Share) -> bool:
        """Whether spike lists do not describe the input. Who exchanges rates decides together."""
        saw = not self.execution.dense and self.execution.saw_values(work)
        if self.rate_target.strength == 0:
            return saw
        seen = torch.tensor(float(saw))
        share.team.sum_([seen])
        return bool(seen)

    def _run(self, work: Work, x: Tensor | Events, masks: Masks | None, share: Share) -> Any:
        execution = self.execution
        alive = execution.give_input(work, x, masks)
        if self.rate_target.strength > 0:
            self._run_rated(work, share)
        else:
            execution.run(work)
        return alive

    def _run_rated(self, work: Work, share: Share) -> None:
        """Chunk by chunk for the whole batch: the rate target's signal needs every sample's spikes first."""
        steps, chunk = work.shape.steps, int(work.frames[0].head[f.CHUNK])
        self.execution.call(work, sequence.CLEAR, 0, 0)
        for start in range(0, steps, chunk):
            self.run_chunk(work, start, min(chunk, steps - start), share)

    def run_chunk(self, work: Work, start: int, length: int, share: Share) -> None:
        """Forward and gradients of one chunk for the whole batch, going on from the last one's state."""
        execution, target = self.execution, self.rate_target
        regulated = target.strength > 0
        rates = [rate.to(torch.float64).numpy().copy() for rate in self.rates] if regulated else []
        for frame in work.frames:
            for index in range(1, len(rates) + 1):
                frame.step_counts(index).fill(0)
        execution.call(work, sequence.FORWARD, start, length)
        fired = [self._fired(work, index, length) for index in range(1, len(rates) + 1)]
        for index, seen in enumerate(share.mean(fired) if regulated else (), 1):
            n = self.network.hidden[index - 1].n
            for t in range(length):
                rate = rates[index - 1]
                rate += (seen[t].numpy() - rate) / target.memory
                pull = target.strength * (rate - target.rate) * self.step_weight / work.shape.batch
                for frame in work.frames:
                    frame.extra(index)[t, :n] = pull
            if self.whole_trace:
                kappa = self.network.readout.kappa
                for frame in work.frames:
                    filter_back(frame.extra(index)[:length, :n], kappa, self.traces[index - 1].path)
        execution.call(work, sequence.LEARN_FROM, start, length)
        if regulated:
            self.rates = tuple(
                torch.as_tensor(rate, dtype=old.dtype) for rate, old in zip(rates, self.rates, strict=True)
            )

    def _fired(self, work: Work, index: int, length: int) -> Tensor:
        """Share of the samples here that fired, by step and neuron of a layer."""
        counts = np.sum([frame.step_counts(index)[:length] for frame in work.frames], axis=0)
        return torch.from_numpy(counts[:, : self.network.hidden[index - 1].n] / work.shape.batch)  # pyright: ignore[reportUnknownMemberType]

    def _combine(self, touched: bool, stats: BatchStats, share: Share) -> None:
        """From means over the samples here to means over the batch, in one message with the stats."""
        if self.team.size == 1:
            return
        touched = touched or self._kind == "dkp"
        weights = [p for p in self.network.parameters() if id(p) in self.gradient.of]
        parts = [self.gradient.flat(p).mul_(share.weight) for p in weights]
        if touched:
            observed = self.rule.probed(share) if isinstance(self.rule, FDFA) else share
            parts += [self.gradient.flat(b).mul_(observed.weight) for b in self._matrices]
            parts += [] if self._counted is None else [self._counted.mul_(observed.weight)]
        self.team.sum_([*parts, *stats])

    def finish(self, probed: bool, count: int) -> None:
        """Optimizer steps, as `Learner._update` makes them; count: time steps since the last of them."""
        touched = self._kind == "dkp" or probed
        plain = plain_adam(self.optimizer)
        if not plain:
            for p in self._one_pass.learnt:
                p.grad = self.gradient.take(p)
                self.gradient.flat(p).zero_()
            self.optimizer.step()
            for p in self._one_pass.learnt:
                p.grad = None
        average = None
        if touched and isinstance(self.rule, FDFA) and self.feedback_optimizer and self._counted is None:
            updates, b = self.rule_state.updates, self._matrices
            average = running_average(self.rule, updates, self.feedback_optimizer, b, self.step_weight, count)
        self._one_pass.step(self.optimizer if plain else None, average)
        learns_feedback = touched and self.feedback_optimizer is not None
        if learns_feedback and average is None:
            self._learn_feedback_from(count)
        if self.rule.readout_decay:
            rate = self.optimizer.param_groups[0]["lr"] * self.rule.readout_decay
            decayed: tuple[Tensor, ...] = self.rule.trainable(self.rule_state) if learns_feedback else ()
            for tensor in (self.network.readout.synapse.weight, *decayed):
                tensor.mul_(1.0 - rate)

    def _learn_feedback_from(self, count: int) -> None:
        assert self.feedback_optimizer is not None
        for b in self._matrices:
            b.grad = self.gradient.take(b)
            self.gradient.flat(b).zero_()
            if isinstance(self.rule, FDFA):
                gain, weight = even(self.rule, self.rule_state.updates), self.step_weight
                counted = count if self._counted is None else self._counted
                b.grad = torch.sub(b * (counted * weight), b.grad, alpha=weight).mul_(gain)
        self.feedback_optimizer.step()
        for b in self._matrices:
            b.grad = None
