"""Inference on a split: accuracy, loss, firing rates, silent neurons."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.data.batches import evaluation_batches
from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.lab.build import build_loss
from neurofdfa.lab.config import RunConfig
from neurofdfa.nn.loss import step_target, step_weight
from neurofdfa.nn.network import Network, Trajectory
from neurofdfa.rules import Rule, rule_named

EVALUATION_BATCH = 256


class Evaluation(NamedTuple):
    """Of one split: accuracy 0..1 (negative mean loss for regression), mean loss, per-layer firing rates and
    number of neurons that never fired.
    """

    accuracy: float
    loss: float
    rates: list[float]
    silent: list[int]


@torch.no_grad()
def evaluate(
    network: Network, config: RunConfig, data: Dataset, split: Split, team: ProcessGroup = SINGLE
) -> Evaluation:
    """Inference on a split, with the encoder's noise fixed; on the config's engine where that can run it.

    Every process of a team runs its share.
    """
    loss_of = build_loss(config.training, data.answer_from)
    rule = _rule_that_predicts(config)
    run = _inference(network, config)
    correct, loss = 0.0, 0.0
    fired: list[Tensor] = [torch.zeros(layer.n) for layer in network.hidden]
    for whole, targets in evaluation_batches(data, split, EVALUATION_BATCH):
        share = Shard(whole.shape[1], team)
        if not share.weight:
            continue
        x, target = share.rows(whole, 1), share.rows(targets, 1 if targets.dim() == 3 else 0)
        seen = run(x)
        steps = len(seen.y)
        answer = seen.y[data.answer_from :]
        correct += correct_in(
            network.decode(answer) if rule is None else _own_scores(rule, network, x), target
        )
        for t, y in enumerate(seen.y):
            weight = step_weight(loss_of, t, steps)
            if weight:
                loss += weight * float(loss_of.value(y, step_target(target, t)).sum())
        fired = [total + spikes.sum((0, 1)) for total, spikes in zip(fired, seen.spikes, strict=True)]
    sums = torch.tensor([correct, loss], dtype=torch.float64)
    team.sum_([sums, *fired])
    correct, loss = float(sums[0]), float(sums[1])
    n = len(split)
    return Evaluation(
        correct / n if data.task == "classification" else -loss / n,
        loss / n,
        [float(total.mean()) / (n * data.steps) for total in fired],
        [int((total == 0).sum()) for total in fired],
    )


def _inference(network: Network, config: RunConfig) -> Callable[[Tensor], Trajectory]:
    if config.training.engine == "events":
        from neurofdfa.events import run  # numba takes a second to import
        from neurofdfa.events.support import why_not_network

        if why_not_network(network) is None:
            return partial(run, network)
    return network.run


def _rule_that_predicts(config: RunConfig) -> Rule[Any] | None:
    """The config's rule where it reads predictions its own way (forward-forward), else None."""
    if config.rule.name == "bptt":
        return None
    rule = rule_named(config.rule.name, **config.rule.options)
    kind: Any = type(rule)
    return None if kind.predict is Rule.predict else rule  # pyright: ignore[reportUnknownMemberType]


def _own_scores(rule: Rule[Any], network: Network, x: Tensor) -> Tensor:
    return rule.predict(network, x, rule.init(network, torch.Generator().manual_seed(0)))


def correct_in(scores: Tensor, target: Tensor) -> float:
    """How many scores `[B, k]` are highest at their label `[B]`; 0 for targets that are no labels."""
    return float((scores.argmax(1) == target).sum()) if target.dim() == 1 else 0.0
