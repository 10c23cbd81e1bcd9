"""Learn MNIST online with FDFA on the event engine: 784-800-10, the settings of docs/studies/mnist.md.

    python examples/mnist_fdfa.py FOLDER [--epochs 12] [--seed 0] [--download]

FOLDER holds the four IDX files, plain or gzipped; --download fetches what is missing. Settings were chosen
on validation images; the test images are looked at once, at the end.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR

import neurofdfa as nf

BATCH, STEPS, WARMUP = 128, 4, 100


def main(folder: Path, epochs: int, seed: int, download: bool) -> None:
    torch.set_num_threads(1)
    # Poisson spikes, a full pixel fires at every step; training images move by up to a pixel, ever afresh.
    data = nf.data.load("mnist", data_root=folder, steps=STEPS, max_rate=1.0, download=download, shift=1)
    network = nf.Network(
        nf.Linear(data.n_in, 800), nf.LIF(tau_mem=4.5e-3, reset="soft"), nf.Dropout(0.2),
        nf.Linear(800, data.n_out), nf.I(),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    first, _ = next(data.train.batches(BATCH, seed=seed))
    nf.scale_to_rate(network, first, 0.06)

    # The answer is the integrator's last value. An eighth of a batch carries what teaches the feedback.
    trainer = nf.Trainer(
        network,
        nf.FDFA(fraction=0.125, momentum=0.005),
        torch.optim.Adam(network.parameters(), lr=2e-3),
        loss=nf.CrossEntropy("last"),
        rate_regulariser=nf.RateRegulariser(),
        generator=torch.Generator().manual_seed(seed),
    )
    updates = epochs * math.ceil(len(data.train) / BATCH)
    schedule = LambdaLR(
        trainer.optimizer,
        lambda done: min(1.0, (done + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * done / updates)),
    )
    for epoch in range(1, epochs + 1):
        for x, target in data.train.batches(BATCH, seed=seed * epochs + epoch):
            trainer.step(x, target)
            schedule.step()
        found = trainer.evaluate(data.validation)
        rate = found.rates[0]
        print(f"epoch {epoch:2}  validation {found.accuracy:.2%}  firing rate {rate:.1%}", flush=True)
    print(f"test accuracy {trainer.evaluate(data.open_test()).accuracy:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the IDX files")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--download", action="store_true", help="fetch what is missing")
    given = parser.parse_args()
    try:
        main(given.folder, given.epochs, given.seed, given.download)
    except nf.UserError as error:
        sys.exit(f"{error}\nPut the four files into FOLDER, or give --download")
