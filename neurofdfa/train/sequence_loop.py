"""Learning online, computed for a whole sequence: the numbers of `neurofdfa.train.online`, sooner.

Three things are done for all steps at once: layers without loops run through the sequence one after the
other, a rule that teaches every step on its own is asked about all of them side by side, and traces are
turned round (`neurofdfa.rules.adjoint`), so that each layer's gradient is one product. What is kept grows
with the length, as it does for backpropagation through time; where a rule allows it, so few samples at a time
are learnt from that it stays within `MOST_KEPT`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Part, Shard, parts_of
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.loss import EVERY, step_target, step_weights
from neurofdfa.nn.network import Masks, Trajectory
from neurofdfa.nn.time_constants import membrane_source, slope
from neurofdfa.rules.adjoint import Adjoint, Recorded, adjoint_of, filter_back
from neurofdfa.rules.base import Broadcast, Rule, Signals
from neurofdfa.rules.traces import LayerGradient, bind_path, outer
from neurofdfa.train.batch import BatchStats
from neurofdfa.train.evaluation import scores_of
from neurofdfa.train.gradient import accumulate, add_layer, add_synapse, gradient_of
from neurofdfa.train.learning import Learning
from neurofdfa.train.recording import LayerRecord, Record, record

MOST_KEPT = 128 << 20
"""Bytes of what is recorded of some samples, if one fits."""


class _Told(NamedTuple):
    """λ of every hidden layer, `[T, B, n]` or None, and whether the feedback has gradients."""

    hidden: tuple[Tensor | None, ...]
    feedback: bool


class SequenceLoop:
    """Executes rules that learn online, with every signal of a sequence known before anything is learnt."""

    takes_events: ClassVar[bool] = False

    def __init__(self, learning: Learning) -> None:
        self.learning = learning
        network, rule = learning.network, learning.rule
        self.side_by_side = teaches_side_by_side(rule)
        layers = [*network.hidden, *([network.readout.population] if network.readout.population else [])]
        self.traces = [bind_path(rule.trace, network, index) for index in range(len(network.hidden))]
        self.traces += [rule.trace] * (len(layers) - len(self.traces))
        self.adjoints = [_known(trace, layer) for trace, layer in zip(self.traces, layers, strict=True)]

    @torch.no_grad()
    def train(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]`; target: `[B]`, `[B, k]` or `[T, B, k]`;
        lengths: each sample's own, `[B]`.
        """
        learning, batch = self.learning, x.shape[1]
        masks = learning.network.draw_masks(batch * learning.rule.passes, learning.generator)
        stats, feedback = self._learn(x, target, masks, lengths)
        learning.update(stats, feedback=feedback)
        return stats

    @torch.no_grad()
    def gradients(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer; rule and generator move on only inside."""
        with self.learning.trial():
            self._learn(x, target, None, lengths)
            return tuple(gradient_of(p).clone() for p in self.learning.network.parameters())

    def run(self, x: Tensor) -> Trajectory:
        """Inference."""
        return self.learning.network.run(x)

    def abandon(self) -> None:
        """Nothing is kept between calls."""

    def _learn(
        self, x: Tensor, target: Tensor, masks: Masks | None, lengths: Tensor | None
    ) -> tuple[BatchStats, bool]:
        """Add the gradients of a batch; what was measured, and whether the feedback has gradients."""
        learning = self.learning
        passes, regulariser, fired = learning.rule.passes, learning.rate_regulariser, list[Tensor]()
        seen, feedback = list[BatchStats](), False
        for steps, share in self._shares(x.shape[0], x.shape[1], lengths):
            rows = partial(_rows_of, share)
            own = None if lengths is None else rows(lengths)
            mine = masks if masks is None else masks.select(partial(rows, passes=passes))
            learning.rule_state = learning.rule.begin(learning.network, learning.rule_state, share)
            wanted = rows(target, 1 if target.dim() == 3 else 0)[: steps if target.dim() == 3 else None]
            found = self._record(rows(x[:steps], 1), wanted, mine)
            pulls = self._pulls(found, own) if regulariser.strength > 0 else None
            if pulls is not None and own is not None:
                inside = _inside(found, own)
                more = [(layer.s * inside).sum((0, 1)) for layer in found.hidden]
                fired = [a + b for a, b in zip(fired, more, strict=True)] if fired else more
            stats, told = self._part(found, wanted, share, own, pulls)
            seen.append(stats)
            feedback |= told
        if lengths is not None and fired:
            learning.rates = regulariser.observe_all(learning.rates, fired, lengths)
        return BatchStats(*(torch.stack(values).sum(0) for values in zip(*seen, strict=True))), feedback

    def _shares(self, steps: int, batch: int, lengths: Tensor | None) -> Sequence[tuple[int, Shard]]:
        """Samples that are learnt from together, and how many steps they have."""
        network, rule = self.learning.network, self.learning.rule
        if lengths is not None and not self.side_by_side:
            return parts_of(lengths)
        numbers = network.n_in + sum(8 * layer.n for layer in network.hidden) + 8 * network.n_out
        most = max(1, MOST_KEPT // (steps * numbers * network.readout.synapse.weight.element_size()))
        together = self.learning.rate_regulariser.strength > 0 and lengths is None
        if most >= batch or not self.side_by_side or rule.passes > 1 or together:
            return [(steps, Shard(batch))]
        cuts = [tuple(range(first, min(first + most, batch))) for first in range(0, batch, most)]
        return [(steps, Part(batch, places=places, opens=places[0] == 0)) for places in cuts]

    def _record(self, x: Tensor, target: Tensor, masks: Masks | None) -> Record:
        rule, network = self.learning.rule, self.learning.network
        kind: Any = type(rule)
        if kind.present is not Rule.present:  # pyright: ignore[reportUnknownMemberType]
            state = self.learning.rule_state
            x = torch.stack(
                [rule.present(network, x_t, step_target(target, t), state) for t, x_t in enumerate(x)]
            )
        return record(network, x, masks)

    def _part(
        self, seen: Record, target: Tensor, share: Shard, lengths: Tensor | None, pulls: list[Tensor] | None
    ) -> tuple[BatchStats, bool]:
        """Gradients of some of the samples, which have been recorded."""
        network, loss = self.learning.network, self.learning.loss
        steps, batch = len(seen.y), share.count
        y = seen.y[:, :batch]
        wanted = target if target.dim() == 3 else target.expand(steps, *target.shape)
        flat, labels = y.flatten(0, 1), wanted.flatten(0, 1)
        weights = step_weights(loss, steps, lengths).to(y).expand(steps, batch)
        error = weights.unsqueeze(2) * loss.error(flat, labels).view(y.shape)
        value = (weights * loss.value(flat, labels).view(steps, batch)).sum() / batch
        told = self._signals(seen, error, weights, wanted, share)
        self._learn_hidden(seen, told.hidden, share, pulls)
        self._learn_readout(seen, error, share)
        parts = _parts(steps, lengths).to(y).expand(steps, batch) / batch
        layers = [(layer.s[:, :batch].mean(2), _zeros(layer.psi[:, :batch])) for layer in seen.hidden]
        stats = BatchStats(
            share.weight * value,
            share.whole(scores_of(network, y, loss.when, lengths)),
            share.weight * torch.stack([(fired * parts).sum() for fired, _ in layers]),
            share.weight * torch.stack([(zeros * parts).sum() for _, zeros in layers]),
        )
        return stats, told.feedback

    def _signals(
        self,
        seen: Record,
        error: Tensor,
        weights: Tensor,
        target: Tensor,
        share: Shard,
    ) -> _Told:
        """What the rule tells the hidden layers."""
        learning, network, rule = self.learning, self.learning.network, self.learning.rule
        steps, rows = len(seen.y), seen.y.shape[1]
        error = _padded(error, rows)
        if self.side_by_side:
            heard = torch.tensor([float(rule.teaches_at(t, steps)) for t in range(steps)]).to(error)
            told = error if bool(heard.all()) else error * heard.view(-1, 1, 1)
            each = weights.repeat(1, rule.passes).view(-1, 1)
            broadcast = Broadcast(steps - 1, steps, each, told.flatten(0, 1), target.flatten(0, 1))
            state = rule.side_by_side(learning.rule_state, steps)
            signals, _ = rule.signals(network, seen.all_steps(), broadcast, state)
            feedback = self._learn_feedback(signals, share, steps)
            return _Told(
                tuple(None if x is None else x.view(steps, rows, -1) for x in signals.hidden), feedback
            )
        taught: list[tuple[Tensor | None, ...]] = []
        feedback = False
        for t in range(steps):
            broadcast = Broadcast(t, steps, float(weights[t, 0]), error[t], target[t])
            signals, learning.rule_state = rule.signals(network, seen.step(t), broadcast, learning.rule_state)
            feedback |= self._learn_feedback(signals, share, 1)
            for layer, own in zip(network.hidden, signals.direct or (), strict=False):
                if own is not None:
                    add_layer(layer, own, share.per_sample)
            taught.append(signals.hidden)
        return _Told(tuple(_stacked(column) for column in zip(*taught, strict=True)), feedback)

    def _learn_feedback(self, signals: Signals, share: Shard, steps: int) -> bool:
        if signals.feedback is None:
            return False
        weight = (signals.observed or share).weight * steps
        rule, state = self.learning.rule, self.learning.rule_state
        for tensor, gradient in zip(rule.trainable(state), signals.feedback, strict=True):
            accumulate(tensor, gradient, weight)
        return True

    def _learn_hidden(
        self, seen: Record, signals: tuple[Tensor | None, ...], share: Shard, pulls: list[Tensor] | None
    ) -> None:
        network = self.learning.network
        for index, (layer, recorded, signal) in enumerate(
            zip(network.hidden, seen.hidden, signals, strict=True)
        ):
            pull = None if pulls is None else pulls[index]
            if signal is None and (pull is None or not self.learning.rule.learns_hidden):
                continue
            if pull is not None:
                signal = pull.expand_as(recorded.psi) if signal is None else signal + pull
            assert signal is not None
            add_layer(layer, self._gradient(index, layer, recorded, signal), share.per_sample)

    def _gradient(self, index: int, layer: SpikingLayer, seen: LayerRecord, signal: Tensor) -> LayerGradient:
        """Σ over samples and steps of signal × trace, as one product."""
        kappa = self.learning.network.readout.kappa
        found = self.adjoints[index](
            self.traces[index], layer, kappa, signal, Recorded(seen.psi, seen.s, seen.after.u)
        )
        delta, own = found.delta, None if layer.recurrent is None else seen.before.s.flatten(0, 1)
        gradient = outer(layer, delta.flatten(0, 1), seen.pre.flatten(0, 1), 1.0, own)
        learnt = layer.time_constants
        if learnt is None or found.error is None:
            return gradient
        entered = found.error * membrane_source(seen.before, layer.dynamics)
        pairs = ((learnt.membrane, entered), (learnt.synapse, delta * seen.before.i))
        parts = [None if logit is None else x.sum((0, 1)) * slope(logit) for logit, x in pairs]
        return gradient._replace(membrane=parts[0], synapse=parts[1])

    def _learn_readout(self, seen: Record, error: Tensor, share: Shard) -> None:
        readout = self.learning.network.readout
        error = _padded(error, seen.y.shape[1])
        if readout.population is not None and seen.population is not None:
            gradient = self._gradient(len(seen.hidden), readout.population, seen.population, error)
        else:
            delta = filter_back(error.clone(), readout.kappa).flatten(0, 1)
            gradient = LayerGradient(
                readout.synapse.gradient(delta, seen.pre.flatten(0, 1)),
                readout.synapse.bias_gradient(delta),
                None,
            )
        add_synapse(readout.synapse, gradient, share.per_sample)

    def _pulls(self, seen: Record, lengths: Tensor | None) -> list[Tensor]:
        """What the rate regulariser adds to the signals, to be broadcast to `[T, B, n]` per hidden layer."""
        learning, target = self.learning, self.learning.rate_regulariser
        steps = len(seen.y)
        if lengths is not None:
            share = _inside(seen, lengths) / lengths.to(seen.y).view(1, -1, 1)
            return [target.signal(rate) * share for rate in learning.rates]
        pulls, rates = list[Tensor](), list[Tensor]()
        for rate, layer in zip(learning.rates, seen.hidden, strict=True):
            averages = list[Tensor]()
            for fired in layer.s.mean(1):
                rate = target.observe(rate, fired)
                averages.append(rate)
            rates.append(rate)
            pulls.append((target.signal(torch.stack(averages)) / steps).unsqueeze(1))
        learning.rates = tuple(rates)
        return pulls


def why_not_whole(learning: Learning) -> str | None:
    """Why a learner cannot be computed for whole sequences, or None if it can."""
    network, rule = learning.network, learning.rule
    if learning.update_every is not None:
        return "weights change within a sequence"
    if learning.device.active:
        return f"learning is impaired by {learning.device.active[0]}"
    if learning.group.size > 1:
        return "several processes learn together"
    population = network.readout.population
    for layer in (*network.hidden, *([population] if population else [])):
        if adjoint_of(rule.trace, layer) is None:
            return "its traces are known forward in time alone"
    return None


def teaches_side_by_side(rule: Rule[Any]) -> bool:
    """Whether all steps may be asked about at once: said by the class that defines the signals."""
    for kind in type(rule).__mro__:
        if "signals" in vars(kind):
            return bool(vars(kind).get("steps_side_by_side", False))
    return False


def _known(trace: object, layer: SpikingLayer) -> Adjoint:
    found = adjoint_of(trace, layer)
    assert found is not None, "why_not_whole was not asked"
    return found


def _rows_of(share: Shard, whole: Tensor, dim: int = 0, passes: int = 1) -> Tensor:
    """What is here of a tensor for the whole batch."""
    return share.rows(whole, dim, passes=passes)


def _padded(error: Tensor, rows: int) -> Tensor:
    """No error `[T, B, k]` for further passes, whose outputs do not count."""
    return torch.nn.functional.pad(error, (0, 0, 0, rows - error.shape[1]))


def _parts(steps: int, lengths: Tensor | None) -> Tensor:
    """What every step is of a mean over all of a sample's own, `[T, 1]` or `[T, B]`."""
    return step_weights(EVERY, steps, lengths)


def _inside(seen: Record, lengths: Tensor) -> Tensor:
    """1 in a sample's own steps, else 0, `[T, B, 1]`."""
    return (_parts(len(seen.y), lengths) > 0).to(seen.y).unsqueeze(2)


def _zeros(psi: Tensor) -> Tensor:
    """Share of ψ that is exactly 0, `[T, B]`."""
    return (psi == 0).to(psi.dtype).mean(2)


def _stacked(signals: tuple[Tensor | None, ...]) -> Tensor | None:
    """Signals of all steps, 0 where there was none; None where there never was one."""
    like = next((x for x in signals if x is not None), None)
    if like is None:
        return None
    return torch.stack([torch.zeros_like(like) if x is None else x for x in signals])
