"""Learning from an autograd graph: the gradient of a whole sequence, or of windows of it.

It stores every step's activations, so that its memory grows with the length of the sequence; in windows it
forgets where the state came from every so many steps, and the memory stays at one window.
"""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import EVERY, step_weights
from neurofdfa.nn.network import Masks, Trajectory
from neurofdfa.train.batch import BatchStats
from neurofdfa.train.evaluation import scores_of
from neurofdfa.train.learning import Learning
from neurofdfa.train.unroll import Window, unroll


class _Measured(NamedTuple):
    """Loss of a window, with its graph; without: its value, y `[K, B, k]`, and per hidden layer the part that
    its steps have in the means of spikes and of ψ = 0.
    """

    loss: Tensor
    value: Tensor
    y: Tensor
    fired: Tensor
    psi_zero: Tensor


class _Batch(NamedTuple):
    """The samples of a batch that are here, and their lengths `[B]` where they differ."""

    x: Tensor
    target: Tensor
    share: Shard
    lengths: Tensor | None


class GraphLoop:
    """Executes rules that are nothing but the loss's gradient through time, see `neurofdfa.rules.bptt`.

    window: steps that a gradient reaches back at most, counted in blocks from the sequence's start; None for
    all of them. Weights change once per sequence either way.
    """

    takes_events: ClassVar[bool] = False

    def __init__(self, learning: Learning, window: int | None) -> None:
        self.learning, self.window = learning, window
        if learning.update_every is not None:
            raise UserError(
                f"'{learning.rule.name}' updates the weights once per sequence: leave update_every out"
            )

    def train(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]`; target: `[B]`, `[B, k]` or `[T, B, k]`;
        lengths: each sample's own, `[B]`.
        """
        learning, network = self.learning, self.learning.network
        learning.optimizer.zero_grad()
        share = Shard(x.shape[1], learning.group)
        masks = network.draw_masks(x.shape[1], learning.generator)
        masks = None if masks is None else masks.select(share.rows)
        wanted = share.rows(target, 1 if target.dim() == 3 else 0)
        batch, seen = _Batch(share.rows(x, 1), wanted, share, lengths), list[_Measured]()
        with torch.enable_grad():
            for window in self._windows(batch, masks):
                window.loss.backward()  # pyright: ignore[reportUnknownMemberType]
                seen.append(window._replace(loss=window.value))
        y = torch.cat([window.y for window in seen])
        stats = BatchStats(
            share.weight * torch.stack([window.value for window in seen]).sum(),
            share.whole(scores_of(network, y, learning.loss.when, lengths)),
            share.weight * torch.stack([window.fired for window in seen]).sum(0),
            share.weight * torch.stack([window.psi_zero for window in seen]).sum(0),
        )
        with torch.no_grad():
            learning.update(stats)
        return stats

    def gradients(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """The gradient of one batch, in the order of `network.parameters()`; updates nothing."""
        parameters = list(self.learning.network.parameters())
        total = tuple(torch.zeros_like(p) for p in parameters)
        with torch.enable_grad():
            for window in self._windows(_Batch(x, target, Shard(x.shape[1]), lengths), None):
                more = torch.autograd.grad(window.loss, parameters, materialize_grads=True)
                total = tuple(a + b for a, b in zip(total, more, strict=True))
        return total

    def run(self, x: Tensor) -> Trajectory:
        """Inference."""
        return self.learning.network.run(x)

    def abandon(self) -> None:
        """Nothing is kept between calls."""

    def _windows(self, batch: _Batch, masks: Masks | None) -> Iterator[_Measured]:
        network, steps = self.learning.network, len(batch.x)
        length = steps if self.window is None else min(self.window, steps)
        state = network.initial_state(batch.x.shape[1])
        weights = step_weights(self.learning.loss, steps, batch.lengths).to(batch.x)
        own = torch.tensor([steps]) if batch.lengths is None else batch.lengths
        parts = step_weights(EVERY, steps, own).to(batch.x)
        for start in range(0, steps, length):
            seen = unroll(network, batch.x[start : start + length], state, masks)
            state = seen.state
            here = slice(start, start + length)
            loss = self._loss(seen.y, batch.target, here, weights[here])
            yield self._measured(loss, seen, batch, parts[here])

    def _loss(self, y: Tensor, target: Tensor, here: slice, weights: Tensor) -> Tensor:
        """Of some of the steps; where none of them carries an error, 0 with a gradient of 0."""
        wanted = target[here] if target.dim() == 3 else target.expand(len(y), *target.shape)
        values = self.learning.loss.value(y.flatten(0, 1), wanted.flatten(0, 1)).view(y.shape[:2])
        return (weights * values).sum() / y.shape[1]

    def _measured(self, loss: Tensor, seen: Window, batch: _Batch, parts: Tensor) -> _Measured:
        """parts: what every step is of the mean over a sample's own, `[K, 1]` or `[K, B]`."""
        regulariser, share, lengths = self.learning.rate_regulariser, batch.share, batch.lengths
        value, loss = loss.detach(), share.weight * loss
        if regulariser.strength > 0:
            spikes, shape = seen.spikes, seen.y.shape[:2]
            counted, whole = shape.numel(), len(batch.x) * shape[1]
            if lengths is not None:
                inside = (parts > 0).to(seen.y)
                spikes = [s * inside.unsqueeze(2) for s in spikes]
                counted, whole = float(inside.sum()), int(lengths.sum())
            for fired in share.mean([s.sum((0, 1)) / max(1.0, counted) for s in spikes]):
                penalty = counted / whole * regulariser.loss(fired)
                value, loss = value + penalty.detach(), loss + penalty
        weights = parts.expand(seen.y.shape[:2]) / seen.y.shape[1]
        fired = torch.stack([(s.detach().mean(2) * weights).sum() for s in seen.spikes])
        psi_zero = torch.stack([(zeros * weights).sum() for zeros in seen.psi_zero])
        return _Measured(loss, value, seen.y.detach(), fired, psi_zero)
