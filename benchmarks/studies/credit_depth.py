"""Where does a broadcast error lose the gradient of a deep spiking network?

Trains a network with one rule and compares, at several moments of its training and for every hidden layer,
weight gradients with those of backpropagation through time (BPTT) on the same weights and held-out samples.
A row replaces one more part of the exact computation by what a local rule can have:

errors known ahead   what comes down to a spike is the readout's memory of later errors, through the slopes ψ
                     of the step in which it is sent; then traces pass the membranes above (mean decays)
exact spatial        errors come down within their own step, through the weights above and ψ of that step, to
                     the trace per synapse; "averaged slopes": through ψ as the readout remembers it;
                     "downstream": traces pass the membranes above
mean over time       the path of "exact spatial", of every sample, averaged over its steps
mean over samples    the same at every step, averaged over samples
mean over both       one matrix, the mean path, which FDFA's feedback estimates
mean weighted        the same with the squared error as weights; "mean per label", "per guess" (the class with
                     the highest output), "per quarter" (of the time): one mean path for each
learnt               the rule's own matrix: what the noise and the lag of learning it cost is lost, too

    python benchmarks/studies/credit_depth.py fsdd --data-root FOLDER --depth 3
    python benchmarks/studies/credit_depth.py timing --depth 3 --rule dfa
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.io import write_text
from neurofdfa.lab.build import build_data, build_network, build_schedule, build_trainer, settle_rates
from neurofdfa.lab.config import RunConfig
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.loss import step_weights
from neurofdfa.nn.network import Network
from neurofdfa.rules.adjoint import Recorded, adjoint_of, filter_back
from neurofdfa.rules.spatial import synapses_above
from neurofdfa.rules.traces import PerSynapse, bind_path
from neurofdfa.train.recording import LayerRecord, Record, record

TASKS: dict[str, dict[str, Any]] = {
    "fsdd": {
        "data.name": "fsdd",
        "data.steps": 70,
        "data.options": {"bands": 40, "delta": 6.0},
        "network.tau_mem_spread": 1.0,
        "network.tau_syn_spread": 1.0,
        "network.dropout": 0.1,
        "training.epochs": 12,
        "training.lr": 0.005,
    },
    "timing": {
        "data.name": "randman",
        "data.steps": 25,
        "data.options": {"classes": 20, "n_in": 20, "train": 1500, "validation": 500, "test": 500},
        "network.reset": "soft",
        "training.epochs": 8,
        "training.lr": 0.01,
        "training.warmup": 20,
    },
}
SHARED: dict[str, Any] = {
    "network.tau_mem": 0.01,
    "network.tau_syn": 0.005,
    "network.readout": "leaky",
    "network.tau_out": 0.03,
    "training.batch": 64,
    "training.rate_strength": 0.0,
}
BATCH, BATCHES, QUARTERS = 64, 3, 4
HOT = 0.3


class Lived(NamedTuple):
    """A batch as the network lived it: errors and labels, and BPTT's δ `[T, B, n]` of every hidden layer."""

    seen: Record
    error: Tensor
    target: Tensor
    exact: list[Tensor]


def told(trace: PerSynapse, layer: SpikingLayer, kappa: float, signal: Tensor, seen: LayerRecord) -> Tensor:
    """δ of signals λ that meet a trace."""
    adjoint = adjoint_of(trace, layer)
    assert adjoint is not None
    return adjoint(trace, layer, kappa, signal, Recorded(seen.psi, seen.s, seen.after.u)).delta


@torch.no_grad()
def lived(learner: Any, x: Tensor, target: Tensor) -> Lived:
    """Run a batch, and send its exact errors back through time."""
    network: Network = learner.network
    seen = record(network, x, None)
    weights = step_weights(learner.loss, len(x), None).to(seen.y).view(-1, 1, 1)
    labels = target.expand(len(x), -1).flatten()
    error = weights * learner.loss.error(seen.y.flatten(0, 1), labels).view(seen.y.shape) / x.shape[1]
    delta, exact = filter_back(error.clone(), network.readout.kappa), list[Tensor]()
    ways = zip(network.hidden, synapses_above(network), seen.hidden, strict=True)
    for layer, synapse, lives in reversed(list(ways)):
        signal = synapse.transpose(delta.flatten(0, 1)).view(lives.psi.shape)
        delta = told(PerSynapse(filtered=False), layer, 0.0, signal, lives)
        exact.append(delta)
    return Lived(seen, error, target, exact[::-1])


def paths(network: Network, seen: Record, *, averaged: bool = False) -> list[Tensor]:
    """∂(drive of the readout)/∂(spike) within a step, `[k, T, B, n]` per hidden layer; with ψ of every step,
    or with its average over the steps that the readout remembers.
    """
    psis = [own.psi for own in seen.hidden]
    if averaged:
        psis = [remembered(psi, network.readout.kappa) for psi in psis]
    steps, batch, k = seen.y.shape
    found = [torch.zeros(k, steps, batch, layer.n) for layer in network.hidden]
    for c in range(k):
        delta = torch.zeros(steps * batch, k)
        delta[:, c] = 1.0
        for own, psi, synapse in reversed(list(zip(found, psis, synapses_above(network), strict=True))):
            signal = synapse.transpose(delta)
            own[c] = signal.view(steps, batch, -1)
            delta = signal * psi.flatten(0, 1)
    return found


