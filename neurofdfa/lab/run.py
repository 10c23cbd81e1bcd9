"""One run: train, choose the epoch on validation data, open the test split once, write the folder.

A run folder holds config.toml, metrics.jsonl (one line per epoch), checkpoint.safetensors (weights of the
epoch with the lowest validation loss), state.safetensors (to resume), raster.npz, network.nir,
energy.json and summary.json, which is written last: a folder with a summary is a finished run.
"""

import json
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from neurofdfa.data.batches import batches, evaluation_batches
from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.errors import UserError
from neurofdfa.interop.nir import export_nir, why_not_nir
from neurofdfa.io import (
    load_weights,
    read_tensors,
    write_tensors,
    write_whole,
)
from neurofdfa.lab.build import (
    build_data,
    build_network,
    build_schedule,
    build_trainer,
    settle_rates,
)
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.energy import keep_if_countable
from neurofdfa.lab.evaluation import evaluate
from neurofdfa.lab.record import SUMMARY, Epoch, Summary, read_epochs, versions, write_epochs
from neurofdfa.measure.alignment import alignment
from neurofdfa.measure.feedback import feedback_quality
from neurofdfa.measure.memory import peak_mib
from neurofdfa.nn.network import Network
from neurofdfa.train.evaluation import correct_in
from neurofdfa.train.state import agree, agree_on_weights
from neurofdfa.train.trainer import Trainer

RASTER_SAMPLES = 6


Progress = Callable[[Epoch, int], None]


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    command: str = "",
    resume: bool = False,
    progress: Progress | None = None,
    on_batch: Callable[[], None] | None = None,
    group: ProcessGroup = SINGLE,
) -> Summary:
    """Run `config` into `folder`; progress is called after every epoch with it and their number.

    resume: go on from the last finished epoch of an interrupted run of the same config. group: the processes
    that train together, all with the same config; rank 0 writes and hears of progress, and all return what it
    found. Raises `UserError` when the folder is not empty and `resume` is not set, or when it cannot be
    written.
    """
    with threads_of_torch(config.training.threads):
        return _train(config, Path(folder), command, resume, progress, on_batch, group)


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
    group: ProcessGroup,
) -> Summary:
    data = build_data(config.data, config.seed)
    _same_everywhere(config, data, group)
    network = build_network(config.network, data.n_in, data.n_out, config.seed, data.shape)
    if config.training.start_from is None:
        settle_rates(network, data, config.network.rate)
    else:
        weights = Path(config.training.start_from) / "checkpoint.safetensors"
        load_weights(network, read_tensors(weights)[0], weights)
    learner = build_trainer(config, network, data.answer_from, group)
    done = _open_folder(folder, config, resume) if group.leads else []
    generator = torch.Generator().manual_seed(config.seed + 2)
    if done:
        packed, _ = read_tensors(folder / "state.safetensors")
        learner.load_state_dict(packed, {"data": generator})
    agree(learner, {"data": generator}, group)
    done = [Epoch.model_validate(epoch) for epoch in _told(group, [epoch.tree() for epoch in done])]
    per_epoch = -(-len(data.train) // config.training.batch)
    total, finished = config.training.epochs * per_epoch, len(done) * per_epoch
    schedule = build_schedule(learner, config.training, total, finished)
    for index in range(len(done), config.training.epochs):
        epoch = _epoch(config, data, learner, generator, schedule, index, on_batch)
        done.append(epoch)
        if group.leads:
            _keep(folder, learner, generator, done)
        if progress is not None and group.leads:
            progress(epoch, config.training.epochs)
    return _finish(config, folder, data, learner, done, command)


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


def _open_folder(folder: Path, config: RunConfig, resume: bool) -> list[Epoch]:
    """Create the folder, or read the epochs that an interrupted run has finished."""
    if resume:
        if (folder / SUMMARY).exists():
            raise UserError(f"{folder} is a finished run: nothing to resume")
        if load_config(folder / "config.toml") != config:
            raise UserError(f"{folder} was started with another config: resume with its own config.toml")
        if not (folder / "state.safetensors").exists():
            return []
        _, metadata = read_tensors(folder / "state.safetensors")
        return read_epochs(folder)[: int(metadata["epochs"])]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder: choose another --out, or --resume it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}") from error
    config.save(folder / "config.toml")
    return []


def _epoch(
    config: RunConfig,
    data: Dataset,
    learner: Trainer,
    generator: torch.Generator,
    schedule: LambdaLR,
    index: int,
    on_batch: Callable[[], None] | None,
) -> Epoch:
    training = config.training
    seconds, cpu_seconds, loss, correct = 0.0, 0.0, 0.0, 0.0
    rates = psi_zero = np.zeros(len(learner.network.hidden))
    for x, target in batches(data.train, training.batch, data.encode_training, data.steps, generator):
        started, computed = time.perf_counter(), time.process_time()
        stats = learner.step(x, target)
        seconds += time.perf_counter() - started
        cpu_seconds += time.process_time() - computed
        schedule.step()
        share = x.shape[1] / len(data.train)
        loss += float(stats.loss) * share
        correct += correct_in(stats.scores, target)
        rates = rates + stats.rates.numpy() * share
        psi_zero = psi_zero + stats.psi_zero.numpy() * share
        if on_batch is not None:
            on_batch()
    found = evaluate(learner.network, config, data, data.validation, learner.group)
    aligned = None
    if learner.rule.through_time is None and training.alignment_samples and learner.group.leads:
        sample = data.validation.select(slice(0, training.alignment_samples))
        aligned = alignment(learner, *next(evaluation_batches(data, sample, len(sample))))
    return Epoch(
        epoch=index + 1,
        seconds=seconds,
        train_loss=loss,
        train_accuracy=correct / len(data.train),
        validation_loss=found.loss,
        validation_accuracy=found.accuracy,
        rates=[float(r) for r in rates],
        psi_zero=[float(p) for p in psi_zero],
        alignment=None if aligned is None else list(aligned.mean),
        alignment_std=None if aligned is None else list(aligned.std),
        cpu_seconds=cpu_seconds,
    )


