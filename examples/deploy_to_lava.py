"""A network trained online with FDFA goes onto Intel Lava, and every spike of it is accounted for.

    python examples/deploy_to_lava.py [NETWORK.nir]     half a minute

Without an argument it trains one. A run of `neurofdfa train --data digits` leaves one in its folder.
NIR graph → integers of 8 bits, with scales found on training inputs → the integer reference → real Lava.
Between the last two, not one spike and not one membrane may differ. The picture runs/parity.png shows how
many spikes stay the same from one to the next.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import neurofdfa as nf
import neurofdfa_hardware as chip


def train(data: nf.data.Dataset, path: Path) -> None:
    """64-128-64-10. The chip resets to zero and has decays of 12 bits: so has a LIF by default."""
    network = nf.Network(
        nf.Linear(data.n_in, 128), nf.LIF(),
        nf.Linear(128, 64), nf.LIF(),
        nf.Linear(64, data.n_out), nf.I(),
    )  # fmt: skip
    first, _ = next(data.train.batches(128, seed=0))
    nf.scale_to_rate(network, first, 0.06)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    trainer = nf.Trainer(network, nf.FDFA(), optimizer, rate_regulariser=nf.RateRegulariser())
    trainer.fit(data.train, epochs=6, progress=False)
    nf.export_nir(network, path)


def spikes_of(split: nf.data.Split) -> tuple[np.ndarray, np.ndarray]:
    """Input spikes uint8 [T, N, 64], and labels."""
    x, labels = next(split.batches(len(split)))
    return x.numpy().astype(np.uint8), labels.numpy()


def main(file: str | None = None) -> None:
    torch.set_num_threads(1)
    chip.require()  # says how to get Lava before time goes into training
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(file or f"{folder}/network.nir")
        if file is None:
            train(data, path)
        network = chip.load(path)

    # To integers. The report says what it cost: rounding, clipped weights, silent neurons.
    calibration, _ = spikes_of(data.train.select(slice(0, 256)))
    program, quantised = chip.quantize(network, 8, calibration)
    for layer in quantised.layers:
        print(
            f"{layer.name:15} weight error {layer.weight_error:.2%}, spikes as in float "
            f"{layer.spike_agreement:.2%}, firing {layer.firing_rate:.1%}"
        )
    for warning in quantised.warnings():
        print("  " + warning)
    print(f"on Loihi 1: {len(chip.place(program, 'loihi1').cores)} cores")

    spikes, labels = spikes_of(data.open_test())
    right = (chip.predict(program, chip.simulate(program, spikes)) == labels).mean()
    print(f"integer reference: test accuracy {right:.2%} of {len(labels)}")

    # Real Lava, many samples side by side, all states recorded.
    some, labels = spikes[:, :128], labels[:128]
    lava = chip.LavaBackend().compile(program).run(some, states=True)
    right = (chip.predict(program, lava) == labels).mean()
    print(f"Lava: accuracy {right:.2%} on the first {len(labels)} of them")
    report = chip.parity(network, program, some, lava)
    Path("runs").mkdir(exist_ok=True)
    nf.plot.parity(report).figure.savefig("runs/parity.png", dpi=150, bbox_inches="tight")
    for row in report.comparisons:
        first = row.divergence
        where = f", first in {first.layer} at step {first.step}" if first else ""
        differ = f"{row.spikes - row.spikes_equal} of {row.spikes}"
        print(f"{row.before:>9} → {row.after:<9} {differ} spikes differ{where}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except chip.LavaMissing as missing:
        sys.exit(str(missing))
