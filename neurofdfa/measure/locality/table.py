"""Certificates of all rules as one Markdown table: `python -m neurofdfa.measure.locality.table`."""

from collections.abc import Iterator

import torch

from neurofdfa.measure.locality.audit import certify
from neurofdfa.measure.locality.document import Certificate
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import RULES

HEADER = """| rule | local | in space | in time | samples apart | layer 1 of 2 reads, its own | of others |
|---|---|---|---|---|---|---|"""


def example() -> Network:
    """6-7-6-3, recurrent, with everything that could leak: biases, dropout, attached hard resets."""
    lif = LIF(tau_syn=2e-3, reset="hard", reset_gradient="attached", decay_bits=None)
    network = feed_forward(6, [7, 6], 3, neuron=lif, readout="leaky", bias=True, recurrent=True, dropout=0.2)
    generator = torch.Generator().manual_seed(3)
    network.initialise(generator, gain=1.6, recurrent_gain=0.8, readout_gain=0.8)
    return network


def row(found: Certificate) -> str:
    """One line of the table."""
    words = {True: "yes", False: "**no**"}
    first = found.layers[0]
    own = [source for source in first.reads if "." not in source or source.startswith("layer1.")]
    # its spikes are the input of layer 2; only the reference keeps a graph that tells them apart
    foreign = [v.reads for v in found.violations if v.layer in ("layer1", "all")]
    own_words = ", ".join(source.removeprefix("layer1.") for source in own)
    cells = [
        f"[{found.rule}](rules/{found.rule}.md)",
        *(words[x] for x in (found.local, found.local_in_space, found.local_in_time)),
        words[found.samples_independent],
        own_words or "nothing: it does not learn",
        ", ".join(foreign) or "–",
    ]
    return f"| {' | '.join(cells)} |"


def rows() -> Iterator[str]:
    """A line for every rule, the reference among them."""
    for name in RULES:
        yield row(certify(name, example()))


if __name__ == "__main__":
    print(HEADER, *rows(), sep="\n", flush=True)
