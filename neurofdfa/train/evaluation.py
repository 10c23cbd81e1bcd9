"""Inference on many samples: loss, accuracy, firing rates, silent neurons."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard, parts_of
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import Loss, answer_step, step_target, step_weight
from neurofdfa.nn.network import Network, Trajectory
from neurofdfa.train.batch import Inputs, densely, prepare, prepare_lengths


class Evaluation(NamedTuple):
    """loss: mean over the samples. accuracy: share of the samples whose highest score is their label, NaN for
    targets that are values. rates: spikes per neuron and step, per hidden layer. silent: neurons per hidden
    layer that never fired. samples: how many there were.
    """

    loss: float
    accuracy: float
    rates: list[float]
    silent: list[int]
    samples: int


@torch.no_grad()
def evaluate(
    network: Network,
    run: Callable[[Any], Trajectory],
    batches: Iterable[tuple[Any, Tensor]],
    loss: Loss,
    *,
    scores: Callable[[Any], Tensor] | None = None,
    group: ProcessGroup = SINGLE,
) -> Evaluation:
    """Run `batches` of time-major inputs and targets; every process of a group runs its share.

    run: of a batch; scores: of a batch, where they are not decoded from the outputs. Raises `UserError` where
    there is no batch.
    """
    samples, steps, labelled = 0, 0, 0
    correct, total = 0.0, 0.0
    fired: list[Tensor] = [torch.zeros(layer.n) for layer in network.hidden]
    for whole, targets in batches:
        batch = whole.shape[1]
        samples, steps = samples + batch, steps + batch * whole.shape[0]
        labelled += batch if targets.dim() == 1 else 0
        share = Shard(batch, group)
        if not share.weight:
            continue
        x = share.rows(whole, 1) if isinstance(whole, Tensor) else whole.rows(share.mine)
        target = share.rows(targets, 1 if targets.dim() == 3 else 0)
        seen = run(x)
        length = len(seen.y)
        answers = seen.y[answer_step(loss.when, length) :]
        correct += correct_in(network.decode(answers) if scores is None else scores(x), target)
        for t, y in enumerate(seen.y):
            weight = step_weight(loss, t, length)
            if weight:
                total += weight * float(loss.value(y, step_target(target, t)).sum())
        fired = [before + s.sum((0, 1)).cpu() for before, s in zip(fired, seen.spikes, strict=True)]
    if not samples:
        raise UserError("there is nothing to evaluate: the split or loader has no batch")
    sums = torch.tensor([correct, total], dtype=torch.float64)
    group.sum_([sums, *fired])
    return Evaluation(
        loss=float(sums[1]) / samples,
        accuracy=float(sums[0]) / labelled if labelled else float("nan"),
        rates=[float(spikes.mean()) / steps for spikes in fired],
        silent=[int((spikes == 0).sum()) for spikes in fired],
        samples=samples,
    )


def equally_long(
    network: Network,
    loss: Loss,
    batches: Iterable[tuple[Any, Any, Any]],
    *,
    lists: bool,
    batch_first: bool | None = None,
) -> Iterator[tuple[Inputs, Tensor]]:
    """Inputs and targets, checked, in batches whose samples have one length. batches: of x, target and
    lengths `[B]` or None. lists: leave lists of events as they are where all are as long as their batch.
    """
    for x, target, lengths in batches:
        given, wanted = prepare(network, loss, x, target, batch_first=batch_first)
        own = prepare_lengths(given, lengths)
        if own is None:
            yield given if lists else densely(network, given), wanted
            continue
        dense = densely(network, given)
        for steps, part in parts_of(own):
            yield (
                part.rows(dense[:steps], 1),
                part.rows(wanted, 1)[:steps] if wanted.dim() == 3 else part.rows(wanted),
            )


def correct_in(scores: Tensor, target: Tensor) -> float:
    """How many scores `[B, k]` are highest at their label `[B]`; 0 for targets that are no labels."""
    return float((scores.argmax(1) == target).sum()) if target.dim() == 1 else 0.0