def remembered(x: Tensor, decay: float) -> Tensor:
    """Average over the steps so far with weights decay^age."""
    found, kept, total = torch.zeros_like(x), torch.zeros_like(x[0]), 0.0
    for t in range(len(x)):
        kept, total = decay * kept + x[t], decay * total + 1.0
        found[t] = kept / total
    return found


def groups(lives: Lived) -> dict[str, Tensor]:
    """Which of several matrices speaks in a sample's step, `[T, B]`."""
    labels = lives.target.expand(len(lives.error), -1)
    steps = torch.arange(len(lives.error)) * QUARTERS // len(lives.error)
    return {
        "mean per label": labels,
        "mean per guess": lives.seen.y.argmax(2),
        "mean per quarter": steps.unsqueeze(1).expand_as(labels),
    }


def grouped(name: str, index: int, batches: list[Lived], ways: list["Paths"]) -> Tensor:
    """The mean path of every group, `[groups, n, k]`."""
    k = batches[0].error.shape[2]
    count = QUARTERS if name == "mean per quarter" else k
    total = torch.zeros(count, batches[0].exact[index].shape[2], k)
    seen = torch.zeros(count, 1, 1)
    for lives, way in zip(batches, ways, strict=True):
        which = groups(lives)[name]
        for g in range(count):
            own = (which == g).to(total)
            total[g] += torch.einsum("ctbn,tb->nc", way.now[index], own)
            seen[g] += own.sum()
    return total / seen.clamp(min=1.0)


def agreement(delta: Tensor, index: int, lives: Lived) -> tuple[float, float]:
    """Cosine of a layer's weight gradient to BPTT's, and the ratio of their norms."""
    pre = lives.seen.hidden[index].pre.flatten(0, 1)
    local = (delta.flatten(0, 1).t() @ pre).flatten()
    true = (lives.exact[index].flatten(0, 1).t() @ pre).flatten()
    cosine = torch.nn.functional.cosine_similarity(local, true, 0)
    return float(cosine), float((local @ local).sqrt() / (true @ true).sqrt())


class Paths(NamedTuple):
    """What lies above the layers in a batch, `[k, T, B, n]` each: with ψ of every step, with its average."""

    now: list[Tensor]
    averaged: list[Tensor]


