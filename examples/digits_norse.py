"""The same task in Norse, by backpropagation through time, and then by FDFA in neurofdfa.

    python examples/digits_norse.py [epochs]     and the picture runs/digits_norse.png

Both sides: 64-128-128-10, current-based LIF neurons with hard reset, a leaky readout, 16 steps of Poisson
spikes, Adam, the same batches. Norse integrates by forward Euler: with its time constants chosen for the same
decays, and weights scaled by what it scales currents with, both networks give the same outputs.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import norse.torch as norse
import torch
from torch import nn

import neurofdfa as nf

ALPHA, BETA, KAPPA, HIDDEN, LR, BATCH, DT = 0.5, 0.8, 0.95, 128, 4e-3, 64, 1e-3


class Net(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        lif = norse.LIFParameters(
            tau_syn_inv=torch.tensor((1 - ALPHA) / DT),
            tau_mem_inv=torch.tensor((1 - BETA) / DT),
            v_th=torch.tensor(1.0), method="super", alpha=torch.tensor(2.0),
        )  # fmt: skip
        slow = torch.tensor((1 - KAPPA) / DT)
        readout = norse.LIParameters(tau_syn_inv=torch.tensor(1 / DT), tau_mem_inv=slow)
        self.layers = norse.SequentialState(
            nn.Linear(n_in, HIDDEN, bias=False),
            norse.LIFCell(p=lif, dt=DT),
            nn.Linear(HIDDEN, HIDDEN, bias=False),
            norse.LIFCell(p=lif, dt=DT),
            nn.Linear(HIDDEN, n_out, bias=False),
            norse.LICell(p=readout, dt=DT),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for x_t in x:
            voltage, state = self.layers(x_t, state)
            outputs.append(voltage)
        return torch.stack(outputs)


def main(epochs: int = 10) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Ours: built first, so that both sides can start from the same weights.
    tau_mem, tau_syn, tau_out = (-DT / math.log(decay) for decay in (BETA, ALPHA, KAPPA))
    neuron = nf.LIF(tau_mem=tau_mem, tau_syn=tau_syn, dt=DT, decay_bits=None)
    ours = nf.Network(
        nf.Linear(data.n_in, HIDDEN), neuron,
        nf.Linear(HIDDEN, HIDDEN), neuron.copy(),
        nf.Linear(HIDDEN, data.n_out), nf.LI(tau_out, dt=DT, decay_bits=None),
    )  # fmt: skip
    first, labels = next(data.train.batches(128, seed=0))
    nf.scale_to_rate(ours, first, 0.06)

    # Norse scales the input current by dt·tau_mem_inv: its weights are larger by that factor.
    theirs = Net(data.n_in, data.n_out)
    linears = [module for module in theirs.modules() if isinstance(module, nn.Linear)]
    gains = (1 - BETA, 1 - BETA, 1 - KAPPA)
    with torch.no_grad():
        for linear, weight, gain in zip(linears, ours.parameters(), gains, strict=True):
            linear.weight.copy_(weight / gain)
        print(f"before training, outputs differ by {(theirs(first) - ours(first)).abs().max():.1e}")

    optimizer = torch.optim.Adam(theirs.parameters(), lr=LR)
    trainer = nf.Trainer(ours, nf.FDFA(fraction=0.25), torch.optim.Adam(ours.parameters(), lr=LR))
    # The first use on a machine compiles the event engine, once, for about a minute: before the clock starts.
    trainer.gradients(first, labels)

    def train_norse(x: torch.Tensor, target: torch.Tensor) -> None:
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
        ("Norse, BPTT", train_norse, lambda x: theirs(x).mean(0)),
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
    ax.figure.savefig("runs/digits_norse.png", dpi=150)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
