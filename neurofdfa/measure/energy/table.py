"""What one sample costs under every rule, as a Markdown table: `python -m neurofdfa.measure.energy.table`."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from neurofdfa.data.load import load
from neurofdfa.measure.energy.ledger import Entry, ledger
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import EXACT, RULES, rule_named
from neurofdfa.rules.traces import PerSynapse

COLUMNS = (
    "per sample",
    "products",
    "of them at learning synapses",
    "words moved",
    "words of memory",
    "Loihi 1, µJ",
    "CMOS arithmetic, µJ",
    "with 8 KB SRAM, µJ",
)
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def example() -> tuple[Network, Tensor]:
    """64-128-128-10 as in the demo before it has learnt, 6 % of it firing, and 16 validation digits."""
    data = load("digits", steps=16, encoder="poisson", max_rate=1.0)
    network = feed_forward(64, [128, 128], 10, neuron=LIF(reset="hard", decay_bits=12))
    x, _, _ = data.validation.first(16)
    scale_to_rate(network, x)
    return network, x


def line(name: str, entry: Entry) -> str:
    """One line of the table: thousands of operations and words, microjoules."""
    counts = entry.counts
    cells = [
        *(
            f"{value / 1e3:.1f}k"
            for value in (counts.products + counts.synaptic_operations, counts.synapse_updates)
        ),
        *(f"{value / 1e3:.1f}k" for value in (counts.words_moved, sum(counts.memory.values()))),
        "–" if entry.loihi1 is None else f"{1e6 * entry.loihi1:.2f}",
        f"{1e6 * entry.cmos['arithmetic']:.3f}",
        f"{1e6 * (entry.cmos['arithmetic'] + entry.cmos['sram']):.2f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def rows(when: Literal["every-step", "last"] = "every-step") -> Iterator[str]:
    """A line for inference, for learning with every rule, and for the reference."""
    network, x = example()
    loss = CrossEntropy(when)
    with torch.no_grad():
        found = ledger(network, x, loss, EXACT)
        yield line("inference", found.inference)
        for name in RULES:
            rule = rule_named(name)
            yield line(f"[{name}](rules/{name}.md)", ledger(network, x, loss, rule).learning[name])
            if isinstance(rule.trace, PerSynapse) and rule.local_in_space and not rule.without_trace:
                found = ledger(network, x, loss, rule_named(name, trace="per-neuron"))
                yield line(f"{name}, trace per neuron", found.learning[name])
            if rule.frugal:
                said = ", ".join(f"{setting} {value}" for setting, value in rule.frugal.items())
                found = ledger(network, x, loss, rule_named(name, **rule.frugal))
                yield line(f"{name}, {said}", found.learning[name])


if __name__ == "__main__":
    print(HEADER, *rows(), sep="\n", flush=True)