def _keep(folder: Path, learner: Trainer, generator: torch.Generator, done: list[Epoch]) -> None:
    """Write metrics, the weights if they are the best so far, and the state to resume from, in that order."""
    write_epochs(folder, done)
    if done[-1].epoch == _best(done).epoch:
        network = learner.network
        shape = "x".join(map(str, network.input_shape))
        metadata = {"epoch": str(done[-1].epoch), "input": shape}
        write_tensors(folder / "checkpoint.safetensors", network.state_dict(), metadata)
    packed = learner.state_dict({"data": generator})
    write_tensors(folder / "state.safetensors", packed, {"epochs": str(len(done))})


def _one_batch(config: RunConfig, network: Network, answer_from: int, x: Tensor, target: Tensor) -> Trainer:
    learner = build_trainer(config, network, answer_from)
    learner.step(x, target)
    return learner


def _feedback_quality(config: RunConfig, data: Dataset, learner: Trainer) -> list[float] | None:
    if not (config.training.alignment_samples and learner.group.leads):
        return None
    sample = data.validation.select(slice(0, config.training.alignment_samples))
    x, _ = next(evaluation_batches(data, sample, len(sample)))
    found = feedback_quality(learner, x)
    return None if found is None else list(found)


def _best(done: list[Epoch]) -> Epoch:
    """Lowest validation loss: it hangs less on single samples and one draw of the encoder's noise than the
    accuracy does, whose best epoch is a lucky one (measured in docs/studies/rules.md).
    """
    return min(done, key=lambda epoch: (not math.isfinite(epoch.validation_loss), epoch.validation_loss))


def _finish(
    config: RunConfig, folder: Path, data: Dataset, learner: Trainer, done: list[Epoch], command: str
) -> Summary:
    network, best, group = learner.network, _best(done), learner.group
    feedback = _feedback_quality(config, data, learner)
    one = torch.Generator().manual_seed(0)
    x, target = next(batches(data.train, config.training.batch, data.encode_training, data.steps, one))
    # A fresh learner, so that nothing it keeps is missed; it trains a batch: the best weights come after it.
    share = Shard(x.shape[1], group)
    x, target = share.rows(x, 1), share.rows(target, 1 if target.dim() == 3 else 0)
    peak = peak_mib(lambda: _one_batch(config, network, data.answer_from, x, target))
    if group.leads:
        tensors, _ = read_tensors(folder / "checkpoint.safetensors")
        load_weights(network, tensors, folder / "checkpoint.safetensors")
    agree_on_weights(network, group)
    test = data.open_test()
    found = evaluate(network, config, data, test, group)
    if not group.leads:
        return Summary.model_validate(_told(group))
    _write_raster(folder / "raster.npz", network, data, test)
    if why_not_nir(network) is None:
        _write_nir(folder / "network.nir", network, data)
    keep_if_countable(folder, config, network, data)
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
    )
    summary.write(folder / SUMMARY)
    (folder / "state.safetensors").unlink(missing_ok=True)
    _told(group, summary.tree())
    return summary


@torch.no_grad()
def _write_raster(path: Path, network: Network, data: Dataset, split: Split) -> None:
    """Spikes, membranes and outputs of a few samples, for looking at."""
    some = split.select(slice(0, RASTER_SAMPLES))
    x, target = next(evaluation_batches(data, some, RASTER_SAMPLES))
    steps = list(network.steps(x))
    arrays: dict[str, Tensor] = {"input": x, "readout": torch.stack([step.y for step in steps])}
    for index in range(len(network.hidden)):
        arrays[f"layer{index + 1}"] = torch.stack([step.layers[index].after.s for step in steps])
        arrays[f"membrane{index + 1}"] = torch.stack([step.layers[index].after.u for step in steps])
    stored: dict[str, Any] = {
        name: array.transpose(0, 1).numpy().astype(np.uint8 if name.startswith("layer") else np.float32)
        for name, array in arrays.items()
    }
    if target.dim() == 1:
        stored["label"] = target.numpy()
        stored["prediction"] = network.decode(arrays["readout"][data.answer_from :]).argmax(1).numpy()

    def save(file: Path) -> None:
        with open(file, "wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **stored)

    write_whole(path, save)


def _write_nir(path: Path, network: Network, data: Dataset) -> None:
    """The network with a golden vector of validation inputs, where they are spikes."""
    x, _ = next(evaluation_batches(data, data.validation.select(slice(0, 4)), 4))
    binary = bool(((x == 0) | (x == 1)).all())
    export_nir(network, path, x if binary else None)
