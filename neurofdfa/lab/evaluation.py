"""Inference on a split of a run's data: accuracy, loss, firing rates, silent neurons."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.lab.build import NOTHING, Given, build_loss, build_rule
from neurofdfa.lab.config import RunConfig
from neurofdfa.nn.network import Network, Trajectory
from neurofdfa.rules.base import Rule
from neurofdfa.train import evaluation
from neurofdfa.train.batch import densely
from neurofdfa.train.fit import triples

EVALUATION_BATCH = 256


class Evaluation(NamedTuple):
    """Of one split: accuracy 0..1 (negative mean loss for regression), mean loss, per-layer firing rates and
    number of neurons that never fired. confusion: how many samples of each class, a row, were taken for each
    class, a column, `[k, k]`; None for regression.
    """

    accuracy: float
    loss: float
    rates: list[float]
    silent: list[int]
    confusion: Tensor | None = None

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same, those of the matrix included."""
        return evaluation.same_numbers(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __str__(self) -> str:
        right = f"accuracy {self.accuracy:.1%}, " if self.accuracy >= 0 else ""
        rates = ", ".join(f"{rate:.1%}" for rate in self.rates)
        return f"{right}loss {self.loss:.4g}, firing rates {rates or 'none'}"


def evaluate(
    network: Network,
    config: RunConfig,
    data: Dataset,
    split: Split,
    group: ProcessGroup = SINGLE,
    given: Given = NOTHING,
) -> Evaluation:
    """Inference on a split, with the encoder's noise fixed; on the config's engine where that can run it.

    Every process of a group runs its share. given: what the user handed over in place of the config's.
    """
    loss = build_loss(config.training, data.answer_from) if given.loss is None else given.loss
    rule = build_rule(config.rule) if given.rule is None else given.rule
    run, lists = _inference(network, config)
    found = evaluation.evaluate(
        network,
        run,
        evaluation.checked(
            network, loss, triples(split.batches(EVALUATION_BATCH)), lists=lists, batch_first=False
        ),
        loss,
        scores=_own_scores(network, rule),
        group=group,
    )
    labelled = data.task == "classification" and not math.isnan(found.accuracy)  # NaN: targets are values
    accuracy = found.accuracy if labelled else -found.loss
    return Evaluation(accuracy, found.loss, found.rates, found.silent, found.confusion)


def _inference(network: Network, config: RunConfig) -> tuple[Callable[[Any], Trajectory], bool]:
    """What runs a batch, and whether it takes lists of events."""
    if config.training.engine != "reference":
        from neurofdfa.events import run  # numba takes a second to import
        from neurofdfa.events.support import why_not_network

        if why_not_network(network) is None:
            return partial(run, network, threads=config.training.threads), True
    return network.run, False


def _own_scores(network: Network, rule: Rule[Any]) -> Callable[[Any], Tensor] | None:
    """Scores that the rule reads its own way, with what it knows at the start."""
    if not rule.own_scores:
        return None
    state = rule.init(network, torch.Generator().manual_seed(0))
    return lambda x: rule.predict(network, densely(network, x), state)
