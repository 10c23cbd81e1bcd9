"""How a run's rule assigns credit to its hidden layers, kept in its folder as credit.json.

Locality says what a rule reads, and an accuracy that something was learnt. Neither says that every layer
learns: per layer there are the angle and the size of its update beside the exact gradient's, how many of its
neurons are silent or hot, and what its learning is worth, the accuracy that is lost when the layers up to it
keep their first weights. Controls say what the task asks for: spike counts alone, and steps in random order.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from neurofdfa.errors import UserError
from neurofdfa.lab.document import Document, Measured, Record, Score, Text

if TYPE_CHECKING:  # reports read the file without what trains
    from neurofdfa.data.dataset import Dataset
    from neurofdfa.lab.config import RunConfig
    from neurofdfa.train.trainer import Trainer

NAME = "credit.json"
SAMPLES = 32
HOT = 0.3
"""Spikes per step from which on a neuron counts as hot."""


class LayerCredit(Record):
    """A hidden layer. cosine, cosine_std: of its update to the exact gradient, over samples; norm_ratio: of
    both, median; excluded: samples without one of them. rate: spikes per neuron and step; silent, hot: shares
    of the neurons that never fire and that fire in more than 30 % of the steps.
    """

    cosine: Measured
    cosine_std: Measured
    norm_ratio: Measured
    excluded: int
    rate: float
    silent: float
    hot: float


class Retrained(Record):
    """Validation accuracies of runs with the same settings, epoch with the lowest validation loss. frozen: by
    number of lower hidden layers that kept their first weights, from 0 on; shuffled: with the steps of every
    sample in an order of its own; counts: of a linear readout of the input's spike counts.
    """

    frozen: list[Score]
    shuffled: Score
    counts: Score

    @property
    def utility(self) -> list[float]:
        """What the learning of each hidden layer is worth, bottom up: accuracy lost by freezing it, too."""
        return [a - b for a, b in zip(self.frozen, self.frozen[1:], strict=False)]


class Credit(Document):
    """credit.json. rule: the run's; samples: of validation data that were looked at; layers: bottom up;
    retrained: None where nothing was trained again.
    """

    rule: Text
    samples: int
    layers: list[LayerCredit] = Field(default_factory=list[LayerCredit])
    retrained: Retrained | None = None


def layer_credit(learner: "Trainer", data: "Dataset", samples: int = SAMPLES) -> list[LayerCredit]:
    """Measure a trained learner's hidden layers on the first validation samples, without dropout."""
    import torch

    from neurofdfa.measure.alignment import alignment

    x, target, lengths = data.validation.first(samples)
    angles = alignment(learner, x, target, lengths)
    found: list[LayerCredit] = []
    inside = (torch.arange(len(x)).unsqueeze(1) < lengths).to(x).unsqueeze(2)
    for index, spikes in enumerate(learner.network.run(x).spikes):
        each = (spikes * inside).sum((0, 1)) / inside.sum()
        found.append(
            LayerCredit(
                cosine=angles.mean[index],
                cosine_std=angles.std[index],
                norm_ratio=angles.norm_ratio[index],
                excluded=angles.excluded[index],
                rate=float(each.mean()),
                silent=float((each == 0).float().mean()),
                hot=float((each > HOT).float().mean()),
            )
        )
    return found


def retrain(
    config: "RunConfig", data: "Dataset", progress: Callable[[str], None] = lambda _: None
) -> Retrained:
    """Train again with 0, 1, … all hidden layers frozen, and with shuffled steps; the test split stays shut.

    progress: told what is trained next. Raises `UserError` for regression, which has no accuracy.
    """
    from neurofdfa.data.order import shuffled
    from neurofdfa.lab.build import build_network
    from neurofdfa.measure.input_only import validation_of_counts

    if data.task != "classification":
        raise UserError("what a layer's learning is worth is said in accuracy, and these data are values")
    depth = len(build_network(config.network, data.n_in, data.n_out, config.seed, data.shape).hidden)
    frozen: list[float] = []
    for layers in range(depth + 1):
        progress(f"with {layers} of {depth} hidden layers frozen")
        frozen.append(_trained(config, data, layers))
    progress("with the steps of every sample shuffled")
    return Retrained(
        frozen=frozen,
        shuffled=_trained(config, data if config.data.order == "shuffled" else shuffled(data), 0),
        counts=validation_of_counts(data),
    )


def _trained(config: "RunConfig", data: "Dataset", frozen: int) -> float:
    """Validation accuracy in the epoch with the lowest validation loss."""
    import torch

    from neurofdfa.lab.build import (
        Given,
        build_network,
        build_optimizer,
        build_schedule,
        build_trainer,
        settle_rates,
    )
    from neurofdfa.train.fit import learn, triples

    network = build_network(config.network, data.n_in, data.n_out, config.seed, data.shape)
    if config.network.rate:
        settle_rates(network, data, config.network.rate)
    still = {id(p) for layer in network.hidden[:frozen] for p in layer.parameters()}
    optimizer = build_optimizer(config.training, network)
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in still]
    learner = build_trainer(config, network, data.answer_from, given=Given(network, optimizer=optimizer))
    epochs, batch = config.training.epochs, config.training.batch
    schedule = build_schedule(learner, config.training, epochs * -(-len(data.train) // batch))
    generator = torch.Generator().manual_seed(config.seed + 2)
    best = (math.inf, 0.0)
    for _ in range(epochs):
        learn(learner, triples(data.train.batches(batch, generator=generator)), schedule.step)
        found = learner.evaluate(data.validation)
        best = min(best, (found.loss, found.accuracy))
    return best[1]


def read_credit(folder: Path) -> Credit | None:
    """What a run folder holds of it, None when nothing. Raises `UserError` when the file is damaged."""
    return Credit.read(folder / NAME) if (folder / NAME).is_file() else None
