"""Losses and their derivative e[t] = ∂loss/∂y[t], written out by hand: no graph is ever built.

A loss over a sequence is Σ_t w[t] · loss(y[t], target[t]), averaged over the batch. `when` sets w:
"every-step" 1/T at each step, "last" 1 at the final step and 0 before; a number t₀ 1/(T − t₀) from step t₀
on and 0 before, for tasks whose answer is not defined earlier.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from neurofdfa.errors import UserError

When = Literal["every-step", "last"] | int
Targets = Literal["labels", "values"]
"""What a loss compares outputs with: class indices `[B]`, or numbers `[B, k]` (or `[T, B, k]`)."""


class Loss(Protocol):
    """Per-step loss value `[B]` and derivative `[B, k]` for outputs y `[B, k]`.

    A loss that names its `takes` ("labels" or "values") has its targets checked before anything is learnt.
    """

    @property
    def when(self) -> When:
        """At which steps the loss is taken."""
        ...

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        """Loss per sample, `[B]`."""
        ...

    def error(self, y: Tensor, target: Tensor) -> Tensor:
        """∂loss/∂y, `[B, k]`."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """−log softmax(y)[label]; e = softmax(y) − onehot(label). target: class indices `[B]`."""

    takes: ClassVar[Targets] = "labels"
    when: When = "every-step"

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B]`, in nats."""
        return torch.nn.functional.cross_entropy(y, target, reduction="none")

    def error(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B, k]`."""
        return torch.softmax(y, 1) - one_hot(target, y)


@dataclass(frozen=True)
class MeanSquaredError:
    """½ Σ_k (y − target)²; e = y − target. target: values `[B, k]` (or `[T, B, k]`, one per step)."""

    takes: ClassVar[Targets] = "values"
    when: When = "every-step"

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B]`, in squared output units."""
        return 0.5 * (y - target).square().sum(1)

    def error(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B, k]`."""
        return y - target


@dataclass(frozen=True)
class SpikeCountError:
    """½ Σ_k (y − c_k)², y the spike count so far and c its target at the end of the sequence.

    correct, wrong: target counts of the labelled class and of the others. target: class indices `[B]`.
    """

    takes: ClassVar[Targets] = "labels"
    correct: float = 8.0
    wrong: float = 0.0
    when: When = "last"

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B]`, in squared spikes."""
        return 0.5 * self.error(y, target).square().sum(1)

    def error(self, y: Tensor, target: Tensor) -> Tensor:
        """`[B, k]`."""
        return y - self.wrong - (self.correct - self.wrong) * one_hot(target, y)


LOSSES = {
    "cross-entropy": CrossEntropy,
    "mean-squared-error": MeanSquaredError,
    "spike-count": SpikeCountError,
}


def loss_named(name: str, when: When | None = None, **settings: float) -> Loss:
    """Look a loss up by name; raises `UserError` when there is none of that name, or for a setting that it
    does not take.
    """
    if name not in LOSSES:
        raise UserError(f"unknown loss '{name}': choose one of {', '.join(LOSSES)}")
    given: dict[str, Any] = dict(settings) if when is None else settings | {"when": when}
    try:
        return LOSSES[name](**given)
    except TypeError as error:
        raise UserError(f"loss '{name}': {error}") from error


EVERY: Loss = CrossEntropy(when="every-step")
"""A loss whose weights are the parts of a mean over all steps."""


def step_weight(loss: Loss, t: int, steps: int) -> float:
    """w[t] for a sequence of `steps` steps."""
    first = first_step(loss.when, steps)
    return 1.0 / (steps - first) if t >= first else 0.0


def first_step(when: When, steps: int) -> int:
    """The first step of a sequence of `steps` that carries an error; never beyond the last."""
    if when == "every-step":
        return 0
    return steps - 1 if when == "last" else min(when, steps - 1)


def answer_step(when: When, steps: int) -> int:
    """The first step at which outputs are part of an answer: where the loss begins, if it has a window."""
    return 0 if isinstance(when, str) else first_step(when, steps)


def first_steps(when: When, lengths: Tensor) -> Tensor:
    """`first_step` of sequences of each of these lengths, `[B]`."""
    if when == "every-step":
        return torch.zeros_like(lengths)
    return lengths - 1 if when == "last" else torch.clamp(lengths - 1, max=when)


def answer_steps(when: When, lengths: Tensor) -> Tensor:
    """`answer_step` of sequences of each of these lengths, `[B]`."""
    return torch.zeros_like(lengths) if isinstance(when, str) else first_steps(when, lengths)


def step_weights(loss: Loss, steps: int, lengths: Tensor | None) -> Tensor:
    """W of every step, `[T, 1]`, or of every step of every sample's own, `[T, B]`, 0 behind its end."""
    own = torch.tensor([steps]) if lengths is None else lengths
    return _window(first_steps(loss.when, own), own, steps)


def answer_weights(when: When, steps: int, lengths: Tensor) -> Tensor:
    """What every step is of the mean of the outputs that are a sample's answer, `[T, B]`."""
    return _window(answer_steps(when, lengths), lengths, steps)


def _window(firsts: Tensor, ends: Tensor, steps: int) -> Tensor:
    """1/(end − first) from the first step up to the end, 0 elsewhere, `[T, B]`."""
    t = torch.arange(steps).unsqueeze(1)
    return ((t >= firsts) & (t < ends)).double() / (ends - firsts)


def step_target(target: Tensor, t: int) -> Tensor:
    """The target of step t: `[T, B, k]` targets change over time, all others hold throughout."""
    return target[t] if target.dim() == 3 else target


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """`[B]` class indices → `[B, k]` in the dtype and width of `like`."""
    return torch.zeros_like(like).scatter_(1, labels.unsqueeze(1), 1.0)
