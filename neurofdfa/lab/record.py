"""What a run leaves in its folder: metrics.jsonl, one line per epoch, and summary.json, its outcome."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from neurofdfa.errors import UserError
from neurofdfa.io import write_text

METRICS = "metrics.jsonl"
SUMMARY = "summary.json"


def _or_nan(value: object) -> object:
    return math.nan if value is None else value


Measured = Annotated[float, BeforeValidator(_or_nan)]
"""A number that a run which diverges may not have: NaN, read from null too."""


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl; lists are per hidden layer. seconds: of training alone, and cpu_seconds what
    this process computed in them, which other programs on the machine lengthen less.
    """

    epoch: int
    seconds: float
    train_loss: Measured
    train_accuracy: Measured
    validation_loss: Measured
    validation_accuracy: Measured
    rates: list[Measured]
    psi_zero: list[Measured]
    alignment: list[Measured] | None
    alignment_std: list[Measured] | None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Summary:
    """The outcome of a run. Accuracies are of the epoch chosen on validation data; seconds and cpu_seconds
    of training alone;
    peak_mib is what training holds at its peak beyond weights and input: gradients, optimizer, activity, in
    one of the `processes` that shared every batch;
    feedback_quality: see `neurofdfa.measure.feedback`, after the last epoch, where alignment is measured.
    """

    rule: str
    data: str
    seed: int
    test_accuracy: float
    validation_accuracy: float
    best_epoch: int
    seconds: float
    peak_mib: float
    firing_rate: list[float]
    silent_neurons: list[int]
    samples: dict[str, int]
    command: str
    versions: dict[str, str]
    feedback_quality: list[Measured] | None = None
    processes: int = 1
    cpu_seconds: float | None = None


_EPOCH, _SUMMARY = TypeAdapter(Epoch), TypeAdapter(Summary)


def write_epochs(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Write all lines, whole."""
    write_text(folder / METRICS, "".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))


def read_epochs(folder: Path) -> list[Epoch]:
    """The epochs of a run, none when it has not finished one. A last line cut short by an interruption is
    left out. Raises `UserError` when the file is damaged.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    lines = [(k, line) for k, line in enumerate(_text(path).split("\n"), 1) if line.strip()]
    read: list[Epoch] = []
    for place, (k, line) in enumerate(lines, 1):
        try:
            read.append(_EPOCH.validate_json(line))
        except ValidationError as error:
            if place < len(lines) or error.errors()[0]["type"] != "json_invalid":
                raise _damaged(f"{path}, line {k}", error) from error
    return read


def read_summary(folder: Path) -> Summary:
    """The outcome of a finished run. Raises `UserError` when it is not finished, or the file is damaged."""
    path = folder / SUMMARY
    if not path.is_file():
        raise UserError(f"{folder} is not a finished run (no {SUMMARY})")
    try:
        return _SUMMARY.validate_json(_text(path))
    except ValidationError as error:
        raise _damaged(str(path), error) from error


def _damaged(where: str, error: ValidationError) -> UserError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return UserError(
        f"{where}: {f'`{key}`: ' if key else ''}{first['msg']}: the file is damaged or of another version"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
