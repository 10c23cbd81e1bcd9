"""Inference on many samples: loss, accuracy, firing rates, silent neurons."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard, parts_of
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import Loss, When, answer_step, answer_weights, step_target, step_weights
from neurofdfa.nn.network import Network, Trajectory
from neurofdfa.notebook import card
from neurofdfa.train.batch import Inputs, densely, prepare, prepare_lengths


class Evaluation(NamedTuple):
    """loss: mean over the samples. accuracy: share of the samples whose highest score is their label, NaN for
    targets that are values. rates: spikes per neuron and step, per hidden layer. silent: neurons per hidden
    layer that never fired. samples: how many there were. confusion: how many samples of each class, a row,
    were taken for each class, a column, `[k, k]`; None for targets that are values.
    """

    loss: float
    accuracy: float
    rates: list[float]
    silent: list[int]
    samples: int
    confusion: Tensor | None = None

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same, those of the matrix included."""
        return same_numbers(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __str__(self) -> str:
        right = "" if math.isnan(self.accuracy) else f"accuracy {self.accuracy:.1%}, "
        rates = ", ".join(f"{rate:.1%}" for rate in self.rates)
        return f"{right}loss {self.loss:.4g}, firing rates {rates or 'none'}, {self.samples} samples"

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        rows: list[tuple[object, ...]] = (
            [] if math.isnan(self.accuracy) else [("accuracy", f"{self.accuracy:.1%}")]
        )
        rows += [("loss", f"{self.loss:.4g}"), ("samples", self.samples)]
        rows += [
            (f"layer {number}", f"{rate:.1%} fire in a step, {silent} neurons never do")
            for number, (rate, silent) in enumerate(zip(self.rates, self.silent, strict=True), 1)
        ]
        return card("evaluation", rows)


def same_numbers(one: tuple[Any, ...], other: object) -> bool:
    """Whether two records of one type hold equal numbers, tensors included, which `==` refuses to compare."""
    if type(one) is not type(other):
        return False
    pairs: Any = zip(one, cast(tuple[Any, ...], other), strict=True)
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b or bool(a == b)
        for a, b in pairs
    )


def scores_of(network: Network, y: Tensor, when: When, lengths: Tensor | None) -> Tensor:
    """Scores `[B, k]` from outputs over time `[T, B, k]`; of each sample's own steps where there are lengths
    `[B]`. when: of the loss.
    """
    if lengths is None:
        return network.decode(y[answer_step(when, len(y)) :])
    if network.readout.decode != "mean":
        return y[lengths.to(y.device) - 1, torch.arange(y.shape[1], device=y.device)]
    shares = answer_weights(when, len(y), lengths).to(y)
    return (y * shares.unsqueeze(2)).sum(0)


def _inside(lengths: Tensor, steps: int) -> Tensor:
    """Whether a step is a sample's own, `[T, B]`."""
    return torch.arange(steps).unsqueeze(1) < lengths


@torch.no_grad()
def evaluate(
    network: Network,
    run: Callable[[Any], Trajectory],
    batches: Iterable[tuple[Any, Tensor] | tuple[Any, Tensor, Tensor | None]],
    loss: Loss,
    *,
    scores: Callable[[Any], Tensor] | None = None,
    group: ProcessGroup = SINGLE,
) -> Evaluation:
    """Run `batches` of time-major inputs and targets, and lengths `[B]` where samples have lengths of their
    own; every process of a group runs its share.

    run: of a batch; scores: of a batch, where they are not decoded from the outputs. Raises `UserError` where
    there is no batch.
    """
    samples, steps, labelled = 0, 0, 0
    total, classes = 0.0, network.n_out
    confused = torch.zeros(classes * classes, dtype=torch.float64)
    fired: list[Tensor] = [torch.zeros(layer.n) for layer in network.hidden]
    for whole, targets, *given in batches:
        batch, lengths = whole.shape[1], given[0] if given else None
        samples += batch
        steps += batch * whole.shape[0] if lengths is None else int(lengths.sum())
        labelled += batch if targets.dim() == 1 else 0
        share = Shard(batch, group)
        if not share.weight:
            continue
        x = share.rows(whole, 1) if isinstance(whole, Tensor) else whole.rows(share.mine)
        target = share.rows(targets, 1 if targets.dim() == 3 else 0)
        own = None if lengths is None else share.rows(lengths)
        seen = run(x)
        answer = (
            scores_of(network, seen.y, loss.when, own)
            if scores is None
            else asked(scores, densely(network, x), own)
        )
        if target.dim() == 1:
            pairs = classes * target + answer.argmax(1)
            confused += torch.bincount(pairs, minlength=len(confused)).to(confused)
        weights = step_weights(loss, len(seen.y), own).to(seen.y.device)
        for t, y in enumerate(seen.y):
            if weights[t].any():
                total += float((weights[t] * loss.value(y, step_target(target, t))).sum())
        spikes = seen.spikes
        if own is not None:
            inside = _inside(own, len(seen.y)).unsqueeze(2).to(seen.y)
            spikes = [s * inside for s in spikes]
        fired = [before + s.sum((0, 1)).cpu() for before, s in zip(fired, spikes, strict=True)]
    if not samples:
        raise UserError("there is nothing to evaluate: the split or loader has no batch")
    sums = torch.tensor([total], dtype=torch.float64)
    group.sum_([sums, confused, *fired])
    table = confused.view(classes, classes)
    return Evaluation(
        loss=float(sums[0]) / samples,
        accuracy=float(table.trace()) / labelled if labelled else float("nan"),
        rates=[float(spikes.mean()) / steps for spikes in fired],
        silent=[int((spikes == 0).sum()) for spikes in fired],
        samples=samples,
        confusion=table.to(torch.int64) if labelled else None,
    )


def asked(scores: Callable[[Any], Tensor], x: Any, lengths: Tensor | None) -> Tensor:
    """Scores `[B, k]` that a rule makes of time-major inputs itself, those of one length `[B]` at a time."""
    if lengths is None:
        return scores(x)
    return torch.stack([part.whole(scores(part.rows(x[:n], 1))) for n, part in parts_of(lengths)]).sum(0)


def checked(
    network: Network,
    loss: Loss,
    batches: Iterable[tuple[Any, Any, Any]],
    *,
    lists: bool,
    batch_first: bool | None = None,
) -> Iterator[tuple[Inputs, Tensor, Tensor | None]]:
    """Inputs, targets and lengths as `evaluate` takes them. batches: of x, target and lengths `[B]` or None.
    lists: leave lists of events as they are.
    """
    for x, target, lengths in batches:
        given, wanted = prepare(network, loss, x, target, batch_first=batch_first)
        yield given if lists else densely(network, given), wanted, prepare_lengths(given, lengths)


def correct_in(scores: Tensor, target: Tensor) -> float:
    """How many scores `[B, k]` are highest at their label `[B]`; 0 for targets that are no labels."""
    return float((scores.argmax(1) == target).sum()) if target.dim() == 1 else 0.0
