"""One run: train, choose the epoch on validation data, open the test split once, write the folder.

A run folder holds config.toml, metrics.jsonl (one line per epoch), checkpoint.safetensors (weights of the
epoch with the lowest validation loss), state.safetensors (to resume), raster.npz, network.nir,
energy.json, confusion.json (of classifiers) and summary.json, which is written last: a folder with a summary
is a finished run. A training that diverges ends with the reason in failure.txt; checkpoint and state are
those of its last good epochs.
A network, a rule and samples of the user's own take the same way (`neurofdfa.run`): samples stand in
data.npz then.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.errors import Diverged, UserError
from neurofdfa.interop.nir import export_nir, why_not_nir
from neurofdfa.io import (
    load_weights,
    locked,
    read_tensors,
    remove_leftovers,
    write_tensors,
    write_text,
    write_whole,
)
from neurofdfa.lab.build import (
    NOTHING,
    Given,
    build_data,
    build_network,
    build_schedule,
    build_trainer,
    settle_rates,
)
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.energy import keep_if_countable
from neurofdfa.lab.evaluation import evaluate
from neurofdfa.lab.kept_data import NAME as DATA
from neurofdfa.lab.kept_data import keep as keep_data
from neurofdfa.lab.record import (
    CONFIG,
    CONFUSION,
    FAILURE,
    METRICS,
    SUMMARY,
    Confusion,
    Epoch,
    Summary,
    read_epochs,
    versions,
    write_epochs,
)
from neurofdfa.measure.alignment import alignment
from neurofdfa.measure.feedback import feedback_quality
from neurofdfa.measure.memory import peak_mib
from neurofdfa.nn.network import Network
from neurofdfa.train.fit import Callback, learn, triples
from neurofdfa.train.state import agree, agree_on_weights
from neurofdfa.train.trainer import Trainer

RASTER_SAMPLES = 6
HALVINGS = 8
"""Of the learning rate, at most, before one epoch."""
STATE = "state.safetensors"
PREVIOUS = "summary.previous.json"
"""The outcome of a run that goes on, until it has ended again."""


Progress = Callable[[Epoch, int], None]


class _Parts(NamedTuple):
    """What one run is made of."""

    config: RunConfig
    folder: Path
    data: Dataset
    given: Given
    learner: Trainer
    generator: torch.Generator
    schedule: LambdaLR


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    command: str = "",
    resume: bool = False,
    progress: Progress | None = None,
    on_batch: Callable[[], None] | None = None,
    callbacks: Sequence[Callback] = (),
    group: ProcessGroup = SINGLE,
    given: Given = NOTHING,
    held: bool = False,
) -> Summary:
    """Run `config` into `folder`; progress is called after every epoch with it and their number.

    callbacks: called with the trainer and every epoch that is kept; one that returns True ends the training.
    resume: go on from the last finished epoch of an interrupted run of the same config, bit for bit, or with
    a finished run whose config differs in having more epochs. group: the processes that train together, all
    with the same config; rank 0 writes and hears of progress, and all return what it found. given: what the
    user hands over in place of what the config describes. held: whether the caller has the folder's lock.
    Raises `UserError` when the folder is not empty and `resume` is not set, when it cannot be written, or
    while another process trains in it, and `Diverged` when the loss or the weights are not finite any more.
    """
    with threads_of_torch(config.training.threads), ExitStack() as lock:
        if held or not group.leads:
            hold: Callable[[], None] = _hold_nothing
        else:
            busy = f"another process trains in {folder}: wait for it, or choose another --out"
            hold = partial(_hold, lock, Path(folder), busy)
        return _train(
            config, Path(folder), command, resume, progress, on_batch, callbacks, group, given, hold
        )  # fmt: skip


def _hold(lock: ExitStack, folder: Path, busy: str) -> None:
    lock.enter_context(locked(folder, busy=busy))


def _hold_nothing() -> None:
    pass


@contextmanager
def threads_of_torch(count: int) -> Generator[None]:
    """Torch computes with so many threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(
    config: RunConfig,
    folder: Path,
    command: str,
    resume: bool,
    progress: Progress | None,
    on_batch: Callable[[], None] | None,
    callbacks: Sequence[Callback],
    group: ProcessGroup,
    given: Given,
    hold: Callable[[], None],
) -> Summary:
    if resume and folder.is_dir():
        hold()
    if given.data is not None and given.data.test_opened:
        raise UserError(
            "the test split of these data has been opened already: load them again for another run, which "
            "opens it at its end"
        )
    data = (
        build_data(config.data, config.seed, folder if resume else None) if given.data is None else given.data
    )
    _same_everywhere(config, data, group)
    network = given.network
    if network is None:
        network = build_network(config.network, data.n_in, data.n_out, config.seed, data.shape)
    _check_fits(network, data)
    started = resume and (folder / STATE).exists()
    if not _told(group, started):
        _first_weights(config, network, data)
    learner = build_trainer(config, network, data.answer_from, group, given)
    config, done = _open_folder(folder, config, resume, data, given, hold) if group.leads else (config, [])
    generator = torch.Generator().manual_seed(config.seed + 2)
    if group.leads and started:
        packed, _ = read_tensors(folder / STATE)
        learner.load_state_dict(packed, {"data": generator})
    agree(learner, {"data": generator}, group)
    done = [Epoch.model_validate(epoch) for epoch in _told(group, [epoch.tree() for epoch in done])]
    if group.leads and given.network is not None and not started:
        _keep_state(folder, learner, generator, 0)  # weights that no seed brings back
    per_epoch = -(-len(data.train) // config.training.batch)
    total, finished = config.training.epochs * per_epoch, len(done) * per_epoch
    factor = 0.5 ** sum(epoch.halved for epoch in done)
    schedule = build_schedule(learner, config.training, total, finished, factor)
    parts = _Parts(config, folder, data, given, learner, generator, schedule)
    warm_up = _warm_up(learner)
    for index in range(len(done), config.training.epochs):
        try:
            epoch = _epoch_or_again(parts, index, total, factor, on_batch)
            if epoch.halved:
                factor *= 0.5**epoch.halved
                schedule = build_schedule(learner, config.training, total, (index + 1) * per_epoch, factor)
                parts = parts._replace(schedule=schedule)
        except Diverged as error:
            reason = f"the training diverged in epoch {index + 1}: {error}"
            if group.leads:
                write_text(folder / FAILURE, f"{reason}\n")
            raise Diverged(reason) from error
        done.append(epoch)
        if group.leads:
            _keep(folder, learner, generator, done)
        if progress is not None and group.leads:
            progress(epoch, config.training.epochs)
        found = epoch.stats(float(learner.optimizer.param_groups[0]["lr"]))
        ends = [callback(learner, found) for callback in callbacks]
        if any(end is True for end in ends):
            training = config.training.model_copy(update={"epochs": len(done)})
            config = config.model_copy(update={"training": training})
            config.save(folder / CONFIG)
            parts = parts._replace(config=config)
            break
    return _finish(parts, done, command, warm_up)


def _first_weights(config: RunConfig, network: Network, data: Dataset) -> None:
    if config.training.start_from is not None:
        weights = Path(config.training.start_from) / "checkpoint.safetensors"
        load_weights(network, read_tensors(weights)[0], weights)
    elif config.network.rate:
        settle_rates(network, data, config.network.rate)


def _check_fits(network: Network, data: Dataset) -> None:
    if (network.n_in, network.n_out) != (data.n_in, data.n_out):
        raise UserError(
            f"a network of {network.n_in} inputs and {network.n_out} outputs does not fit the data "
            f"'{data.name}', which have {data.n_in} and {data.n_out}"
        )


def _warm_up(learner: Trainer) -> float | None:
    """Seconds until the engine is ready, which are no training; None where nothing is compiled."""
    if not learner.executor.takes_events:
        return None
    from neurofdfa.events.warm import warm  # numba takes a second to import

    started = time.perf_counter()
    warm()
    return time.perf_counter() - started


def _told(group: ProcessGroup, value: Any = None) -> Any:
    """What rank 0 has to say."""
    return json.loads(group.tell(json.dumps(value).encode()))


def _same_everywhere(config: RunConfig, data: Dataset, group: ProcessGroup) -> None:
    """Raise `UserError` where a process was started with other settings or data than rank 0."""
    sizes = [len(data.train), len(data.validation), data.test_size, data.n_in, data.n_out, data.steps]
    mine = {"config": config.model_dump(mode="json", exclude={"data": {"root"}}), "sizes": sizes}
    told = _told(group, mine)
    if told["config"] != mine["config"]:
        raise UserError("not the options of process 0: start every process with the same command")
    if told["sizes"] != sizes:
        raise UserError(f"not the data of process 0: {sizes} here, {told['sizes']} there (samples, channels)")


def _open_folder(
    folder: Path, config: RunConfig, resume: bool, data: Dataset, given: Given, hold: Callable[[], None]
) -> tuple[RunConfig, list[Epoch]]:
    """Create the folder, or read the epochs that a run has finished; and the config from now on."""
    if resume:
        remove_leftovers(folder)
        kept, done = load_config(folder / CONFIG), read_epochs(folder)
        if (folder / SUMMARY).exists():
            config = _extended(folder, kept, config, len(done))
            (folder / SUMMARY).rename(folder / PREVIOUS)  # no finished run from here on
            config.save(folder / CONFIG)
        elif kept != config:
            raise UserError(f"{folder} was started with another config: resume with its own config.toml")
        if not (folder / STATE).exists():
            return config, []
        (folder / FAILURE).unlink(missing_ok=True)
        return config, done[: _epochs_of_state(folder, len(done))]
    # what a run leaves that was killed before it had a state: its network and data are handed over again
    begun = {CONFIG, DATA} if given.network is not None and (folder / CONFIG).exists() else set[str]()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hold()
        strange = [p for p in folder.iterdir() if p.name not in begun and not fnmatch(p.name, ".*.tmp")]
    except OSError as error:
        known = isinstance(error, FileExistsError | NotADirectoryError)
        raise UserError(
            f"{folder} exists and is not an empty folder: choose another --out"
            if known
            else f"cannot create {folder}: {error.strerror}"
        ) from error
    if strange:
        raise UserError(f"{folder} exists and is not an empty folder: choose another --out, or --resume it")
    remove_leftovers(folder)
    config.save(folder / CONFIG)
    if config.data.own == "kept":
        keep_data(folder, data)
    return config, []


def _epochs_of_state(folder: Path, done: int) -> int:
    """Epochs after which the training state was kept; raises `UserError` where the metrics know fewer."""
    path = folder / STATE
    _, metadata = read_tensors(path)
    found = metadata.get("epochs", "")
    if not (found.isascii() and found.isdigit() and len(found) < 10):
        raise UserError(f"{path} does not say after which epoch it was kept: the file is damaged")
    if int(found) > done:
        raise UserError(
            f"{path} was kept after epoch {int(found)}, and {METRICS} ends with epoch {done}: one of the two "
            "is damaged or of another run; train again in another --out"
        )
    return int(found)


def _extended(folder: Path, kept: RunConfig, wanted: RunConfig, done: int) -> RunConfig:
    """The config of a finished run that goes on; raises `UserError` where it asks for nothing more."""
    training = wanted.training
    same = training.model_copy(update={"epochs": kept.training.epochs, "extended": kept.training.extended})
    if wanted.model_copy(update={"training": same}) != kept:
        raise UserError(f"{folder} was started with another config: only its number of epochs may grow")
    if training.epochs <= done:
        raise UserError(
            f"{folder} is a finished run of {done} epochs: nothing to resume; --epochs {2 * done} would go on"
        )
    if not (folder / STATE).exists():
        raise UserError(f"{folder} is a finished run without a training state: it cannot go on")
    own = training.model_copy(update={"extended": (*kept.training.extended, done)})
    return wanted.model_copy(update={"training": own})


def _epoch_or_again(
    parts: _Parts, index: int, total: int, factor: float, on_batch: Callable[[], None] | None
) -> Epoch:
    """An epoch; where the config says so, after a divergence once more from its start, with half the learning
    rate.
    """
    learner, training = parts.learner, parts.config.training
    if training.diverged != "halve":
        return _epoch(parts, index, on_batch)
    before = learner.state_dict({"data": parts.generator})
    for halved in range(HALVINGS + 1):
        try:
            return _epoch(parts, index, on_batch).model_copy(update={"halved": halved})
        except Diverged:
            if halved == HALVINGS:
                raise
        learner.load_state_dict(before, {"data": parts.generator})
        done = index * (total // training.epochs)
        schedule = build_schedule(learner, training, total, done, factor * 0.5 ** (halved + 1))
        parts = parts._replace(schedule=schedule)
    raise AssertionError


def _epoch(parts: _Parts, index: int, on_batch: Callable[[], None] | None) -> Epoch:
    config, data, learner = parts.config, parts.data, parts.learner
    training = config.training

    def after_batch() -> None:
        parts.schedule.step()
        if on_batch is not None:
            on_batch()

    drawn = data.train.batches(training.batch, generator=parts.generator)
    learnt = learn(learner, triples(drawn), after_batch, skip=training.diverged == "skip")
    found = evaluate(learner.network, config, data, data.validation, learner.group, parts.given)
    if not math.isfinite(found.loss):
        raise Diverged(
            "the validation loss is not finite; take a smaller learning rate (what was good before is in the "
            "run's folder)"
        )
    aligned = None
    if learner.rule.through_time is None and training.alignment_samples and learner.group.leads:
        aligned = alignment(learner, *data.validation.first(training.alignment_samples))
    return Epoch(
        epoch=index + 1,
        seconds=learnt.seconds,
        train_loss=learnt.loss,
        train_accuracy=0.0 if math.isnan(learnt.accuracy) else learnt.accuracy,
        validation_loss=found.loss,
        validation_accuracy=found.accuracy,
        rates=list(learnt.rates),
        psi_zero=list(learnt.psi_zero),
        alignment=None if aligned is None else list(aligned.mean),
        alignment_std=None if aligned is None else list(aligned.std),
        cpu_seconds=learnt.cpu_seconds,
        skipped=learnt.skipped,
    )


def _keep(folder: Path, learner: Trainer, generator: torch.Generator, done: list[Epoch]) -> None:
    """Write metrics, the weights if they are the best so far, and the state to resume from, in that order."""
    write_epochs(folder, done)
    if done[-1].epoch == _best(done).epoch:
        network = learner.network
        shape = "x".join(map(str, network.input_shape))
        metadata = {"epoch": str(done[-1].epoch), "input": shape}
        write_tensors(folder / "checkpoint.safetensors", network.state_dict(), metadata)
    _keep_state(folder, learner, generator, len(done))


def _keep_state(folder: Path, learner: Trainer, generator: torch.Generator, epochs: int) -> None:
    packed = learner.state_dict({"data": generator})
    write_tensors(folder / STATE, packed, {"epochs": str(epochs)})


def _one_batch(
    parts: _Parts, network: Network, x: Any, target: Tensor, lengths: Tensor | None = None
) -> Trainer:
    learner = build_trainer(parts.config, network, parts.data.answer_from, given=parts.given)
    with suppress(Diverged):  # of a batch that training left out: its memory counts all the same
        learner.step(x, target, lengths)
    return learner


def _feedback_quality(config: RunConfig, data: Dataset, learner: Trainer) -> list[float] | None:
    if not (config.training.alignment_samples and learner.group.leads):
        return None
    x, _, _ = data.validation.first(config.training.alignment_samples)
    found = feedback_quality(learner, x)
    return None if found is None else list(found)


def _best(done: list[Epoch]) -> Epoch:
    """Lowest validation loss: it hangs less on single samples and one draw of the encoder's noise than the
    accuracy does, whose best epoch is a lucky one (measured in docs/studies/rules.md).
    """
    return min(done, key=lambda epoch: (not math.isfinite(epoch.validation_loss), epoch.validation_loss))


def _finish(parts: _Parts, done: list[Epoch], command: str, warm_up: float | None) -> Summary:
    config, folder, data, learner = parts.config, parts.folder, parts.data, parts.learner
    network, best, group = learner.network, _best(done), learner.group
    feedback = _feedback_quality(config, data, learner)
    x, target, *lengths = next(data.train.batches(config.training.batch, seed=0))
    # a fresh learner, so that nothing it keeps is missed, and a network that may learn a batch more
    copied = copy.deepcopy(network)
    if group.size > 1:  # lists of events are one process's
        share = Shard(x.shape[1], group)
        x = share.rows(x, 1) if isinstance(x, Tensor) else x.rows(share.mine)
        target = share.rows(target, 1 if target.dim() == 3 else 0)
    peak = peak_mib(lambda: _one_batch(parts, copied, x, target, *lengths))
    if group.leads:
        tensors, _ = read_tensors(folder / "checkpoint.safetensors")
        load_weights(network, tensors, folder / "checkpoint.safetensors")
    agree_on_weights(network, group)
    test = data.open_test()
    found = evaluate(network, config, data, test, group, parts.given)
    if not group.leads:
        return Summary.model_validate(_told(group))
    _write_raster(folder / "raster.npz", network, data, test)
    if why_not_nir(network) is None:
        _write_nir(folder / "network.nir", network, data)
    keep_if_countable(folder, config, network, data, parts.given)
    if found.confusion is not None:
        counts = [[int(number) for number in row] for row in found.confusion]
        confusion = Confusion(counts=counts, classes=list(data.classes))
        confusion.write(folder / CONFUSION)
    summary = Summary(
        rule=config.rule.name,
        data=config.data.name,
        seed=config.seed,
        test_accuracy=found.accuracy,
        validation_accuracy=best.validation_accuracy,
        best_epoch=best.epoch,
        seconds=sum(epoch.seconds for epoch in done),
        peak_mib=peak,
        firing_rate=found.rates,
        silent_neurons=found.silent,
        samples={"train": len(data.train), "validation": len(data.validation), "test": data.test_size},
        command=command,
        versions=versions(),
        feedback_quality=feedback,
        processes=group.size,
        cpu_seconds=sum(epoch.cpu_seconds or 0.0 for epoch in done),
        warm_up_seconds=warm_up,
        test_openings=1 + len(config.training.extended),
    )
    summary.write(folder / SUMMARY)
    (folder / PREVIOUS).unlink(missing_ok=True)
    _told(group, summary.tree())
    return summary


@torch.no_grad()
def _write_raster(path: Path, network: Network, data: Dataset, split: Split) -> None:
    """Spikes, membranes and outputs of a few samples, for looking at."""
    x, target, lengths = split.first(RASTER_SAMPLES)
    steps = list(network.steps(x))
    arrays: dict[str, Tensor] = {"input": x, "readout": torch.stack([step.y for step in steps])}
    for index in range(len(network.hidden)):
        arrays[f"layer{index + 1}"] = torch.stack([step.layers[index].after.s for step in steps])
        # a neuron of the user's own names its states itself: the first one is shown
        kept = [step.layers[index].after for step in steps]
        arrays[f"membrane{index + 1}"] = torch.stack([getattr(after, "u", after[0]) for after in kept])
    stored: dict[str, Any] = {
        name: array.transpose(0, 1).numpy().astype(np.uint8 if name.startswith("layer") else np.float32)
        for name, array in arrays.items()
    }
    if target.dim() == 1:
        stored["label"] = target.numpy()
        ends = lengths.numpy()
        stored["prediction"] = np.array(
            [
                int(network.decode(arrays["readout"][data.answer_from : end, [row]]).argmax(1))
                for row, end in enumerate(ends)
            ]
        )

    def save(file: Path) -> None:
        with open(file, "wb") as handle:
            np.savez_compressed(handle, **stored)

    write_whole(path, save)


def _write_nir(path: Path, network: Network, data: Dataset) -> None:
    """The network with a golden vector of validation inputs, where they are spikes."""
    x, _, _ = data.validation.first(4)
    binary = bool(((x == 0) | (x == 1)).all())
    export_nir(network, path, x if binary else None)
