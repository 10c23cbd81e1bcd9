"""Epochs for those who want no loop of their own: measures, callbacks, a progress bar."""

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

import torch
from tqdm.auto import tqdm

from neurofdfa.data.samples import as_samples
from neurofdfa.errors import Diverged, UserError
from neurofdfa.train.evaluation import correct_in

if TYPE_CHECKING:
    from neurofdfa.train.trainer import Trainer


@runtime_checkable
class Batches(Protocol):
    """A split of a data set: it makes time-major batches itself."""

    def batches(self, batch_size: int, *, seed: int | None = None) -> Iterable[tuple[Any, ...]]:
        """`(x, target)`, or `(x, target, lengths)`; seed: of order and noise, None for the order as it is and
        noise that is fixed.
        """
        ...


Source: TypeAlias = Batches | Iterable[tuple[Any, ...]]
"""Where batches come from: a split of a data set, or a loader."""
Schedule = Literal["epoch", "batch"]


class Scheduler(Protocol):
    """Any of `torch.optim.lr_scheduler`."""

    def step(self, *arguments: Any) -> None:
        """Move on."""
        ...


@dataclass(frozen=True)
class EpochStats:
    """Measures of one epoch. train_*: means over its batches, while they were learnt from; validation_*: at
    its end, None without validation data; accuracies are NaN for targets that are values. rates: spikes per
    neuron and step, per hidden layer; psi_zero: the share of neurons and steps without a surrogate gradient,
    per hidden layer; alignment: the cosine of the update to BPTT's per hidden layer, where it is measured.
    learning_rate: at its end. seconds: of learning alone.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    rates: tuple[float, ...]
    psi_zero: tuple[float, ...]
    learning_rate: float
    seconds: float
    alignment: tuple[float, ...] | None = None


Callback: TypeAlias = Callable[["Trainer", EpochStats], Any]
"""Called after every epoch; one that returns True ends the training."""


def batches_of(
    data: Source, batch: int, seed: int | None, batch_first: bool | None
) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, target, lengths)` of a split, whose batches are time-major, of a data set or an iterable of single
    samples, which become such batches, or of a loader; lengths: None where a batch brings none. Raises
    `UserError` where there is none of them. batch_first: hand them over so.
    """
    given: Any = data
    if not isinstance(given, Batches) and isinstance(given, Iterable | Sized):
        samples, given = as_samples(given, seed)
        given = given if samples is None else samples
    split = isinstance(given, Batches)
    for x, target, lengths in triples(given.batches(batch, seed=seed) if split else given):
        if split and batch_first:
            x = x.transpose(0, 1) if isinstance(x, torch.Tensor) else x
            target = target.transpose(0, 1) if target.dim() == 3 else target
        yield x, target, lengths


