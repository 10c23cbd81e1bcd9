"""FDFA with the exact trace and hard resets beside snnTorch's BPTT: one training step, paired rounds.

    python benchmarks/exact.py --rounds 5 --cases batch-128,batch-8,long,recurrent
    python benchmarks/exact.py --memory

Net A of `neurofdfa bench` with hard resets; `long`: 1000 steps of it; `recurrent`: 700-256-20 with recurrent
synapses and dropout of 0.2. Adam and the feedback's update included, CPU time at one thread.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.bench.nets import NETS, RATE
from neurofdfa.bench.peers import STILL
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer


class Case(NamedTuple):
    """Hidden layers, steps, samples, recurrent synapses or not, dropout."""

    hidden: tuple[int, ...]
    steps: int
    batch: int
    recurrent: bool = False
    dropout: float = 0.0


CASES = {
    "batch-128": Case((256, 256), 100, 128),
    "batch-8": Case((256, 256), 100, 8),
    "long": Case((256, 256), 1000, 64),
    "recurrent": Case((256,), 100, 128, True, 0.2),
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


def snntorch(network: Network) -> Callable[[Tensor, Tensor], None]:
    """A training step of the same network by BPTT: `Leaky` neurons that start from 0 after a spike."""
    import snntorch as snn
    from snntorch import surrogate

    hidden = network.hidden
    linears = nn.ModuleList()
    for synapse in (*(layer.synapse for layer in hidden), network.readout.synapse):
        linears.append(nn.Linear(synapse.n_in, synapse.n_out, bias=False))
        linears[-1].weight.data.copy_(synapse.weight.detach())
    own = nn.ModuleList()
    for layer in hidden:
        if layer.recurrent is not None:
            own.append(nn.Linear(layer.n, layer.n, bias=False))
            own[-1].weight.data.copy_(layer.recurrent.weight.detach())
    neurons = [
        snn.Leaky(
            beta=x.neuron.beta, threshold=x.neuron.v_threshold, reset_mechanism="zero",
            spike_grad=surrogate.fast_sigmoid(slope=1 / x.neuron.surrogate.width),
        )
        for x in hidden
    ]  # fmt: skip
    parameters = [*linears.parameters(), *own.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=STILL)

    def step(x: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        membranes = [neuron.init_leaky() for neuron in neurons]
        fired = [x.new_zeros(x.shape[1], layer.n) for layer in hidden]
        masks = [
            nn.functional.dropout(x.new_ones(x.shape[1], layer.n), layer.dropout) if layer.dropout else None
            for layer in hidden
        ]
        y, outputs = 0.0, []
        for s in x:
            for k, neuron in enumerate(neurons):
                drive = linears[k](s)
                if len(own):
                    drive = drive + own[k](fired[k])
                fired[k], membranes[k] = neuron(drive, membranes[k])
                mask = masks[k]
                s = fired[k] if mask is None else fired[k] * mask
            y = y + linears[-1](s)
            outputs.append(y)
        nn.functional.cross_entropy(torch.stack(outputs).flatten(0, 1), target.repeat(len(x))).backward()
        optimizer.step()

    return step


def ours(network: Network, trace: Any) -> Trainer:
    """FDFA with tangents on an eighth of the batch."""
    rule = FDFA(fraction=1 / 8, trace=trace)
    optimizer = torch.optim.Adam(network.parameters(), lr=STILL)
    return Trainer(network, rule, optimizer, engine="events", threads=1)


def peak() -> int:
    """Most memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
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
        tasks: dict[str, Callable[[], Any]] = {
            key: partial(learner.step, x, target) for key, learner in learners.items()
        }
        tasks["snntorch"] = partial(snntorch(network), x, target)
        seconds = time_rounds(tasks, options.rounds)
        for key in learners:
            found = ratio(seconds["snntorch"], seconds[key])
            spread = " – ".join(f"{q:.1f}" for q in found.spread)
            ms = 1e3 * statistics.median(seconds[key])
            print(f"{name}, {key}: {ms:.1f} ms, snnTorch takes {found.median:.1f} times as long ({spread})")


if __name__ == "__main__":
    main()
