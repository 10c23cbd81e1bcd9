"""FDFA with the exact trace and hard resets beside BPTT in other simulators: a training step, paired rounds.

    python benchmarks/exact.py --rounds 5 --cases batch-128,batch-8,long,recurrent
    python benchmarks/exact.py --against snntorch,spikingjelly,norse --cases batch-128,batch-8
    python benchmarks/exact.py --against spikingjelly --cases batch-128,batch-8 --bptt
    python benchmarks/exact.py --memory

Net A of `neurofdfa bench` with hard resets; `long`: 1000 steps of it; `recurrent`: 700-256-20 with recurrent
synapses and dropout of 0.2; `lengths`: net A with samples of 30 to 100 steps, which the others fill up. Adam
and the feedback's update included, CPU time at one thread.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.bench.nets import NETS, RATE
from neurofdfa.bench.peers import STILL, peer
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.events.inference import run
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import BPTT, FDFA
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer


class Case(NamedTuple):
    """Hidden layers, steps, samples, recurrent synapses or not, dropout, and the steps of the shortest
    sample, where samples have lengths of their own.
    """

    hidden: tuple[int, ...]
    steps: int
    batch: int
    recurrent: bool = False
    dropout: float = 0.0
    shortest: int | None = None


CASES = {
    "batch-128": Case((256, 256), 100, 128),
    "batch-8": Case((256, 256), 100, 8),
    "long": Case((256, 256), 1000, 64),
    "recurrent": Case((256,), 100, 128, True, 0.2),
    "lengths": Case((256, 256), 100, 128, shortest=30),
}


def prepare(case: Case) -> tuple[Network, Tensor, Tensor]:
    """Network, spikes and labels."""
    generator, net = torch.Generator().manual_seed(0), NETS["A"]
    network = feed_forward(
        net.n_in, case.hidden, net.n_out, neuron=LIF(tau_mem=5e-3, reset="hard", decay_bits=None),
        recurrent=case.recurrent, dropout=case.dropout, generator=generator,
    )  # fmt: skip
    x = (torch.rand(case.steps, case.batch, net.n_in, generator=generator) < net.density).float()
    scale_to_rate(network, x[:100, :8], RATE, rounds=10)
    return network, x, torch.randint(0, net.n_out, (case.batch,), generator=generator)


def lengths_of(case: Case) -> Tensor | None:
    """Of every sample, drawn evenly; others learn from all steps."""
    if case.shortest is None:
        return None
    return torch.randint(
        case.shortest, case.steps + 1, (case.batch,), generator=torch.Generator().manual_seed(5)
    )


def ours(network: Network, trace: Any) -> Trainer:
    """FDFA with tangents on an eighth of the batch."""
    rule = FDFA(fraction=1 / 8, trace=trace)
    optimizer = torch.optim.Adam(network.parameters(), lr=STILL)
    return Trainer(network, rule, optimizer, engine="events", threads=1)


def bptt(network: Network) -> Trainer:
    """Our own backpropagation through time."""
    return Trainer(network, BPTT(), torch.optim.Adam(network.parameters(), lr=STILL), threads=1)


def peak() -> int:
    """Most memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--against", default="snntorch")
    parser.add_argument("--bptt", action="store_true", help="our own BPTT beside the others, too")
    parser.add_argument("--memory", action="store_true", help="peak added by a step of `long`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        network, x, target = prepare(CASES["long"])
        trainer = ours(network, PerSynapse())
        trainer.step(x[:100, :2], target[:2])
        before = peak()
        trainer.step(x, target)
        print(f"peak memory added: {(peak() - before) / 2**20:.1f} MiB")
        return
    for name in options.cases.split(","):
        network, x, target = prepare(CASES[name])
        learners = {"exact": ours(network, PerSynapse()), "per neuron": ours(network, PerNeuron())}
        if options.bptt:
            learners["bptt"] = bptt(network)
        tasks: dict[str, Callable[[], Any]] = {
            key: partial(learner.step, x, target, lengths_of(CASES[name]))
            for key, learner in learners.items()
        }
        probe = x[:100, :16]
        rates = [float(s.mean()) for s in run(network, probe).spikes]
        others = [peer(other, network) for other in options.against.split(",")]
        for other in others:
            other.match(rates, probe)
            tasks[other.name] = partial(other.learner(), x, target)
        seconds = time_rounds(tasks, options.rounds)
        for key, other in product(learners, others):
            found = ratio(seconds[other.name], seconds[key])
            spread = " – ".join(f"{q:.1f}" for q in found.spread)
            ms, theirs = (1e3 * statistics.median(seconds[x]) for x in (key, other.name))
            print(
                f"{name}, {key}: {ms:.1f} ms, {other.name} takes {theirs:.0f}: {found.median:.1f} times as "
                f"long ({spread})",
                flush=True,
            )


if __name__ == "__main__":
    main()