class Layer:
    """One hidden layer: δ of everything that it could be told."""

    def __init__(self, network: Network, index: int) -> None:
        self.network, self.index, self.layer = network, index, network.hidden[index]
        self.kappa = network.readout.kappa
        self.plain = PerSynapse()
        self.passing: PerSynapse = bind_path(PerSynapse(downstream=True), network, index)
        self.unfiltered: PerSynapse = bind_path(PerSynapse(filtered=False, downstream=True), network, index)

    def of(self, lives: Lived, path: Tensor, trace: PerSynapse | None = None) -> Tensor:
        """δ of errors that come down a path `[k, T, B, n]`, or one that is the same in some of these."""
        signal = torch.einsum("ctbn,tbc->tbn", path.expand(-1, *lives.exact[self.index].shape), lives.error)
        return told(trace or self.plain, self.layer, self.kappa, signal, lives.seen.hidden[self.index])

    def ahead(self, lives: Lived, path: Tensor) -> Tensor:
        """The same if the readout's memory of later errors were known when a spike is sent."""
        late = filter_back(lives.error.clone(), self.kappa)
        signal = torch.einsum("ctbn,tbc->tbn", path, late)
        return told(self.unfiltered, self.layer, 0.0, signal, lives.seen.hidden[self.index])

    def rows(
        self, lives: Lived, way: Paths, means: dict[str, Tensor], sets: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """All rows but the rule's own."""
        now, averaged = way.now[self.index], way.averaged[self.index]
        found = {
            "errors known ahead": self.ahead(lives, now),
            "exact spatial, averaged slopes, downstream": self.of(lives, averaged, self.passing),
            "exact spatial, averaged slopes": self.of(lives, averaged),
            "exact spatial, downstream": self.of(lives, now, self.passing),
            "exact spatial": self.of(lives, now),
            "mean over time": self.of(lives, now.mean(1, keepdim=True)),
            **{name: self.of(lives, path) for name, path in means.items()},
        }
        which = groups(lives)
        for name, matrices in sets.items():  # [groups, n, k]
            found[name] = self.of(lives, matrices[which[name]].permute(3, 0, 1, 2))
        return found


@torch.no_grad()
def picture(learner: Any, held: list[Lived]) -> dict[str, list[tuple[float, float]]]:
    """Per row of the table and hidden layer, bottom up: cosine and ratio of norms."""
    network: Network = learner.network
    table: dict[str, list[tuple[float, float]]] = {}
    matrices: Any = getattr(learner.rule_state, "matrices", None)
    ways = [Paths(paths(network, x.seen), paths(network, x.seen, averaged=True)) for x in held]
    for index in range(len(network.hidden)):
        layer = Layer(network, index)
        powers = [lives.error.square().permute(2, 0, 1).unsqueeze(3) for lives in held]
        pairs = list(zip(powers, ways, strict=True))
        weighted = torch.stack([(p * way.now[index]).sum((1, 2), keepdim=True) for p, way in pairs]).sum(0)
        power = torch.stack([p.sum((1, 2), keepdim=True) for p in powers]).sum(0)
        means = {
            "mean over samples": torch.stack([x.now[index].mean(2, keepdim=True) for x in ways]).mean(0),
            "mean over both": torch.stack([x.now[index].mean((1, 2), keepdim=True) for x in ways]).mean(0),
            "mean weighted by squared error": weighted / power,
        }
        sets = {name: grouped(name, index, held, ways) for name in groups(held[0])}
        found: dict[str, list[tuple[float, float]]] = {}
        for lives, way in zip(held, ways, strict=True):
            rows = layer.rows(lives, way, means, sets)
            if matrices:
                rows["learnt"] = layer.of(lives, matrices[index].t()[:, None, None, :])
            for name, delta in rows.items():
                found.setdefault(name, []).append(agreement(delta, index, lives))
        for name, pairs in found.items():
            cosines, ratios = zip(*pairs, strict=True)
            table.setdefault(name, []).append((sum(cosines) / len(pairs), sum(ratios) / len(pairs)))
    return table


@torch.no_grad()
def activity(held: list[Lived]) -> dict[str, list[float]]:
    """Per hidden layer: rate, shares of silent and hot neurons, ψ that is zero, norm of BPTT's signal."""
    found: dict[str, list[float]] = {}
    for index in range(len(held[0].exact)):
        s = torch.cat([lives.seen.hidden[index].s for lives in held], 1)
        psi = torch.cat([lives.seen.hidden[index].psi for lives in held], 1)
        each = s.mean((0, 1))
        values = {
            "rate": s.mean(),
            "silent": (each == 0).float().mean(),
            "hot": (each > HOT).float().mean(),
            "psi zero": (psi == 0).float().mean(),
            "psi below a tenth of its peak": (psi < 0.1 * psi.max()).float().mean(),
            "norm of delta": torch.stack([lives.exact[index].square().sum().sqrt() for lives in held]).mean(),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(float(value))
    return found


def measured(learner: Any, data: Any) -> dict[str, Any]:
    """The table of one moment."""
    x, target, _ = data.validation.first(BATCHES * BATCH)
    held = [
        lived(learner, x[:, i : i + BATCH].float(), target[i : i + BATCH])
        for i in range(0, BATCHES * BATCH, BATCH)
    ]
    return {"agreement": picture(learner, held), "activity": activity(held)}


def main() -> None:
    """Train, and print a table per moment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data-root")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rule", default="fdfa")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, nargs="*", help="epochs after which to measure")
    parser.add_argument("--out", help="a JSON file")
    given = parser.parse_args()
    settings = {
        **SHARED,
        **TASKS[given.task],
        "data.root": given.data_root,
        "network.hidden": [given.width] * given.depth,
        "rule.name": given.rule,
        **({"training.lr": given.lr} if given.lr else {}),
    }
    config = RunConfig(seed=given.seed).with_settings(settings)
    data = build_data(config.data, given.seed)
    network = build_network(config.network, data.n_in, data.n_out, given.seed, data.shape)
    settle_rates(network, data, config.network.rate)
    learner: Any = build_trainer(config, network)
    epochs = config.training.epochs
    moments = set(given.epochs or (1, epochs // 3, epochs))
    schedule = build_schedule(learner, config.training, epochs * -(-len(data.train) // config.training.batch))
    generator = torch.Generator().manual_seed(given.seed + 2)
    found: dict[int, Any] = {}
    for epoch in range(1, epochs + 1):
        for x, target, *_ in data.train.batches(config.training.batch, generator=generator):
            learner.step(x, target)
            schedule.step()
        if epoch not in moments:
            continue
        score = learner.evaluate(data.validation)
        now = {"accuracy": score.accuracy, **measured(learner, data)}
        found[epoch] = now
        print(f"\nafter {epoch} epochs, validation {100 * score.accuracy:.1f} %: cosine (ratio of norms)")
        for name, cells in now["agreement"].items():
            print(f"| {name} | {' | '.join(f'{c:.2f} ({r:.2f})' for c, r in cells)} |")
        for name, values in now["activity"].items():
            print(f"| {name} | {' | '.join(f'{value:.3g}' for value in values)} |", flush=True)
    if given.out:
        write_text(Path(given.out), json.dumps({"settings": settings, "moments": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
