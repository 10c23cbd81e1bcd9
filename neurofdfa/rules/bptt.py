"""The reference: surrogate-gradient backpropagation through time on the same network.

Exact gradient of the loss where ψ stands for the spike's derivative (Neftci, Mostafa & Zenke 2019). It
stores every step's activations, so its memory grows with the length of the sequence; truncated (`window`),
it forgets where the state came from every so many steps (Williams & Peng 1990), and the memory stays at one
window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import CrossEntropy, Loss, answer_step, step_weight
from neurofdfa.nn.network import Masks, Network
from neurofdfa.rules.base import OptimizerFactory
from neurofdfa.rules.bptt_graph import Window, unroll
from neurofdfa.train.batch import BatchStats, check_batch
from neurofdfa.train.device import Device
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import adam, scale_rates


class _Window(NamedTuple):
    """Loss of a window, with its graph; without: its value, y `[K, B, k]`, and sums over its steps."""

    loss: Tensor
    value: Tensor
    y: Tensor
    fired: Tensor
    psi_zero: Tensor


class BPTT:
    """Trains a network by backpropagation through time; the same calls as `Trainer`.

    window: steps that a gradient reaches back at most, counted in blocks from the sequence's start; None
    for all of them. Weights change once per sequence either way. impairments: of the stored weights; there is
    neither bus nor trace to impair: raises `UserError` for others. team: as for `Trainer`.
    """

    def __init__(
        self,
        network: Network,
        optimizer: OptimizerFactory | None = None,
        *,
        loss: Loss | None = None,
        rate_target: RateRegulariser | None = None,
        impairments: Device | None = None,
        generator: torch.Generator | None = None,
        window: int | None = None,
        team: ProcessGroup = SINGLE,
    ) -> None:
        if window is not None and window < 1:
            raise UserError(f"a truncation window has at least 1 step, got {window}")
        self.network = network
        self.team = team
        self.window = window
        self.loss: Loss = loss if loss is not None else CrossEntropy()
        self.rate_target = rate_target if rate_target is not None else RateRegulariser(strength=0.0)
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self.optimizer = (optimizer if optimizer is not None else adam())(list(network.parameters()))
        self.impairments = impairments if impairments is not None else Device()
        if other := [name for name in self.impairments.active if name != "stored_weight_bits"]:
            raise UserError(f"{other[0]} does not apply to 'bptt': it has neither a broadcast nor traces")
        self.impairments.check_weights(network)
        self.stored = self.impairments.weights(network, self.generator)

    def train(self, x: Tensor, target: Tensor) -> BatchStats:
        """Learn from one batch of sequences. x: `[T, B, n_in]`; target as for `Trainer.train`."""
        check_batch(self.network, x, target)
        self.optimizer.zero_grad()
        seen: list[_Window] = []
        share = Shard(x.shape[1], self.team)
        masks = self.network.draw_masks(share.total, self.generator)
        if masks is not None:
            masks = masks.select(share.rows)
        here, wanted = share.rows(x, 1), share.rows(target, 1 if target.dim() == 3 else 0)
        with torch.enable_grad():
            for window in self._windows(here, wanted, masks, share):
                window.loss.backward()  # pyright: ignore[reportUnknownMemberType]
                seen.append(window._replace(loss=window.value))
        answers = torch.cat([window.y for window in seen])[answer_step(self.loss.when, x.shape[0]) :]
        stats = BatchStats(
            share.weight * torch.stack([window.value for window in seen]).sum(),
            share.whole(self.network.decode(answers)),
            share.weight * torch.stack([window.fired for window in seen]).sum(0) / x.shape[0],
            share.weight * torch.stack([window.psi_zero for window in seen]).sum(0) / x.shape[0],
        )
        self.team.sum_([*(p.grad for p in self.network.parameters() if p.grad is not None), *stats])
        self.optimizer.step()
        self.impairments.store(self.stored, self.generator)
        return stats

    def predict(self, x: Tensor) -> Tensor:
        """Scores `[B, k]` of sequences `[T, B, n_in]`."""
        return self.network.decode(self.network.run(x).y)

    def scale_learning_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times its initial value, for schedules."""
        scale_rates(self.optimizer, factor)

    def gradients(self, x: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        """The gradient of one batch, in the order of `network.parameters()`; updates nothing. In a team
        each process computes the whole batch's by itself.
        """
        check_batch(self.network, x, target)
        parameters = list(self.network.parameters())
        total = tuple(torch.zeros_like(p) for p in parameters)
        with torch.enable_grad():
            for window in self._windows(x, target, None, Shard(x.shape[1])):
                more = torch.autograd.grad(window.loss, parameters, materialize_grads=True)
                total = tuple(a + b for a, b in zip(total, more, strict=True))
        return total

    def _windows(self, x: Tensor, target: Tensor, masks: Masks | None, share: Shard) -> Iterator[_Window]:
        steps = x.shape[0]
        length = steps if self.window is None else min(self.window, steps)
        state = self.network.initial_state(x.shape[1])
        for start in range(0, steps, length):
            seen = unroll(self.network, x[start : start + length], state, masks)
            state = seen.state
            yield self._measured(self._loss(seen.y, target, start, steps), seen, steps, share)

    def _loss(self, y: Tensor, target: Tensor, start: int, steps: int) -> Tensor:
        """Of the steps from `start` on; where none of them carries an error, 0 with a gradient of 0."""
        weights = y.new_tensor([step_weight(self.loss, start + t, steps) for t in range(len(y))])
        wanted = target[start : start + len(y)] if target.dim() == 3 else target.expand(len(y), *target.shape)
        values = self.loss.value(y.flatten(0, 1), wanted.flatten(0, 1)).view(y.shape[:2])
        return (weights * values.mean(1)).sum()

    def _measured(self, loss: Tensor, seen: Window, steps: int, share: Shard) -> _Window:
        value, loss = loss.detach(), share.weight * loss
        if self.rate_target.strength > 0:
            for fired in share.mean([s.mean((0, 1)) for s in seen.spikes]):
                penalty = len(seen.y) / steps * self.rate_target.loss(fired)
                value, loss = value + penalty.detach(), loss + penalty
        fired = torch.stack([s.detach().mean((1, 2)).sum() for s in seen.spikes])
        return _Window(loss, value, seen.y.detach(), fired, seen.psi_zero)
