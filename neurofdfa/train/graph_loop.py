"""Learning from an autograd graph: the gradient of a whole sequence, or of windows of it.

It stores every step's activations, so that its memory grows with the length of the sequence; in windows it
forgets where the state came from every so many steps, and the memory stays at one window.
"""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard, parts_of
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import answer_step, step_weight
from neurofdfa.nn.network import Masks, Trajectory
from neurofdfa.train.batch import BatchStats
from neurofdfa.train.learning import Learning
from neurofdfa.train.unroll import Window, unroll


class _Measured(NamedTuple):
    """Loss of a window, with its graph; without: its value, y `[K, B, k]`, and sums over its steps."""

    loss: Tensor
    value: Tensor
    y: Tensor
    fired: Tensor
    psi_zero: Tensor


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
        masks = network.draw_masks(x.shape[1], learning.generator)
        whole = [(x.shape[0], Shard(x.shape[1], learning.group))]
        found: list[BatchStats] = []
        for steps, share in whole if lengths is None else parts_of(lengths):
            found.append(self._backward(x[:steps], target, masks, share))
        stats = BatchStats(*(torch.stack(values).sum(0) for values in zip(*found, strict=True)))
        with torch.no_grad():
            learning.update(stats)
        return stats

    def _backward(self, x: Tensor, target: Tensor, masks: Masks | None, share: Shard) -> BatchStats:
        """Add the gradients of the samples here; what they add to the batch's measures."""
        learning, seen, steps = self.learning, list[_Measured](), x.shape[0]
        mine = None if masks is None else masks.select(share.rows)
        here, wanted = share.rows(x, 1), share.rows(target, 1 if target.dim() == 3 else 0)
        with torch.enable_grad():
            for window in self._windows(here, wanted, mine, share):
                window.loss.backward()  # pyright: ignore[reportUnknownMemberType]
                seen.append(window._replace(loss=window.value))
        answers = torch.cat([window.y for window in seen])[answer_step(learning.loss.when, steps) :]
        return BatchStats(
            share.weight * torch.stack([window.value for window in seen]).sum(),
            share.whole(learning.network.decode(answers)),
            share.weight * torch.stack([window.fired for window in seen]).sum(0) / steps,
            share.weight * torch.stack([window.psi_zero for window in seen]).sum(0) / steps,
        )

    def gradients(self, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """The gradient of one batch, in the order of `network.parameters()`; updates nothing."""
        parameters = list(self.learning.network.parameters())
        total = tuple(torch.zeros_like(p) for p in parameters)
        with torch.enable_grad():
            parts = [(x.shape[0], Shard(x.shape[1]))] if lengths is None else parts_of(lengths)
            for steps, share in parts:
                here, wanted = share.rows(x[:steps], 1), share.rows(target, 1 if target.dim() == 3 else 0)
                for window in self._windows(here, wanted, None, share):
                    more = torch.autograd.grad(window.loss, parameters, materialize_grads=True)
                    total = tuple(a + b for a, b in zip(total, more, strict=True))
        return total

    def run(self, x: Tensor) -> Trajectory:
        """Inference."""
        return self.learning.network.run(x)

    def abandon(self) -> None:
        """Nothing is kept between calls."""

    @property
    def habits(self) -> dict[str, bool]:
        """None."""
        return {}

    def resume(self, habits: dict[str, bool]) -> None:
        """Nothing depends on earlier batches."""

    def _windows(self, x: Tensor, target: Tensor, masks: Masks | None, share: Shard) -> Iterator[_Measured]:
        steps = x.shape[0]
        length = steps if self.window is None else min(self.window, steps)
        state = self.learning.network.initial_state(x.shape[1])
        for start in range(0, steps, length):
            seen = unroll(self.learning.network, x[start : start + length], state, masks)
            state = seen.state
            yield self._measured(self._loss(seen.y, target, start, steps), seen, steps, share)

    def _loss(self, y: Tensor, target: Tensor, start: int, steps: int) -> Tensor:
        """Of the steps from `start` on; where none of them carries an error, 0 with a gradient of 0."""
        loss = self.learning.loss
        weights = y.new_tensor([step_weight(loss, start + t, steps) for t in range(len(y))])
        wanted = target[start : start + len(y)] if target.dim() == 3 else target.expand(len(y), *target.shape)
        values = loss.value(y.flatten(0, 1), wanted.flatten(0, 1)).view(y.shape[:2])
        return (weights * values.mean(1)).sum()

    def _measured(self, loss: Tensor, seen: Window, steps: int, share: Shard) -> _Measured:
        regulariser = self.learning.rate_regulariser
        value, loss = loss.detach(), share.weight * loss
        if regulariser.strength > 0:
            for fired in share.mean([s.mean((0, 1)) for s in seen.spikes]):
                penalty = len(seen.y) / steps * regulariser.loss(fired)
                value, loss = value + penalty.detach(), loss + penalty
        fired = torch.stack([s.detach().mean((1, 2)).sum() for s in seen.spikes])
        return _Measured(loss, value, seen.y.detach(), fired, seen.psi_zero)
