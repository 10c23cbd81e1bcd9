"""THE training step: forward → learning signal × eligibility trace → optimizer.

One loop for every rule that learns online. It runs forward in time under `no_grad`, one step after the other;
what it holds does not grow with the length of the sequence.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard, parts_of
from neurofdfa.nn.loss import answer_step, step_target, step_weight
from neurofdfa.nn.network import Masks, NetworkState, NetworkStep, Trajectory
from neurofdfa.nn.readout import Readout, ReadoutStep
from neurofdfa.rules.base import Broadcast, Signals
from neurofdfa.rules.traces import FilterState, LayerGradient, bind_path, cascade, cascade_state
from neurofdfa.train.batch import BatchStats
from neurofdfa.train.gradient import accumulate, add_layer, add_synapse, gradient_of
from neurofdfa.train.learning import Learning
from neurofdfa.train.signals import SignalSource, of_rule


class Sequence(NamedTuple):
    """All that is carried from step to step within a sequence."""

    t: int
    steps: int
    share: Shard
    source: SignalSource
    network: NetworkState
    masks: Masks | None
    traces: tuple[Any, ...]
    readout_trace: Any
    total_y: Tensor
    loss: Tensor
    fired: Tensor
    psi_zero: Tensor
    untold: bool = False
    """Whether the feedback has gradients that its optimizer has not seen."""


class OnlineLoop:
    """The reference: learns step by step, each a handful of products that a reader can follow."""

    takes_events: ClassVar[bool] = False

    def __init__(self, learning: Learning) -> None:
        self.learning = learning
        network, rule, device = learning.network, learning.rule, learning.device
        self.traces = tuple(
            device.around_trace(bind_path(rule.trace, network, index), learning.generator)
            for index in range(len(network.hidden))
        )
        of_readout = ReadoutTrace() if network.readout.population is None else rule.trace
        self.readout_trace = device.around_trace(of_readout, learning.generator)
        self.sequence: Sequence | None = None

    @torch.no_grad()
    def train(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]`; target: `[B]`, `[B, k]` or `[T, B, k]`;
        lengths: each sample's own, `[B]`.
        """
        if lengths is not None:
            return self._train_parts(x, target, lengths)
        self.begin(x.shape[1], x.shape[0])
        for t, x_t in enumerate(x):
            self.step(x_t, step_target(target, t))
        return self.end()

    def _train_parts(self, x: Tensor, target: Tensor, lengths: Tensor) -> BatchStats:
        """Learn from samples of unequal lengths: those of one length side by side, then one update."""
        learning = self.learning
        passes, total = learning.rule.passes, len(lengths)
        masks = learning.network.draw_masks(total * passes, learning.generator)
        seen, untold = list[BatchStats](), False
        for steps, part in parts_of(lengths):
            mine = None if masks is None else masks.select(lambda m, part=part: part.rows(m, passes=passes))
            self._open(part, steps, mine)
            self._advance_all(x, target, steps, part)
            seen.append(self._measured())
            untold |= self._now().untold
        self._observe(lengths)
        stats = BatchStats(*(torch.stack(values).sum(0) for values in zip(*seen, strict=True)))
        learning.update(stats, feedback=untold)
        self.sequence = None
        return stats

    def _observe(self, lengths: Tensor) -> None:
        """Let the rate regulariser know what all of the batch's samples did."""
        learning = self.learning
        if learning.state.fired:
            rates = learning.rate_regulariser.observe_all(learning.rates, learning.state.fired, lengths)
            learning.state = learning.state._replace(rates=rates, fired=())

    def _advance_all(self, x: Tensor, target: Tensor, steps: int, part: Shard) -> None:
        here, wanted = part.rows(x[:steps], 1), part.rows(target, 1 if target.dim() == 3 else 0)
        for t, x_t in enumerate(here):
            self._advance(x_t, step_target(wanted, t))

    @torch.no_grad()
    def gradients(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer; rule and generator move on only inside."""
        parts = [(x.shape[0], Shard(x.shape[1]))] if lengths is None else parts_of(lengths)
        try:
            with self.learning.trial():
                for steps, part in parts:
                    self._open(part, steps, masks=None)
                    self._advance_all(x, target, steps, part)
                return tuple(gradient_of(p).clone() for p in self.learning.network.parameters())
        finally:
            self.sequence = None

    def run(self, x: Tensor) -> Trajectory:
        """Inference."""
        return self.learning.network.run(x)

    def abandon(self) -> None:
        """Forget the sequence."""
        self.sequence = None

    @torch.no_grad()
    def begin(self, batch: int, steps: int) -> None:
        """Start a sequence of `batch` samples; `steps` is its length, for the weighting of the loss."""
        learning = self.learning
        share, passes = Shard(batch, learning.group), learning.rule.passes
        masks = learning.network.draw_masks(batch * passes, learning.generator)
        if masks is not None:
            masks = masks.select(lambda mask: share.rows(mask, passes=passes))
        self._open(share, steps, masks)

    @torch.no_grad()
    def step(self, x_t: Tensor, target_t: Tensor) -> Tensor:
        """Learn from one time step, x_t `[B, n_in]`; returns the outputs y, `[B, k]`, of the samples here."""
        assert self.sequence is not None
        share, every = self.sequence.share, self.learning.update_every
        step = self._advance(share.rows(x_t), share.rows(target_t))
        if every is not None and self.sequence.t % every == 0:
            self._update()
        return step.y

    @torch.no_grad()
    def end(self) -> BatchStats:
        """Finish the sequence: apply what is left to apply and report."""
        done, learning = self._now(), self.learning
        stats = self._measured()
        if learning.update_every is None or done.t % learning.update_every:
            self._update(stats)
        else:
            learning.group.sum_(stats)
        self.sequence = None
        return stats

    def _now(self) -> Sequence:
        assert self.sequence is not None
        return self.sequence

    def _measured(self) -> BatchStats:
        """What the sequence adds to the batch's measures so far."""
        done, learning = self._now(), self.learning
        share, mean = done.share, learning.network.readout.decode == "mean"
        answered = max(1, done.t - answer_step(learning.loss.when, done.steps))
        scores = done.total_y / answered if mean else done.network.readout.y[: share.count]
        return BatchStats(
            share.weight * done.loss,
            share.whole(scores),
            share.weight * done.fired / max(1, done.t),
            share.weight * done.psi_zero / max(1, done.t),
        )

    def _open(self, share: Shard, steps: int, masks: Masks | None) -> None:
        learning, network = self.learning, self.learning.network
        rule, kappa = learning.rule, network.readout.kappa
        learning.device.check_arrival(learning.loss, steps)
        source = of_rule(rule, network)
        source = learning.device.around(source, rule, learning.generator, share)
        source = learning.rate_regulariser.around(source, steps, share)
        learning.state = learning.state._replace(
            rule=rule.begin(network, learning.rule_state, share), line=()
        )
        zero, rows = network.readout.synapse.weight.new_zeros, share.count * rule.passes
        self.sequence = Sequence(
            t=0,
            steps=steps,
            share=share,
            source=source,
            network=network.initial_state(rows),
            masks=masks,
            traces=tuple(
                trace.init(layer, kappa, rows)
                for trace, layer in zip(self.traces, network.hidden, strict=True)
            ),
            readout_trace=self.readout_trace.init(network.readout.population or network.readout, kappa, rows),
            total_y=zero(share.count, network.readout.n),
            loss=zero(()),
            fired=zero(len(network.hidden)),
            psi_zero=zero(len(network.hidden)),
        )

    def _advance(self, x_t: Tensor, target: Tensor) -> NetworkStep:
        """One step of network, traces and signals; adds to the gradients."""
        now, learning = self.sequence, self.learning
        assert now is not None
        network, rule, loss = learning.network, learning.rule, learning.loss
        step = network.step(rule.present(network, x_t, target, learning.rule_state), now.network, now.masks)
        counted = step if rule.passes == 1 else step.first(now.share.count)
        weight = step_weight(loss, now.t, now.steps)
        error = _padded(weight * loss.error(counted.y, target), len(step.y))
        traces = tuple(
            trace.step(layer, network.readout.kappa, seen, before)
            for trace, layer, seen, before in zip(
                self.traces, network.hidden, step.layers, now.traces, strict=True
            )
        )
        broadcast = Broadcast(now.t, now.steps, weight, error, target)
        signals, learning.state = now.source(step, broadcast, learning.state)
        self._learn_hidden(step, signals, traces, now.share)
        readout_trace = self._learn_readout(step, error, now)
        told = self._learn_feedback(signals, now.share)
        self.sequence = now._replace(
            t=now.t + 1,
            network=step.state,
            traces=traces,
            readout_trace=readout_trace,
            total_y=now.total_y + counted.y * (now.t >= answer_step(loss.when, now.steps)),
            loss=now.loss + weight * loss.value(counted.y, target).sum() / now.share.count,
            fired=now.fired + torch.stack([seen.after.s.mean() for seen in counted.layers]),
            psi_zero=now.psi_zero
            + torch.stack([(seen.psi == 0).to(error.dtype).mean() for seen in counted.layers]),
            untold=now.untold or told,
        )
        return counted

    def _learn_hidden(
        self, step: NetworkStep, signals: Signals, traces: tuple[Any, ...], share: Shard
    ) -> None:
        """Every layer's signal × trace, and the gradients of rules that make their own."""
        layers, direct = self.learning.network.hidden, signals.direct or (None,) * len(traces)
        parts = zip(layers, self.traces, step.layers, signals.hidden, direct, traces, strict=True)
        for layer, trace, seen, signal, own, state in parts:
            if own is not None:
                add_layer(layer, own, share.per_sample)
            if signal is not None:
                add_layer(layer, trace.gradient(layer, signal, seen, state), share.per_sample)

    def _learn_readout(self, step: NetworkStep, error: Tensor, now: Sequence) -> Any:
        """The readout's own exact gradient: its error × its trace."""
        readout, trace = self.learning.network.readout, self.readout_trace
        layer, seen = readout.population or readout, step.readout.population or step.readout
        state = trace.step(layer, readout.kappa, seen, now.readout_trace)
        add_synapse(readout.synapse, trace.gradient(layer, error, seen, state), now.share.per_sample)
        return state

    def _learn_feedback(self, signals: Signals, share: Shard) -> bool:
        if signals.feedback is None:
            return False
        weight = (signals.observed or share).weight
        rule, state = self.learning.rule, self.learning.rule_state
        for tensor, gradient in zip(rule.trainable(state), signals.feedback, strict=True):
            accumulate(tensor, gradient, weight)
        return True

    def _update(self, stats: tuple[Tensor, ...] = ()) -> None:
        assert self.sequence is not None
        self.learning.update(stats, feedback=self.sequence.untold)
        self.sequence = self.sequence._replace(untold=False)


class ReadoutTraceState(NamedTuple):
    """Inputs of the readout and the constant 1 of its bias, filtered by κ, with the filters' states."""

    heard: Tensor
    spikes: FilterState
    one: Tensor
    ones: FilterState


class ReadoutTrace:
    """The exact trace of outputs without neurons: what the readout's synapses hear, filtered by κ."""

    def init(self, readout: Readout, kappa: float, batch: int) -> ReadoutTraceState:
        """Zero traces, `[B, n_in]` and `[1, 1]`."""
        zeros = readout.synapse.weight.new_zeros
        heard, one = zeros(batch, readout.synapse.n_in), zeros(1, 1)
        return ReadoutTraceState(heard, cascade_state((kappa,), heard), one, cascade_state((kappa,), one))

    def step(
        self, readout: Readout, kappa: float, seen: ReadoutStep, state: ReadoutTraceState
    ) -> ReadoutTraceState:
        """Advance by one time step."""
        heard, spikes = cascade((kappa,), seen.pre, state.spikes)
        one, ones = cascade((kappa,), torch.ones_like(state.one), state.ones)
        return ReadoutTraceState(heard, spikes, one, ones)

    def gradient(
        self, readout: Readout, signal: Tensor, seen: ReadoutStep, state: ReadoutTraceState
    ) -> LayerGradient:
        """Σ_b e_b ⊗ trace_b. signal: the error, `[B, k]`."""
        synapse = readout.synapse
        return LayerGradient(
            synapse.gradient(signal, state.heard), synapse.bias_gradient(signal * state.one), None
        )


def _padded(error: Tensor, rows: int) -> Tensor:
    """No error for further passes, whose outputs do not count."""
    if len(error) == rows:
        return error
    return torch.cat([error, error.new_zeros(rows - len(error), error.shape[1])])
