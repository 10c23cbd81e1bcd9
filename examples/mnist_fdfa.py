"""Learn MNIST online with FDFA on the event engine: 784-800-10, the settings of docs/studies/mnist.md.

    python examples/mnist_fdfa.py FOLDER [--epochs 12] [--seed 0] [--download]

FOLDER holds the four IDX files, plain or gzipped; --download fetches what is missing. Settings were chosen
on validation images; the test images are looked at once, at the end.
"""

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from neurofdfa.data.batches import batches, evaluation_batches
from neurofdfa.data.idx import SOURCES
from neurofdfa.data.load import load
from neurofdfa.errors import UserError
from neurofdfa.events import run
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer

BATCH, STEPS, WARMUP = 128, 4, 100


def main(folder: Path, epochs: int, seed: int, download: bool) -> None:
    torch.set_num_threads(1)
    # Poisson spikes, a full pixel fires at every step; training images move by up to a pixel, ever afresh.
    data = load("mnist", data_root=folder, steps=STEPS, max_rate=1.0, download=download, shift=1)
    generator = torch.Generator().manual_seed(seed)
    neuron = LIF(tau_mem=4.5e-3, reset="soft", decay_bits=12)
    network = feed_forward(data.n_in, [800], data.n_out, neuron=neuron, dropout=0.2, generator=generator)
    first, _ = next(batches(data.train, BATCH, data.encode, STEPS, generator))
    scale_to_rate(network, first, 0.06)

    # The answer is the integrator's last value. An eighth of a batch carries what teaches the feedback.
    rule = FDFA(fraction=0.125, momentum=0.005)
    ours = Trainer(
        network,
        rule,
        torch.optim.Adam(network.parameters(), lr=2e-3),
        loss=CrossEntropy("last"),
        rate_regulariser=RateRegulariser(),
        generator=generator,
    )
    updates = epochs * math.ceil(len(data.train) / BATCH)
    schedule = LambdaLR(
        ours.optimizer,
        lambda done: min(1.0, (done + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * done / updates)),
    )
    for epoch in range(1, epochs + 1):
        for x, target in batches(data.train, BATCH, data.encode_training, STEPS, generator):
            stats = ours.step(x, target)
            schedule.step()
        share = accuracy(network, evaluation_batches(data, data.validation, 256))
        print(f"epoch {epoch:2}  validation {share:.2%}  firing rate {stats.rates[0]:.1%}", flush=True)
    print(f"test accuracy {accuracy(network, evaluation_batches(data, data.open_test(), 256)):.2%}")


def accuracy(network: Network, samples: Iterable[tuple[Tensor, Tensor]]) -> float:
    hits = [network.decode(run(network, x).y).argmax(1) == target for x, target in samples]
    return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the IDX files")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--download", action="store_true", help=f"from {SOURCES['mnist']}")
    given = parser.parse_args()
    try:
        main(given.folder, given.epochs, given.seed, given.download)
    except UserError as error:
        sys.exit(f"{error}\nThe files are at {SOURCES['mnist']}: put them into FOLDER, or give --download")
