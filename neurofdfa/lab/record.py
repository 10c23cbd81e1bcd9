"""What a run leaves in its folder: metrics.jsonl, one line per epoch, and summary.json, its outcome."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from neurofdfa.errors import UserError
from neurofdfa.io import read_text, write_text
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.document import (
    Command,
    Document,
    Measured,
    MeasuredScore,
    Record,
    Score,
    Text,
    Versions,
    damaged,
    versions,
)
from neurofdfa.lab.table import printable
from neurofdfa.train.fit import EpochStats

CONFIG = "config.toml"
CONFUSION = "confusion.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
FAILURE = "failure.txt"

__all__ = [
    "CONFIG", "CONFUSION", "FAILURE", "METRICS", "SUMMARY", "Confusion", "Epoch", "RunFolder", "Summary",
    "is_run", "read_confusion", "read_epochs", "read_run", "read_summary", "refuse_diverged", "versions",
    "write_epochs",
]  # fmt: skip


class Epoch(Record):
    """One line of metrics.jsonl; lists are per hidden layer. seconds: of training alone, and cpu_seconds what
    this process computed in them, which other programs on the machine lengthen less. skipped, halved: what
    was done about numbers that were not finite, see `TrainingConfig.diverged`: batches left out, and
    times that the learning rate was halved before this epoch could be learnt.
    """

    epoch: Annotated[int, Field(ge=1)]
    seconds: float
    train_loss: Measured
    train_accuracy: MeasuredScore
    validation_loss: Measured
    validation_accuracy: MeasuredScore
    rates: list[Measured]
    psi_zero: list[Measured]
    alignment: list[Measured] | None = None
    alignment_std: list[Measured] | None = None
    cpu_seconds: float | None = None
    skipped: Annotated[int, Field(ge=0)] = 0
    halved: Annotated[int, Field(ge=0)] = 0

    def stats(self, learning_rate: float) -> EpochStats:
        """What callbacks are handed. learning_rate: at the end of the epoch."""
        return EpochStats(
            epoch=self.epoch,
            train_loss=self.train_loss,
            train_accuracy=self.train_accuracy,
            validation_loss=self.validation_loss,
            validation_accuracy=self.validation_accuracy,
            rates=tuple(self.rates),
            psi_zero=tuple(self.psi_zero),
            learning_rate=learning_rate,
            seconds=self.seconds,
            alignment=None if self.alignment is None else tuple(self.alignment),
        )


class Summary(Document):
    """The outcome of a run. Accuracies are of the epoch chosen on validation data; seconds and cpu_seconds
    of training alone;
    peak_mib is what training holds at its peak beyond weights and input: gradients, optimizer, activity, in
    one of the `processes` that shared every batch;
    warm_up_seconds: that the event engine took to be ready, in no `seconds`; test_openings: how often the
    test split was looked at, once more each time that a finished run went on.
    feedback_quality: see `neurofdfa.measure.feedback`, after the last epoch, where alignment is measured.
    """

    rule: Text
    data: Text
    seed: int
    test_accuracy: Score
    validation_accuracy: Score
    best_epoch: Annotated[int, Field(ge=1)]
    seconds: float
    peak_mib: float
    firing_rate: list[Measured]
    silent_neurons: list[int]
    samples: dict[str, int]
    command: Command
    versions: Versions
    feedback_quality: list[Measured] | None = None
    processes: int = 1
    cpu_seconds: float | None = None
    warm_up_seconds: float | None = None
    test_openings: int = 1


class Confusion(Document):
    """confusion.json of a classifier. counts: how many test samples of each class, a row, were taken for each
    class, a column. classes: their names, empty where the data say none.
    """

    counts: Annotated[list[list[Annotated[int, Field(ge=0)]]], Field(min_length=1)]
    classes: list[Text] = Field(default_factory=list[str])

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.counts)
        if any(len(row) != size for row in self.counts) or len(self.classes) not in (0, size):
            raise ValueError(f"`counts` and `classes` do not tell of {size} classes each")
        return self

    @property
    def names(self) -> list[str]:
        """A name for every class, its number where it has none."""
        return self.classes or [str(number) for number in range(len(self.counts))]


@dataclass(frozen=True)
class RunFolder:
    """A run folder; `summary` is None while the run is not finished, `text` is config.toml as it stands.

    failure: why it ended without a result, empty where it did not.
    """

    folder: Path
    config: RunConfig
    text: str
    epochs: tuple[Epoch, ...]
    summary: Summary | None
    failure: str = ""

    @property
    def rule(self) -> str:
        """Name of the learning rule."""
        return printable(self.config.rule.name)

    @property
    def data(self) -> str:
        """Name of the data."""
        return printable(self.config.data.name)

    @property
    def regression(self) -> bool:
        """Whether its accuracies are mean losses with a minus, which no share of right answers can be."""
        return any(epoch.validation_accuracy < 0 for epoch in self.epochs)


def is_run(folder: Path) -> bool:
    """Whether `folder` looks like a run folder."""
    return (folder / CONFIG).is_file()


def read_run(folder: Path) -> RunFolder:
    """Read a run folder; an unfinished run is read as far as it got. Raises `UserError` where damaged."""
    return RunFolder(
        folder=folder,
        config=load_config(folder / CONFIG),
        text=read_text(folder / CONFIG),
        epochs=tuple(read_epochs(folder)),
        summary=read_summary(folder) if (folder / SUMMARY).is_file() else None,
        failure=printable(read_text(folder / FAILURE).strip().split("\n")[-1])
        if (folder / FAILURE).is_file()
        else "",
    )


def write_epochs(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write all lines, whole."""
    write_text(folder / METRICS, "".join(epoch.model_dump_json() + "\n" for epoch in epochs))


def read_epochs(folder: Path) -> list[Epoch]:
    """The epochs of a run, none when it has not finished one. A last line cut short by an interruption is
    left out. Raises `UserError` when the file is damaged, or an epoch is missing or out of order.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    lines = [(k, line) for k, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    read: list[Epoch] = []
    for place, (k, line) in enumerate(lines, 1):
        try:
            epoch = Epoch.model_validate_json(line, strict=True)
        except ValidationError as error:
            if place < len(lines) or error.errors()[0]["type"] != "json_invalid":
                raise damaged(f"{path}, line {k}", error) from error
            return read
        if epoch.epoch != place:
            raise UserError(
                f"{path}, line {k}: epoch {epoch.epoch} where {place} belongs: the file is damaged"
            )
        read.append(epoch)
    return read


def read_summary(folder: Path) -> Summary:
    """The outcome of a finished run. Raises `UserError` when it is not finished, or the file is damaged."""
    path = folder / SUMMARY
    if not path.is_file():
        raise UserError(f"{folder} is not a finished run (no {SUMMARY})")
    return Summary.read(path)


def read_confusion(folder: Path) -> Confusion | None:
    """The confusion matrix of a finished run, None where it has none. Raises `UserError` where damaged."""
    path = folder / CONFUSION
    return Confusion.read(path) if path.is_file() else None


def refuse_diverged(folder: Path, chosen: int, epochs: Sequence[Epoch]) -> None:
    """Raise `UserError` where the chosen epoch of a run has no finite loss: there is no result to compare."""
    loss = next((epoch.validation_loss for epoch in epochs if epoch.epoch == chosen), 0.0)
    if not math.isfinite(loss):
        raise UserError(
            f"{folder}: the training diverged, its loss is not finite at epoch {chosen}: take a smaller "
            "learning rate"
        )
