"""The network of a study, trained back through time in snnTorch or SpikingJelly, on the same data and budget.

    python benchmarks/studies/other_simulators.py STUDY.toml --data-root FOLDER --simulator snntorch

Both start from our initial weights and have a neuron's synaptic filter, its hard reset and the leaky readout;
time constants differ between neurons where the study's do. Of the study are the batches, the loss at every
step, Adam, the schedule, dropout and the learning rates, each tried with the first seed; the best on
validation data goes on to the other seeds. The epoch is chosen on validation loss, the test split opened once
per run. A run is a line in --out; one that is there is not made again: the command goes on where it stopped.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurofdfa.data import Dataset, Split
from neurofdfa.lab.build import build_data, build_network, learning_rate, settle_rates
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.study_file import read_study
from neurofdfa.nn.network import Network

Forward = Callable[[Tensor, Tensor | None], Tensor]
"""Inputs `[T, B, n]` and the dropout mask of the hidden layer, `[B, n]` or None → outputs `[T, B, k]`."""


def linears(network: Network) -> tuple[nn.Linear, nn.Linear]:
    copies: list[nn.Linear] = []
    for synapse in (network.hidden[0].synapse, network.readout.synapse):
        copy = nn.Linear(synapse.n_in, synapse.n_out, bias=False)
        copy.weight.data.copy_(synapse.weight.detach())
        copies.append(copy)
    return copies[0], copies[1]


def filtered(x: Tensor, decay: float | Tensor) -> Tensor:
    """What is left of every step decays: y[t] = decay · y[t − 1] + x[t]."""
    y, steps = torch.zeros(()), list[Tensor]()
    for step in x:
        y = decay * y + step
        steps.append(y)
    return torch.stack(steps)


def snntorch(network: Network) -> tuple[Forward, list[nn.Parameter]]:
    snn: Any = importlib.import_module("snntorch")
    surrogate: Any = importlib.import_module("snntorch.surrogate")
    lif, decay = network.hidden[0].neuron, network.hidden[0].dynamics
    below, above = linears(network)
    neuron = snn.Synaptic(
        alpha=decay.alpha,
        beta=decay.beta,
        threshold=lif.v_threshold,
        reset_mechanism="zero",
        spike_grad=surrogate.fast_sigmoid(slope=1 / lif.surrogate.width),
    )

    def forward(x: Tensor, mask: Tensor | None) -> Tensor:
        current, membrane = (x.new_zeros(x.shape[1], below.out_features) for _ in range(2))
        fired: list[Tensor] = []
        for drive in below(x):
            spike, current, membrane = neuron(drive, current, membrane)
            fired.append(spike if mask is None else spike * mask)
        return filtered(above(torch.stack(fired)), network.readout.kappa)

    return forward, [*below.parameters(), *above.parameters()]


def spikingjelly(network: Network) -> tuple[Forward, list[nn.Parameter]]:
    base: Any = importlib.import_module("spikingjelly.activation_based.neuron")
    functional: Any = importlib.import_module("spikingjelly.activation_based.functional")
    surrogate: Any = importlib.import_module("spikingjelly.activation_based.surrogate")
    lif, decay = network.hidden[0].neuron, network.hidden[0].dynamics
    below, above = linears(network)

    class Node(base.SimpleBaseNode):  # LIFNode has one time constant for all neurons
        def neuronal_charge(self, x: Tensor) -> None:
            self.v = decay.beta * self.v + x

    node = Node(
        v_threshold=lif.v_threshold,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="m",
    )

    def forward(x: Tensor, mask: Tensor | None) -> Tensor:
        functional.reset_net(node)
        spikes = node(filtered(below(x), decay.alpha))
        return filtered(above(spikes if mask is None else spikes * mask), network.readout.kappa)

    return forward, [*below.parameters(), *above.parameters()]


SIMULATORS = {"snntorch": snntorch, "spikingjelly": spikingjelly}


def dense(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else x.dense(torch.float32)


def measured(network: Network, forward: Forward, split: Split) -> tuple[float, float]:
    """Loss and accuracy."""
    loss, correct = 0.0, 0
    with torch.no_grad():
        for x, target, *_ in split.batches(128):
            y = forward(dense(x), None)
            labels = target.repeat(len(y))
            loss += float(nn.functional.cross_entropy(y.flatten(0, 1), labels)) * len(target)
            correct += int((network.decode(y).argmax(1) == target).sum())
    return loss / len(split), correct / len(split)


def train(simulator: str, config: RunConfig, data: Dataset) -> dict[str, Any]:
    """One run: what the line in the file says."""
    training, seed = config.training, config.seed
    network = build_network(config.network, data.n_in, data.n_out, seed, data.shape)
    settle_rates(network, data, config.network.rate)
    torch.manual_seed(seed)
    forward, parameters = SIMULATORS[simulator](network)
    optimizer = torch.optim.Adam(parameters, lr=training.lr)
    updates = training.epochs * -(-len(data.train) // training.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: learning_rate(training, k, updates))
    chance = config.network.dropout
    order = torch.Generator().manual_seed(seed + 2)
    seconds, best, kept = 0.0, (float("inf"), 0.0), [p.detach().clone() for p in parameters]
    for _ in range(training.epochs):
        for given, target, *_ in data.train.batches(training.batch, generator=order):
            x, began = dense(given), time.process_time()
            mask = torch.ones(x.shape[1], network.hidden[0].n)
            y = forward(x, nn.functional.dropout(mask, chance))
            loss = nn.functional.cross_entropy(y.flatten(0, 1), target.repeat(len(y)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds += time.process_time() - began
            schedule.step()
        found = measured(network, forward, data.validation)
        if found[0] < best[0]:
            best, kept = found, [p.detach().clone() for p in parameters]
    for parameter, value in zip(parameters, kept, strict=True):
        parameter.data.copy_(value)
    _, test = measured(network, forward, data.open_test())
    return {
        "simulator": simulator, "lr": training.lr, "seed": seed, "validation": best[1], "test": test,
        "cpu_seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """Print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--simulator", choices=SIMULATORS, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("other-simulators.jsonl"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = read_study(given.study)
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []

    def run(lr: float, seed: int) -> dict[str, Any]:
        wanted = {"simulator": given.simulator, "lr": lr, "seed": seed}
        found = next((one for one in done if wanted.items() <= one.items()), None)
        if found is None:
            settings = study.base | {"training.lr": lr, "data.root": given.data_root}
            config = RunConfig().with_settings(settings).model_copy(update={"seed": seed})
            found = train(given.simulator, config, build_data(config.data, seed))
            with open(given.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)
        return found

    tries = [run(lr, 0) for lr in study.choose["training.lr"]]
    lr = max(tries, key=lambda one: one["validation"])["lr"]
    for seed in range(1, given.seeds):
        run(lr, seed)


if __name__ == "__main__":
    main()
