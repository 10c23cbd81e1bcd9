"""Every rule x trace x reset x recurrent synapses at 1000 steps: which engine, and its time beside BPTT.

    python benchmarks/cliffs.py
    python benchmarks/cliffs.py --rules ottt,s-tllr --batch 8

700-128-20, 5 % of the inputs active, Adam included, CPU time at one thread. What the reference executes
step by step is timed on 100 steps, of which 1000 cost ten times as much; everything else on all 1000. A line
is marked where a training step takes more than three times as long as snnTorch's BPTT, or as ours.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.bench.nets import RATE
from neurofdfa.bench.peers import STILL, peer
from neurofdfa.errors import UserError
from neurofdfa.nn.delay import Delay
from neurofdfa.nn.integrator import I
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import RULES, rule_named
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer

STEPS, PART = 1000, 100
WORST = 3.0
OPTIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "fdfa, attached reset": ("fdfa", {"trace": "per-synapse"}, {"neuron": {"reset_gradient": "attached"}}),
    "fdfa, adaptive": ("fdfa", {"trace": "per-synapse"}, {"neuron": {"adaptation": 0.2}}),
    "fdfa, update_every=50": ("fdfa", {"trace": "per-synapse"}, {"update_every": 50}),
    "fdfa, weighting": ("fdfa", {"trace": "per-synapse", "weighting": "error"}, {}),
    "fdfa, unfiltered trace": ("fdfa", {"trace": {"kind": "per-synapse", "filtered": False}}, {}),
    "fdfa, delays": ("fdfa", {"trace": "per-synapse"}, {"delays": True}),
    "dfa, delays": ("dfa", {"trace": "per-synapse"}, {"delays": True}),
    "sbd, regularisers": ("sbd", {"trace": "per-synapse", "power": 0.1, "decorrelation": 0.1}, {}),
    "readout-only, rate target": ("readout-only", {}, {"rate": True}),
    "fdfa, learnt tau": ("fdfa", {"trace": "per-synapse"}, {"learn_tau": True}),
}
"""Rule, its options, and what is set besides: feed-forward, hard reset."""
PROBED: dict[str, dict[str, Any]] = {"fdfa": {"fraction": 1 / 8}}
TRACES = ("per-synapse", "per-neuron")


def prepare(reset: Any, recurrent: bool, batch: int) -> tuple[Network, Tensor, Tensor]:
    """Network, spikes and labels."""
    g = torch.Generator().manual_seed(0)
    neuron = LIF(tau_mem=5e-3, reset=reset, decay_bits=None)
    network = feed_forward(700, (128,), 20, neuron=neuron, recurrent=recurrent, generator=g)
    x = (torch.rand(STEPS, batch, 700, generator=g) < 0.05).float()
    scale_to_rate(network, x[:100, :8], RATE, rounds=10)
    return network, x, torch.randint(0, 20, (batch,), generator=g)


def seconds(step: Callable[[Tensor, Tensor], Any], x: Tensor, target: Tensor, repeats: int) -> float:
    """CPU time of the fastest of so many steps, after one on a few of the steps to warm up."""
    step(x[:10], target)
    if repeats > 1:
        step(x, target)
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        step(x, target)
        best = min(best, time.process_time() - start)
    return best


class Setting(NamedTuple):
    """A network with its data, and the seconds that a training step by BPTT takes: snnTorch's and ours."""

    where: str
    network: Network
    x: Tensor
    target: Tensor
    theirs: float
    bptt: float

    def report(self, name: str, trace: str, trainer: Trainer, repeats: int) -> None:
        """Measure one way to learn, and print its line."""
        engine, x = type(trainer.executor).__name__, self.x
        whole = engine != "OnlineLoop"
        found = seconds(trainer.step, x if whole else x[:PART], self.target, repeats if whole else 1)
        found *= 1 if whole else STEPS / PART
        self.line(name, trace, engine, found)

    def line(self, name: str, trace: str, engine: str, found: float) -> None:
        """Print a line."""
        slow = "  <" if min(self.theirs, self.bptt) * WORST < found else ""
        print(f"{name:26} {trace:12} {self.where} {engine:10.10} {1e3 * found / self.x.shape[1]:9.2f}"
              f" {self.theirs / found:14.2f} {self.bptt / found:10.2f}{slow}", flush=True)  # fmt: skip


def lines(names: list[str], batch: int, repeats: int) -> None:
    """Measure and print one line per case."""
    print(f"{'rule':26} {'trace':12} {'reset':5} {'rec.':4} {'engine':10} {'ms/sample':>9}"
          f" {'snnTorch/ours':>14} {'BPTT/ours':>10}")  # fmt: skip
    for recurrent, reset in product((False, True), ("hard", "soft")):
        network, x, target = prepare(reset, recurrent, batch)
        theirs = seconds(peer("snntorch", network).learner(), x, target, 1)
        bptt = seconds(Trainer(network, rule_named("bptt"), still(network)).step, x, target, 1)
        where = f"{reset:5} {'yes' if recurrent else 'no':4}"
        setting = Setting(where, network, x, target, theirs, bptt)
        setting.line("bptt", "-", "graph", bptt)
        for name in names:
            every_trace(name, setting, repeats)


def still(network: Network) -> torch.optim.Optimizer:
    """Adam that hardly moves: rates stay what they were matched to."""
    return torch.optim.Adam(network.parameters(), lr=STILL)


def every_trace(name: str, setting: Setting, repeats: int) -> None:
    """Print one line per trace that a rule can have."""
    plain = rule_named(name, **PROBED.get(name, {}))
    own = plain.without_trace or not isinstance(plain.trace, (PerNeuron, PerSynapse))
    for trace in ("-",) if own else TRACES:
        options = PROBED.get(name, {}) | ({} if trace == "-" else {"trace": trace})
        try:
            rule = rule_named(name, **options)
            trainer = Trainer(setting.network, rule, still(setting.network), threads=1)
        except UserError as error:
            print(f"{name:26} {trace:12} {setting.where} refused: {error}")
            continue
        setting.report(name, trace, trainer, repeats)


def options(batch: int) -> None:
    """Measure and print one line per option that is easily slow."""
    plain, x, target = prepare("hard", False, batch)
    theirs = seconds(peer("snntorch", plain).learner(), x, target, 1)
    for name, (rule, settings, more) in OPTIONS.items():
        g = torch.Generator().manual_seed(0)
        neuron = {"tau_mem": 5e-3, "decay_bits": None, "learn_tau": more.get("learn_tau", False)}
        lif = LIF(**neuron | more.get("neuron", {}))
        late = [Delay(torch.arange(n) % 10) for n in (700, 128)] if more.get("delays") else []
        modules = [*late[:1], Linear(700, 128), lif, *late[1:], Linear(128, 20), I()]
        network = Network(*modules, generator=g)
        scale_to_rate(network, x[:100, :8], RATE, rounds=10)
        bptt = seconds(Trainer(network, rule_named("bptt"), still(network)).step, x, target, 1)
        trainer = Trainer(
            network, rule_named(rule, **PROBED.get(rule, {}), **settings), still(network), threads=1,
            update_every=more.get("update_every"),
            rate_regulariser=RateRegulariser() if more.get("rate") else None,
        )  # fmt: skip
        Setting("hard  no  ", network, x, target, theirs, bptt).report(name, "", trainer, 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rules", default=",".join(x for x in RULES if rule_named(x).through_time is None))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines([name for name in given.rules.split(",") if name], given.batch, given.repeats)
    options(given.batch)


if __name__ == "__main__":
    main()
