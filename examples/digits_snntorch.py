"""The same task in snnTorch, by backpropagation through time, and then by FDFA in neurofdfa.

    python examples/digits_snntorch.py [epochs]     and the picture runs/digits_snntorch.png

Both sides: 64-128-128-10, leaky neurons with decay 0.8, threshold 1, soft reset, an integrating readout,
16 steps of Poisson spikes, Adam, the same batches.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import snntorch as snn
import torch
from snntorch import surrogate
from torch import nn

import neurofdfa as nf

BETA, HIDDEN, LR, BATCH = 0.8, 128, 4e-3, 64


class Net(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        spike = surrogate.fast_sigmoid(slope=2)
        self.fc1, self.lif1 = nn.Linear(n_in, HIDDEN, bias=False), snn.Leaky(beta=BETA, spike_grad=spike)
        self.fc2, self.lif2 = nn.Linear(HIDDEN, HIDDEN, bias=False), snn.Leaky(beta=BETA, spike_grad=spike)
        self.fc3 = nn.Linear(HIDDEN, n_out, bias=False)
        self.readout = snn.Leaky(beta=1.0, reset_mechanism="none")  # an integrator, read by its membrane

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.readout.init_leaky()
        outputs = []
        for x_t in x:
            spikes, mem1 = self.lif1(self.fc1(x_t), mem1)
            spikes, mem2 = self.lif2(self.fc2(spikes), mem2)
            _, mem3 = self.readout(self.fc3(spikes), mem3)
            outputs.append(mem3)
        return torch.stack(outputs)


def main(epochs: int = 10) -> None:
    torch.set_num_threads(1)
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Ours: built first, so that both sides can start from the same weights.
    neuron = nf.LIF(tau_mem=-1e-3 / math.log(BETA), reset="soft", decay_bits=None)
    ours = nf.Network(
        nf.Linear(data.n_in, HIDDEN), neuron,
        nf.Linear(HIDDEN, HIDDEN), neuron.copy(),
        nf.Linear(HIDDEN, data.n_out), nf.I(),
    )  # fmt: skip
    first, labels = next(data.train.batches(128, seed=0))
    nf.scale_to_rate(ours, first, 0.06)

    theirs = Net(data.n_in, data.n_out)
    linears = (theirs.fc1, theirs.fc2, theirs.fc3)
    with torch.no_grad():
        for linear, weight in zip(linears, ours.parameters(), strict=True):
            linear.weight.copy_(weight)
        print(f"before training, outputs differ by {(theirs(first) - ours(first)).abs().max():.1e}")

    optimizer = torch.optim.Adam(theirs.parameters(), lr=LR)
    trainer = nf.Trainer(ours, nf.FDFA(fraction=0.25), torch.optim.Adam(ours.parameters(), lr=LR))
    # The first use on a machine compiles the event engine, once, for about a minute: before the clock starts.
    trainer.gradients(first, labels)

    def train_snntorch(x: torch.Tensor, target: torch.Tensor) -> None:
        optimizer.zero_grad()
        outputs = theirs(x)
        loss = sum(nn.functional.cross_entropy(y, target) for y in outputs) / len(outputs)
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def accuracy(scores: Callable[[torch.Tensor], torch.Tensor], split: nf.data.Split) -> float:
        hits = torch.cat([scores(x).argmax(1) == target for x, target in split.batches(256)])
        return float(hits.float().mean())

    # Both learn the same batches in turn; what is timed is learning alone, and processor time.
    _, ax = plt.subplots(layout="constrained")
    test = data.open_test()
    for name, step, scores in (
        ("snnTorch, BPTT", train_snntorch, lambda x: theirs(x)[-1]),
        ("neurofdfa, FDFA", trainer.step, trainer.predict),
    ):
        seconds, reached = [0.0], [accuracy(scores, data.validation)]
        for epoch in range(epochs):
            batches = list(data.train.batches(BATCH, seed=epoch))
            started = time.process_time()
            for x, target in batches:
                step(x, target)
            seconds.append(seconds[-1] + time.process_time() - started)
            reached.append(accuracy(scores, data.validation))
        print(f"{name:<16} test accuracy {accuracy(scores, test):.2%}  {seconds[-1]:.1f} s CPU")
        ax.plot(seconds, [100 * share for share in reached], "o-", label=name)
    ax.set(xlabel="seconds of learning, one core", ylabel="validation accuracy, %")
    ax.legend(frameon=False)
    Path("runs").mkdir(exist_ok=True)
    ax.figure.savefig("runs/digits_snntorch.png", dpi=150)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
