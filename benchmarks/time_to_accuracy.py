"""Seconds of one core until a network of spoken digits reaches an accuracy on validation data, beside others.

    python benchmarks/time_to_accuracy.py --data-root FOLDER_OF_FSDD --seeds 3
    pip install spyx; python benchmarks/time_to_accuracy.py --data-root FOLDER_OF_FSDD --against spyx

80-128-10, soft resets, an integrator as readout, cross-entropy at every step, Adam. FDFA with the exact trace
on events; snnTorch, SpikingJelly and Spyx by BPTT from the same weights, scaled until layers fire as often.
Everybody tries the same learning rates and batch sizes with the first seed; what reaches the highest goal
soonest is run with the other seeds. What counts is CPU time of learning, at one thread: reading the sounds
and validation, twice an epoch, do not.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.bench.peers import peer
from neurofdfa.data.dataset import Split
from neurofdfa.data.sound import SoundFolder, fsdd
from neurofdfa.events.inference import run
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.train.evaluation import correct_in
from neurofdfa.train.trainer import Trainer

OURS = "neurofdfa"
GOALS = (0.85, 0.88)
RATES, BATCHES = (2e-3, 5e-3, 1e-2, 2e-2), (32, 128)


class Learner(NamedTuple):
    """Learns from a batch; outputs `[T, B, k]` of inputs `[T, B, n]`."""

    step: Callable[[Tensor, Tensor], Any]
    outputs: Callable[[Tensor], Tensor]


class Reached(NamedTuple):
    """CPU seconds at which each goal was reached, infinite where it was not; the best accuracy."""

    seconds: tuple[float, ...]
    best: float


def network_of(x: Tensor, seed: int) -> Network:
    """What everybody starts from."""
    neuron = LIF(tau_mem=1e-2, reset="soft", decay_bits=None)
    generator = torch.Generator().manual_seed(seed)
    network = feed_forward(x.shape[2], (128,), 10, neuron=neuron, generator=generator)
    scale_to_rate(network, x[:, :64], 0.07, rounds=10)
    return network


def learner(name: str, network: Network, x: Tensor, lr: float, seed: int) -> Learner:
    """One of those who compete. x: inputs to match firing rates on."""
    if name == "spyx":
        from spyx_learner import spyx_learner

        return Learner(*spyx_learner(network, float(run(network, x).spikes[0].mean()), x, lr))
    if name != OURS:
        other = peer(name, network)
        other.match([float(s.mean()) for s in run(network, x).spikes], x)
        return Learner(other.learner(lr), other.forward)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    rule, generator = FDFA(fraction=1 / 8, trace=PerSynapse()), torch.Generator().manual_seed(seed)
    trainer = Trainer(network, rule, optimizer, engine="events", threads=1, generator=generator)
    return Learner(trainer.step, lambda x: run(network, x, spikes=False, threads=1).y)


def train(
    name: str, train: Split, validation: Split, settings: tuple[float, int], seed: int, limit: float
) -> Reached:
    """Learn until the last goal is reached or the CPU seconds are spent."""
    (lr, batch), (x, target), (seen, wanted) = settings, whole(train), whole(validation)
    one = learner(name, network_of(x, seed), x[:, :64], lr, seed)
    spent, best, reached = 0.0, 0.0, [float("inf")] * len(GOALS)
    generator = torch.Generator().manual_seed(seed)
    for halves, (index, check) in enumerate(halved_epochs(len(target), batch, generator)):
        here, labels = x[:, index].contiguous(), target[index]
        start = time.process_time()
        one.step(here, labels)
        if halves:  # the first batch warms everybody up
            spent += time.process_time() - start
        if check:
            with torch.no_grad():
                best = max(best, correct_in(one.outputs(seen)[-1], wanted) / len(wanted))
            reached = [min(t, spent) if best >= goal else t for t, goal in zip(reached, GOALS, strict=True)]
            if spent > limit or best >= GOALS[-1]:
                return Reached(tuple(reached), best)
    raise AssertionError("epochs never end")


def halved_epochs(samples: int, batch: int, generator: torch.Generator) -> Iterator[tuple[Tensor, bool]]:
    """Places of the samples of every batch, and whether half an epoch has gone by."""
    while True:
        order = torch.randperm(samples, generator=generator)
        places = order.split(batch)
        for k, index in enumerate(places, 1):
            yield index, k in (len(places) // 2, len(places))


def whole(split: Split) -> tuple[Tensor, Tensor]:
    """All of it as one batch of float32, `[T, N, n]`."""
    x, target, _ = split.first(len(split))
    return x, target


def main() -> None:
    """Print a line per try and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--against", default="snntorch,spikingjelly")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds of a try")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = fsdd(given.data_root, 70, SoundFolder(bands=40, delta=6.0))
    fastest: list[tuple[float, ...]] = []
    for name in (OURS, *given.against.split(",")):
        one = partial(train, name, data.train, data.validation, limit=given.limit)
        tries: dict[tuple[float, int], Reached] = {}
        for settings in product(RATES, BATCHES):
            found = tries[settings] = one(settings=settings, seed=0)
            lr, batch = settings
            print(
                f"{name}, lr {lr:g}, batch {batch}: {said(found.seconds)}, best {found.best:.1%}", flush=True
            )
        chosen = min(tries, key=lambda one: (tries[one].seconds[::-1], -tries[one].best))
        runs = [tries[chosen], *(one(settings=chosen, seed=seed) for seed in range(1, given.seeds))]
        medians = tuple(statistics.median(x) for x in zip(*(r.seconds for r in runs), strict=True))
        fastest.append(medians)
        shares = [theirs / ours for theirs, ours in zip(medians, fastest[0], strict=True)]
        print(f"{name}: lr {chosen[0]:g}, batch {chosen[1]}, median of {len(runs)} seeds {said(medians)}; "
              f"times ours: {', '.join(f'{share:.1f}' for share in shares)}", flush=True)  # fmt: skip


def said(seconds: tuple[float, ...]) -> str:
    """Seconds to each goal, in words."""
    return ", ".join(f"{goal:.0%} after {t:.2f} s" for goal, t in zip(GOALS, seconds, strict=True))


if __name__ == "__main__":
    main()
