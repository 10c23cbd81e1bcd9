"""The same task in snnTorch, by backpropagation through time, and then by FDFA in neurofdfa.

    python examples/digits_snntorch.py [epochs]

Both sides: 64-128-128-10, leaky neurons with decay 0.8, threshold 1, soft reset, an integrating readout,
16 steps of Poisson spikes, Adam, the same batches.
"""

import math
import sys
import time

import snntorch as snn
import torch
from snntorch import surrogate
from torch import nn

from neurofdfa.data.batches import batches, evaluation_batches
from neurofdfa.data.load import load
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.train.trainer import Trainer

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
    data = load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Ours: built first, so that both sides can start from the same weights.
    neuron = LIF(tau_mem=-1e-3 / math.log(BETA))
    ours = feed_forward(data.n_in, [HIDDEN, HIDDEN], data.n_out, neuron=neuron)
    first, _ = next(batches(data.train, 128, data.encode, data.steps, torch.Generator().manual_seed(0)))
    scale_to_rate(ours, first, 0.06)

    theirs = Net(data.n_in, data.n_out)
    synapses = [layer.synapse for layer in ours.hidden] + [ours.readout.synapse]
    for linear, synapse in zip((theirs.fc1, theirs.fc2, theirs.fc3), synapses, strict=True):
        linear.weight.data.copy_(synapse.weight.data)
    print(f"before training, outputs differ by {(theirs(first) - ours.run(first).y).abs().max():.1e}")

    optimizer = torch.optim.Adam(theirs.parameters(), lr=LR)
    learner = Trainer(ours, FDFA(fraction=0.25), torch.optim.Adam(ours.parameters(), lr=LR))

    def train_snntorch(x: torch.Tensor, target: torch.Tensor) -> None:
        optimizer.zero_grad()
        outputs = theirs(x)
        loss = sum(nn.functional.cross_entropy(y, target) for y in outputs) / len(outputs)
        loss.backward()
        optimizer.step()

    test = data.open_test()
    for name, step, outputs in (
        ("snnTorch, BPTT", train_snntorch, theirs),
        ("neurofdfa, FDFA", learner.step, lambda x: ours.run(x).y),
    ):
        generator, started = torch.Generator().manual_seed(1), time.process_time()
        for _ in range(epochs):
            for x, target in batches(data.train, BATCH, data.encode, data.steps, generator):
                step(x, target)
        seconds = time.process_time() - started
        with torch.no_grad():
            hits = [outputs(x)[-1].argmax(1) == target for x, target in evaluation_batches(data, test, 256)]
        print(f"{name:<16} test accuracy {torch.cat(hits).float().mean():.2%}  {seconds:.1f} s CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
