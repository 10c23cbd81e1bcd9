"""A recurrent network learns a spike-timing task by BPTT in snnTorch and in Norse, and by FDFA here.

    python examples/timing_recurrent.py [epochs | choose]

Twenty classes that differ in WHEN each of 20 inputs fires its one spike. Our network, 20-64-20, all-to-all
recurrent, is converted to the simulator: same weights, same outputs. snnTorch has our soft reset and Norse
our hard one: two pairs. `choose` prints the validation accuracies by which learning rates were chosen.
"""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import neurofdfa as nf

BATCH, STEPS, SIZES = 64, 25, {"train": 1500, "validation": 500, "test": 500}
RATES, SLOW, WARMUP = (0.01, 0.02, 0.04, 0.08, 0.16), 0.1, 20  # of Adam; its factor for V, which is small
Method = tuple[Callable[..., object], torch.optim.Optimizer, Callable[[Tensor], Tensor]]


def adam(parameters: Iterable[Tensor], slow: Iterable[Tensor], lr: float) -> torch.optim.Adam:
    groups = [{"params": [p], "lr": lr * (SLOW if any(p is q for q in slow) else 1)} for p in parameters]
    return torch.optim.Adam(groups)


def rate(updates: int, done: int) -> float:
    return min(1.0, (done + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * done / updates))


def fdfa(network: nf.Network, lr: float) -> Method:
    ours = nf.Trainer(
        network, nf.FDFA(), adam(network.parameters(), [network.hidden[0].recurrent.weight], lr)
    )
    return ours.step, ours.optimizer, lambda x: network.run(x).y


def bptt(chain: nn.Module, outputs: Callable[[Tensor], Tensor], lr: float) -> Method:
    slow = [p for name, p in chain.named_parameters() if "recurrent" in name]
    optimizer = adam((p for p in chain.parameters() if p.requires_grad), slow, lr)

    def step(x: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(outputs(x).flatten(0, 1), target.repeat(len(x))).backward()
        optimizer.step()

    return step, optimizer, outputs


def in_snntorch(network: nf.Network, lr: float) -> Method:
    chain = nf.to_snntorch(network)

    def outputs(x: Tensor) -> Tensor:
        for neuron in chain[1::2]:
            neuron.reset_mem()
        return torch.stack([chain(x_t)[-1] for x_t in x])  # the readout's membrane

    return bptt(chain, outputs, lr)


def in_norse(network: nf.Network, lr: float) -> Method:
    chain = nf.to_norse(network)

    def outputs(x: Tensor) -> Tensor:
        states = itertools.accumulate(x, lambda before, x_t: chain(x_t, before[1]), initial=(None, None))
        return torch.stack([y for y, _ in states][1:])

    return bptt(chain, outputs, 10 * lr)  # Norse's weights are ten times ours


def fresh(reset: str, x: Tensor) -> nf.Network:
    # low surrogates keep what flows through the recurrence bounded; Norse has this one of ours
    surrogate = nf.FastSigmoid(0.5, 0.3) if reset == "soft" else nf.Triangular(1.0, 0.3)
    neuron = nf.LIF(10e-3, 5e-3, reset=reset, surrogate=surrogate, recurrent=True)
    network = nf.Network(nf.Linear(20, 64), neuron, nf.Linear(64, 20), nf.LI(30e-3))
    nf.scale_to_rate(network, x, 0.06)
    return network


RUNS = (
    ("soft", "snnTorch, BPTT, soft", in_snntorch, 0.02),
    ("soft", "neurofdfa, FDFA, soft", fdfa, 0.04),
    ("hard", "Norse, BPTT, hard", in_norse, 0.08),
    ("hard", "neurofdfa, FDFA, hard", fdfa, 0.04),
)


def main(argument: str = "8") -> None:
    torch.set_num_threads(1)
    epochs, choose = (8, True) if argument == "choose" else (int(argument), False)
    data = nf.data.load("randman", steps=STEPS, **SIZES)
    name, split = ("validation", data.validation) if choose else ("test", data.open_test())
    seen, labels = next(split.batches(len(split)))
    order = [batch for epoch in range(epochs) for batch in data.train.batches(BATCH, seed=epoch)]
    for reset, label, method, chosen in RUNS:
        # A first step before any measurement: the event engine compiles once on a machine, for a minute.
        method(fresh(reset, order[0][0]), chosen)[0](*order[0])
        for lr in RATES if choose else [chosen]:
            peak = nf.peak_mib(partial(method(fresh(reset, order[0][0]), lr)[0], *order[0]))
            step, optimizer, outputs = method(fresh(reset, order[0][0]), lr)
            schedule = LambdaLR(optimizer, partial(rate, len(order)))
            started = time.process_time()
            for batch in order:
                step(*batch)
                schedule.step()
            seconds = time.process_time() - started
            share = (torch.no_grad()(outputs)(seen).mean(0).argmax(1) == labels).float().mean()
            print(f"{label:<21} {name} accuracy {share:.2%}  {seconds:.1f} s CPU  {peak:.1f} MiB  lr {lr}")


if __name__ == "__main__":
    main(*sys.argv[1:])
