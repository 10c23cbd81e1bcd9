"""What a training step costs against length, batch, width, depth and density; and one epoch of MNIST."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurofdfa.bench.nets import Net, least_work, prepare
from neurofdfa.bench.peers import STILL, peer
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.encode import poisson
from neurofdfa.data.idx import idx_images
from neurofdfa.events.inference import run
from neurofdfa.lab.results import EpochTime, StepCost
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.rules import DEFAULT
from neurofdfa.train.trainer import Trainer

BASE = Net(700, (256, 256), 20, 100, 0.05)
BATCH = 32
AXES: dict[str, tuple[float, ...]] = {
    "steps": (1, 10, 50, 100, 200, 400, 800),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128),
    "width": (32, 64, 128, 256, 512, 1024),
    "depth": (1, 2, 3, 4, 6),
    "density": (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0),
    "stream": (1, 8, 64),
}
FRACTION = 1 / 8


def curves(rounds: int = 5, axes: Sequence[str] = tuple(AXES), seed: int = 0) -> Iterator[StepCost]:
    """Net A at batch 32 and its variations, CPU time at one thread; all points of an axis in every round."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for axis in axes:
            make = _stream if axis == "stream" else partial(_training, axis)
            made = [make(value, seed) for value in AXES[axis]]
            tasks = {str(value): task for value, (task, _) in zip(AXES[axis], made, strict=True)}
            seconds = time_rounds(tasks, rounds, "cpu", seed)
            for value, (_, work) in zip(AXES[axis], made, strict=True):
                found = ratio(seconds[str(value)], [1.0] * rounds)
                yield StepCost(axis=axis, value=value, seconds=found.median, spread=found.spread, work=work)
    finally:
        torch.set_num_threads(before)


def _training(axis: str, value: float, seed: int) -> tuple[Callable[[], Any], float]:
    """A training step, and its least work."""
    net, batch = _varied(axis, value)
    network, x, target = prepare(net, batch, seed)
    rates = [float(s.mean()) for s in run(network, x).spikes]
    work = least_work(net, rates, FRACTION).online_events * net.steps * batch
    learner = Trainer(
        network,
        DEFAULT(fraction=FRACTION),
        torch.optim.Adam(network.parameters(), lr=STILL),
        threads=1,
        engine="events",
    )
    return partial(learner.step, x, target), work


def _stream(batch: float, seed: int) -> tuple[Callable[[], Any], float]:
    """One step of a stream after the other, with a readout that forgets, and a step's least work."""
    generator, count = torch.Generator().manual_seed(seed), int(batch)
    neuron = LIF(tau_mem=5e-3, reset="soft", decay_bits=None)
    network = feed_forward(
        BASE.n_in, BASE.hidden, BASE.n_out, neuron=neuron, readout="leaky", generator=generator
    )
    x = (torch.rand(BASE.steps, count, BASE.n_in, generator=generator) < BASE.density).float()
    scale_to_rate(network, x, 0.07, rounds=10)
    rates = [float(s.mean()) for s in run(network, x).spikes]
    learner = Trainer(
        network,
        DEFAULT(fraction=FRACTION),
        torch.optim.Adam(network.parameters(), lr=STILL),
        threads=1,
        update_every=1,
        engine="events",
    )
    stream, target = learner.stream(count), torch.randint(0, BASE.n_out, (count,), generator=generator)
    steps = cycle(x)
    return lambda: stream.step(next(steps), target), least_work(BASE, rates, FRACTION).online_events * count


def _varied(axis: str, value: float) -> tuple[Net, int]:
    whole = int(value)
    if axis == "batch":
        return BASE, whole
    if axis == "steps":
        return BASE._replace(steps=whole), BATCH
    if axis == "density":
        return BASE._replace(density=value), BATCH
    hidden = (whole, whole) if axis == "width" else (256,) * whole
    return BASE._replace(hidden=hidden), BATCH


def mnist_epoch(
    data_root: Path,
    against: Sequence[str],
    *,
    peer_batches: int = 100,
    threads: int = 2,
    steps: int = 16,
    batch: int = 128,
    seed: int = 0,
) -> Iterator[EpochTime]:
    """Ours, online, for a whole epoch, peers, back through time, for some batches of it, taking turns.

    Spikes are drawn (Poisson, at most 0.5 per step) outside the measured time. Raises `UserError` for missing
    files.
    """
    dataset = idx_images("mnist", data_root, steps, partial(poisson, max_rate=0.5))
    generator = torch.Generator().manual_seed(seed)
    network = feed_forward(
        784, [800], 10, neuron=LIF(tau_mem=5e-3, reset="soft", decay_bits=None), generator=generator
    )
    first, _ = next(_epoch(dataset, batch, seed))
    scale_to_rate(network, first[:, :32], 0.07, rounds=10)
    rates = [float(s.mean()) for s in run(network, first).spikes]
    others = [peer(name, network) for name in against]
    for other in others:
        other.match(rates, first[:, :32])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    learner = Trainer(
        network,
        DEFAULT(fraction=FRACTION),
        torch.optim.Adam(network.parameters(), lr=STILL),
        threads=threads,
        engine="events",
    )
    learners = {other.name: other.learner() for other in others}
    spent: dict[str, list[float]] = {name: [] for name in ("neurofdfa", *against)}
    try:
        for index, (x, target) in enumerate(_epoch(dataset, batch, seed)):
            spent["neurofdfa"].append(_time(partial(learner.step, x, target)))
            if index % max(1, 470 // peer_batches) == 0:
                for name, learn in learners.items():
                    spent[name].append(_time(partial(learn, x, target)))
    finally:
        torch.set_num_threads(before)
    versions = {other.name: other.version for other in others}
    whole = len(spent["neurofdfa"])
    for name, seconds in spent.items():
        total = sum(seconds) if len(seconds) == whole else statistics.median(seconds) * whole
        yield EpochTime(peer=name, version=versions.get(name, ""), batches=len(seconds), seconds=total)


def _epoch(dataset: Dataset, batch: int, seed: int) -> Iterator[tuple[Any, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for split in (dataset.train, dataset.validation):
        for x, target, *_ in split.batches(batch, generator=generator):
            yield x, target


def _time(task: Callable[[], Any]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
