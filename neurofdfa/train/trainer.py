"""THE training step: forward → learning signal × eligibility trace → optimizer.

One loop for every rule. It runs forward in time under `no_grad`, one step after the other; what it holds
does not grow with the length of the sequence.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import CrossEntropy, Loss, answer_step, step_target, step_weight
from neurofdfa.nn.network import Masks, Network, NetworkState, NetworkStep
from neurofdfa.rules.base import Broadcast, OptimizerFactory, Rule, Signals
from neurofdfa.rules.traces import FilterState, LayerGradient, bind_path, cascade, cascade_state
from neurofdfa.train.batch import BatchStats, check_batch
from neurofdfa.train.device import Device, ErrorQueue
from neurofdfa.train.gradient import accumulate, add_layer, add_synapse, gradient_of
from neurofdfa.train.rate_regulariser import RateRegulariser


def adam(lr: float = 2e-3) -> OptimizerFactory:
    """The default optimizer factory."""

    def factory(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr)

    return factory


class _Sequence(NamedTuple):
    """All that the learner carries from step to step within a sequence."""

    t: int
    steps: int
    share: Shard
    network: NetworkState
    masks: Masks | None
    traces: tuple[Any, ...]
    readout_trace: Any
    line: ErrorQueue
    total_y: Tensor
    loss: Tensor
    fired: Tensor
    psi_zero: Tensor


class Trainer:
    """Trains a network online with one rule.

    optimizer: makes a `torch.optim` optimizer for the weights. update_every: steps between weight updates,
    None for one at the end of each sequence. rate_target: local firing-rate regulariser. impairments: what a
    device would do to the learning. generator: of feedback, probes and dropout; on the network's device.
    team: the processes that train together; each is handed the same batches, works on its share of them and
    ends with the same weights.

    >>> learner = Trainer(network, FDFA(), adam(2e-3))
    >>> for x, target in batches:          # x [T, B, n_in], target [B]
    ...     learner.train(x, target)
    """

    def __init__(
        self,
        network: Network,
        rule: Rule[Any],
        optimizer: OptimizerFactory | None = None,
        *,
        loss: Loss | None = None,
        update_every: int | None = None,
        rate_target: RateRegulariser | None = None,
        impairments: Device | None = None,
        generator: torch.Generator | None = None,
        team: ProcessGroup = SINGLE,
    ) -> None:
        if update_every is not None and update_every < 1:
            raise UserError(f"update_every must be at least 1 step, got {update_every}")
        learnt = [x.time_constants for x in network.hidden if x.time_constants is not None]
        if any(x.learn for x in learnt) and not rule.learns_time_constants:
            raise UserError(
                f"rule '{rule.name}' has no eligibility for time constants: take a rule that sends signals, "
                "with the option trace = 'per-synapse', or bptt, or fix them (learn_tau = false)"
            )
        factory = optimizer if optimizer is not None else adam()
        self.network = network
        self.rule = rule
        self.loss: Loss = loss if loss is not None else CrossEntropy()
        self.update_every = update_every
        self.rate_target = rate_target if rate_target is not None else RateRegulariser(strength=0.0)
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self.team = team
        self.rule_state: Any = rule.init(network, self.generator)
        self.traces = tuple(bind_path(rule.trace, network, index) for index in range(len(network.hidden)))
        self.rates = self.rate_target.init(network)
        self.impairments = impairments if impairments is not None else Device()
        self.impairments.check(rule, self.rule_state, network, self.loss, team)
        self.stored = self.impairments.weights(network, self.generator)
        self.optimizer = factory(list(network.parameters()))
        feedback = rule.trainable(self.rule_state)
        self.feedback_optimizer = rule.feedback_optimizer(factory, feedback) if feedback else None
        self._feedback_touched = False
        self._sequence: _Sequence | None = None

    @torch.no_grad()
    def train(self, x: Tensor, target: Tensor) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]`; target: `[B]`, `[B, k]` or `[T, B, k]`.

        Raises `UserError`, before anything is learnt, for shapes or labels that do not fit.
        """
        check_batch(self.network, x, target)
        self.begin(x.shape[1], x.shape[0])
        for t, x_t in enumerate(x):
            self.step(x_t, step_target(target, t))
        return self.end()

    @torch.no_grad()
    def gradients(self, x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer, in the order of `network.parameters()`.

        Nothing is updated, neither weights nor feedback, and no neuron is dropped; the rule's and the
        generator's state move on only inside. In a team each process computes the whole batch's by itself.
        """
        check_batch(self.network, x, target)
        kept = (self.rule_state, self.rates, self.generator.get_state())
        self._zero()
        try:
            self._begin(Shard(x.shape[1]), x.shape[0], masks=None)
            for t, x_t in enumerate(x):
                self._advance(x_t, step_target(target, t))
            return tuple(gradient_of(p).clone() for p in self.network.parameters())
        finally:
            self._zero()
            self._sequence = None
            self.rule_state, self.rates = kept[:2]
            self.generator.set_state(kept[2])

    def scale_learning_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times its initial value, for schedules."""
        scale_rates(self.optimizer, factor)
        if self.feedback_optimizer is not None and self.rule.scheduled_feedback:
            scale_rates(self.feedback_optimizer, factor)

    def predict(self, x: Tensor) -> Tensor:
        """Scores `[B, k]` of sequences `[T, B, n_in]`, read the way that the rule reads them."""
        return self.rule.predict(self.network, x, self.rule_state)

    @torch.no_grad()
    def begin(self, batch: int, steps: int) -> None:
        """Start a sequence of `batch` samples; `steps` is its length, for the weighting of the loss."""
        share, passes = Shard(batch, self.team), self.rule.passes
        masks = self.network.draw_masks(batch * passes, self.generator)
        if masks is not None:
            masks = masks.select(lambda mask: share.rows(mask, passes=passes))
        self._begin(share, steps, masks)

    def _begin(self, share: Shard, steps: int, masks: Masks | None) -> None:
        network, kappa = self.network, self.network.readout.kappa
        self.rule_state = self.rule.begin(network, self.rule_state, share)
        readout = network.readout
        zero = readout.synapse.weight.new_zeros
        rows = share.count * self.rule.passes
        self._sequence = _Sequence(
            t=0,
            steps=steps,
            share=share,
            network=network.initial_state(rows),
            masks=masks,
            traces=tuple(
                trace.init(layer, kappa, rows)
                for trace, layer in zip(self.traces, network.hidden, strict=True)
            ),
            readout_trace=(
                (
                    cascade_state((kappa,), zero(rows, readout.synapse.n_in)),
                    cascade_state((kappa,), zero(1, 1)),
                )
                if readout.population is None
                else self.rule.trace.init(readout.population, kappa, rows)
            ),
            line=self.impairments.open_line(self.loss, steps),
            total_y=zero(share.count, readout.n),
            loss=zero(()),
            fired=zero(len(network.hidden)),
            psi_zero=zero(len(network.hidden)),
        )

    @torch.no_grad()
    def step(self, x_t: Tensor, target_t: Tensor) -> Tensor:
        """Learn from one time step, x_t `[B, n_in]`; returns the outputs y, `[B, k]`, of the samples here."""
        if self._sequence is None:
            raise UserError("step() without begin(): start a sequence first")
        share = self._sequence.share
        step = self._advance(share.rows(x_t), share.rows(target_t))
        if self.update_every is not None and self._sequence.t % self.update_every == 0:
            self._update()
        return step.y

    @torch.no_grad()
    def end(self) -> BatchStats:
        """Finish the sequence: apply what is left to apply and report."""
        done = self._sequence
        if done is None:
            raise UserError("end() without begin(): start a sequence first")
        share, mean = done.share, self.network.readout.decode == "mean"
        answered = max(1, done.t - answer_step(self.loss.when, done.steps))
        scores = done.total_y / answered if mean else done.network.readout.y[: share.count]
        stats = BatchStats(
            share.weight * done.loss,
            share.whole(scores),
            share.weight * done.fired / done.t,
            share.weight * done.psi_zero / done.t,
        )
        if self.update_every is None or done.t % self.update_every:
            self._update(stats)
        else:
            self.team.sum_(stats)
        self._sequence = None
        return stats

    def _advance(self, x_t: Tensor, target: Tensor) -> NetworkStep:
        """One step of network, traces and signals; adds to the gradients."""
        now = self._sequence
        assert now is not None
        network, kappa = self.network, self.network.readout.kappa
        step = network.step(self.rule.present(network, x_t, target, self.rule_state), now.network, now.masks)
        weight = step_weight(self.loss, now.t, now.steps)
        counted = step if self.rule.passes == 1 else step.first(now.share.count)
        error = weight * self.loss.error(counted.y, target)
        if self.rule.passes > 1:
            error = torch.cat([error, error.new_zeros(step.y.shape[0] - now.share.count, error.shape[1])])
        stepped = tuple(
            trace.step(layer, kappa, seen, state)
            for trace, layer, seen, state in zip(
                self.traces, network.hidden, step.layers, now.traces, strict=True
            )
        )
        traces = self.impairments.traces(stepped, self.generator)
        broadcast = Broadcast(now.t, now.steps, weight, error, target)
        signals, self.rule_state, line = self.impairments.signals(
            self.rule, network, step, broadcast, self.rule_state, now.line, self.generator, now.share
        )
        self._learn_hidden(step, signals, traces, now)
        readout_trace = self._learn_readout(step, error, now)
        self._learn_feedback(signals, now.share)
        self._sequence = now._replace(
            t=now.t + 1,
            network=step.state,
            traces=traces,
            readout_trace=readout_trace,
            line=line,
            total_y=now.total_y + counted.y * (now.t >= answer_step(self.loss.when, now.steps)),
            loss=now.loss + weight * self.loss.value(counted.y, target).sum() / now.share.count,
            fired=now.fired + torch.stack([seen.after.s.mean() for seen in counted.layers]),
            psi_zero=now.psi_zero
            + torch.stack([(seen.psi == 0).to(error.dtype).mean() for seen in counted.layers]),
        )
        return counted

    def _learn_hidden(
        self, step: NetworkStep, signals: Signals, traces: tuple[Any, ...], now: _Sequence
    ) -> None:
        regulated, per_sample = self.rate_target.strength > 0, now.share.per_sample
        if regulated:
            fired = now.share.mean([seen.after.s.mean(0) for seen in step.layers])
            self.rates = tuple(map(self.rate_target.observe, self.rates, fired))
        for index, (layer, seen, signal) in enumerate(
            zip(self.network.hidden, step.layers, signals.hidden, strict=True)
        ):
            direct = None if signals.direct is None else signals.direct[index]
            if direct is not None:
                add_layer(layer, direct, per_sample)
            elif signal is None:
                continue
            if regulated:
                pull = self.rate_target.signal(self.rates[index]) / now.steps
                signal = pull.expand_as(seen.psi) if signal is None else signal + pull
            if signal is not None:
                add_layer(layer, self.traces[index].gradient(layer, signal, seen, traces[index]), per_sample)

    def _learn_readout(self, step: NetworkStep, error: Tensor, now: _Sequence) -> Any:
        """The readout's own exact gradient: e times its inputs (spikes, and 1 for the bias) filtered by κ."""
        readout, seen, state = self.network.readout, step.readout, now.readout_trace
        if readout.population is not None and seen.population is not None:
            state = self.rule.trace.step(readout.population, readout.kappa, seen.population, state)
            state = self.impairments.traces(state, self.generator)
            gradient = self.rule.trace.gradient(readout.population, error, seen.population, state)
        else:
            spikes: FilterState
            ones: FilterState
            spikes, ones = state
            heard = cascade((readout.kappa,), seen.pre, spikes)
            filtered, spikes = self.impairments.traces(heard, self.generator)
            one, ones = cascade((readout.kappa,), error.new_ones(1, 1), ones)
            state = (spikes, ones)
            gradient = LayerGradient(
                readout.synapse.gradient(error, filtered), readout.synapse.bias_gradient(error * one), None
            )
        add_synapse(readout.synapse, gradient, now.share.per_sample)
        return state

    def _learn_feedback(self, signals: Signals, share: Shard) -> None:
        if signals.feedback is None:
            return
        self._feedback_touched = True
        weight = (signals.observed or share).weight
        for tensor, gradient in zip(self.rule.trainable(self.rule_state), signals.feedback, strict=True):
            accumulate(tensor, gradient, weight)

    def _update(self, stats: Sequence[Tensor] = ()) -> None:
        """Apply the gradients of all processes, which come in one message with the stats."""
        feedback = self.rule.trainable(self.rule_state) if self._feedback_touched else ()
        learnt = (*self.network.parameters(), *feedback)
        self.team.sum_([*(p.grad for p in learnt if p.grad is not None), *stats])
        self.optimizer.step()
        decayed: list[Tensor] = [self.network.readout.synapse.weight]
        if self.feedback_optimizer is not None and self._feedback_touched:
            self.feedback_optimizer.step()
            decayed += self.rule.trainable(self.rule_state)
        if self.rule.readout_decay:
            rate = self.optimizer.param_groups[0]["lr"] * self.rule.readout_decay
            for tensor in decayed:
                tensor.mul_(1.0 - rate)
        self.impairments.store(self.stored, self.generator)
        self._zero()

    def _zero(self) -> None:
        for tensor in (*self.network.parameters(), *self.rule.trainable(self.rule_state)):
            if tensor.grad is not None:
                tensor.grad.zero_()
        self._feedback_touched = False


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each parameter group's learning rate to `factor` times its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