def triples(batches: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, target, lengths)` of batches that are that or `(x, target)`; raises `UserError` for others."""
    try:
        given: Iterator[Any] = iter(batches)
    except TypeError as error:
        raise UserError(
            f"batches come from a split of a data set or a loader of (x, target), not "
            f"{type(batches).__name__}"
        ) from error
    for each in given:
        if not isinstance(each, (tuple, list)) or len(cast(tuple[Any, ...], each)) not in (2, 3):
            raise UserError("a batch is (x, target), or (x, target, lengths) of samples of unequal lengths")
        x, target, *lengths = cast(tuple[Any, ...], each)
        yield x, target, lengths[0] if lengths else None


class Learnt(NamedTuple):
    """Measures of the batches of an epoch: means over its samples, while they were learnt from. accuracy: NaN
    for targets that are values. rates, psi_zero: per hidden layer. seconds, cpu_seconds: of learning alone.
    skipped: batches from which nothing was learnt, since numbers were not finite.
    """

    samples: int
    loss: float
    accuracy: float
    rates: tuple[float, ...]
    psi_zero: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    skipped: int = 0


def learn(
    trainer: "Trainer",
    batches: Iterable[tuple[Any, Any, Any]],
    after_batch: Callable[[], Any] | None = None,
    *,
    skip: bool = False,
) -> Learnt:
    """Learn from every batch of x, target and lengths; skip: leave out those whose numbers are not finite.

    Raises `UserError` where there is no batch, and `Diverged` where all were left out, or an update broke the
    weights.
    """
    skipped, last = 0, None
    samples, labelled, seconds, cpu_seconds, loss, correct = 0, 0, 0.0, 0.0, 0.0, 0.0
    rates = torch.zeros(len(trainer.network.hidden), dtype=torch.float64)
    psi_zero = torch.zeros_like(rates)
    for x, target, lengths in batches:
        started, computed = time.perf_counter(), time.process_time()
        updates = trainer.updates
        try:
            stats = trainer.step(x, target, lengths)
        except Diverged as error:
            if not skip or trainer.updates != updates:
                raise
            last, stats = error, None
        seconds += time.perf_counter() - started
        cpu_seconds += time.process_time() - computed
        if stats is None:
            skipped += 1
            if after_batch is not None:
                after_batch()
            continue
        count, wanted = len(stats.scores), torch.as_tensor(target)
        samples += count
        loss += float(stats.loss) * count
        rates += stats.rates.double().cpu() * count
        psi_zero += stats.psi_zero.double().cpu() * count
        if wanted.dim() == 1:
            labelled += count
            correct += correct_in(stats.scores, wanted.to(stats.scores.device))
        if after_batch is not None:
            after_batch()
    if not samples and last is not None:
        raise Diverged(f"none of the {skipped} batches could be learnt from: {last}") from last
    if not samples:
        raise UserError(
            "there is nothing to learn from: the split or loader has no batch (an iterator is used up after "
            "one epoch: give a list or a loader)"
        )
    return Learnt(
        samples,
        loss / samples,
        correct / labelled if labelled else float("nan"),
        tuple(float(rate) / samples for rate in rates),
        tuple(float(share) / samples for share in psi_zero),
        seconds,
        cpu_seconds,
        skipped,
    )


def fit(
    trainer: "Trainer",
    train: Source,
    validation: Source | None,
    epochs: int,
    *,
    batch: int,
    callbacks: Iterable[Callback],
    scheduler: Scheduler | None,
    schedule: Schedule,
    progress: bool,
) -> list[EpochStats]:
    """As `Trainer.fit`, which explains the arguments."""
    if epochs < 1:
        raise UserError(f"fit for at least 1 epoch, got {epochs}")
    if schedule not in ("epoch", "batch"):
        raise UserError(f"a schedule goes by epoch or by batch, not '{schedule}'")
    done: list[EpochStats] = []
    last = trainer.epochs + epochs
    for _ in range(epochs):
        found = _epoch(trainer, train, validation, batch, last, scheduler, schedule, progress)
        trainer.epochs = found.epoch
        done.append(found)
        ends = [callback(trainer, found) for callback in callbacks]
        if any(end is True for end in ends):
            break
    return done


def _epoch(
    trainer: "Trainer",
    train: Source,
    validation: Source | None,
    batch: int,
    last: int,
    scheduler: Scheduler | None,
    schedule: Schedule,
    progress: bool,
) -> EpochStats:
    number = trainer.epochs + 1
    bar: Any = tqdm(
        batches_of(train, batch, trainer.epochs, trainer.batch_first),
        desc=f"epoch {number}/{last}",
        unit="batch",
        leave=False,
        total=_count(train),
        disable=None if progress else True,
    )
    learnt = learn(trainer, bar, scheduler.step if scheduler is not None and schedule == "batch" else None)
    found = None if validation is None else trainer.evaluate(validation)
    result = EpochStats(
        epoch=number,
        train_loss=learnt.loss,
        train_accuracy=learnt.accuracy,
        validation_loss=None if found is None else found.loss,
        validation_accuracy=None if found is None else found.accuracy,
        rates=learnt.rates,
        psi_zero=learnt.psi_zero,
        learning_rate=float(trainer.optimizer.param_groups[0]["lr"]),
        seconds=learnt.seconds,
    )
    if scheduler is not None and schedule == "epoch":
        _step_by_epoch(scheduler, result)
    return result


def _count(data: Source) -> int | None:
    """How many batches a loader has, where it says so."""
    length: Any = getattr(data, "__len__", None)
    return None if isinstance(data, Batches) or length is None else int(length())


def _step_by_epoch(scheduler: Scheduler, found: EpochStats) -> None:
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(found.train_loss if found.validation_loss is None else found.validation_loss)
    else:
        scheduler.step()


class CSVLog:
    """A callback that writes one line per epoch into a file, which is whole after every epoch."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, trainer: "Trainer", found: EpochStats) -> None:
        """Add a line; the first one brings the heading."""
        row = _flat(found)
        new = found.epoch == 1 or not self.path.exists()
        with open(self.path, "w" if new else "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


class TensorBoardLog:
    """A callback that writes every epoch's measures for TensorBoard, which `tensorboard --logdir` shows.

    What goes on after an interruption goes on in the same charts. Nothing is written before the first epoch.
    Raises `UserError` when TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"live charts need TensorBoard ({error}): pip install 'neurofdfa[live]'"
            ) from error
        self._open: Any = partial(SummaryWriter, str(folder))
        self._writer: Any = None

    def __call__(self, trainer: "Trainer", found: EpochStats) -> None:
        """Add a point to every chart."""
        if self._writer is None:
            self._writer = self._open(purge_step=found.epoch)
        for name, value in _flat(found).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(_chart(name), value, found.epoch)
        self._writer.flush()


def _flat(found: EpochStats) -> dict[str, Any]:
    """One number per name; what each layer has comes last."""
    row = asdict(found)
    per_layer = {"rate": row.pop("rates"), "dead": row.pop("psi_zero"), "alignment": row.pop("alignment")}
    for name, values in per_layer.items():
        row |= {f"{name}_layer{index}": value for index, value in enumerate(values or (), 1)}
    return row


def _chart(name: str) -> str:
    """Charts of one measure stand side by side: loss/train, loss/validation; rate/layer1, rate/layer2."""
    of, _, measure = name.partition("_")
    return f"{measure}/{of}" if of in ("train", "validation") else name.replace("_layer", "/layer")
