"""One training step of every rule that the event engine executes: engine against reference, paired rounds.

    python benchmarks/rules.py --batch 32 --rounds 5

Net A of `neurofdfa bench`, Adam and the feedback's update included, CPU time at one thread.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from neurofdfa.bench.nets import NETS, prepare
from neurofdfa.bench.peers import STILL
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import rule_named
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.trainer import Engine, Trainer

PROBED = {"fraction": 1 / 8}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "dfa": ("dfa", {}, {}),
    "drtp": ("drtp", {}, {}),
    "dkp": ("dkp", {}, {}),
    "sbd": ("sbd", {}, {}),
    "fdfa": ("fdfa", PROBED, {}),
    "e-prop, symmetric, trace per neuron": (
        "e-prop",
        {"feedback": "symmetric", "trace": PerNeuron()},
        {},
    ),
    "e-prop, trace per synapse": ("e-prop", {}, {}),
    "dkp, spiking readout": ("dkp", {}, {"spiking": True}),
    "fdfa, spiking readout": ("fdfa", PROBED, {"spiking": True}),
    "fdfa, an update every 10 steps": ("fdfa", PROBED, {"every": 10}),
}


def with_spiking_readout(network: Network) -> Network:
    """The same hidden layers before output neurons that fire."""
    widths, lif = [layer.n for layer in network.hidden], network.hidden[0].neuron
    made = feed_forward(network.n_in, widths, network.n_out, neuron=lif, readout="spike-count")
    for new, old in zip(made.hidden, network.hidden, strict=True):
        new.synapse.weight.data.copy_(old.synapse.weight.data)
    made.readout.synapse.weight.data.mul_(10)
    return made


def trainer(name: str, engine: Engine, batch: int) -> Callable[[], Any]:
    """One training step of a case."""
    rule, options, more = CASES[name]
    network, x, target = prepare(NETS["A"], batch)
    network = with_spiking_readout(network) if more.get("spiking") else network
    made = Trainer(
        network,
        rule_named(rule, **options),
        torch.optim.Adam(network.parameters(), lr=STILL),
        update_every=more.get("every"),
        engine=engine,
        threads=1,
    )
    return partial(made.step, x, target)


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    engines: tuple[Engine, ...] = ("reference", "events")
    tasks = {f"{name} {e}": trainer(name, e, given.batch) for name in given.only for e in engines}
    seconds = time_rounds(tasks, given.rounds)
    for name in given.only:
        slow, fast = seconds[f"{name} reference"], seconds[f"{name} events"]
        found = ratio(slow, fast)
        print(
            f"{name:38} {1e3 * statistics.median(slow):8.1f} ms {1e3 * statistics.median(fast):7.1f} ms   "
            f"{found.median:.1f} ({found.spread[0]:.1f}-{found.spread[1]:.1f})"
        )


if __name__ == "__main__":
    main()
