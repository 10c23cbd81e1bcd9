"""A network trained online with FDFA goes onto Intel Lava, and every spike of it is accounted for.

    python examples/deploy_to_lava.py [RUN]     half a minute; RUN: a folder that `neurofdfa train` filled

Float → NIR graph → integers of 8 bits, with scales found on training inputs → the integer reference → real
Lava. Between the last two, not one spike and not one membrane may differ.
"""

import sys
from pathlib import Path

import torch

from neurofdfa.data.batches import batches
from neurofdfa.data.dataset import Dataset
from neurofdfa.data.load import load
from neurofdfa.lab.build import build_data
from neurofdfa.lab.deploy import binary_inputs, deploy, run_backend, run_reference
from neurofdfa.lab.load_run import load_run
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from neurofdfa_hardware.chip.fixed_point import predict
from neurofdfa_hardware.chip.mapping import place
from neurofdfa_hardware.lava import LavaMissing, require
from neurofdfa_hardware.quantization.parity import parity


def train() -> tuple[Network, Dataset]:
    """64-128-64-10 on digits. The chip resets to zero and has decays of 12 bits: so does the network."""
    data = load("digits", steps=16, encoder="poisson", max_rate=1.0)
    generator = torch.Generator().manual_seed(0)
    neuron = LIF(reset="hard", decay_bits=12)
    network = feed_forward(data.n_in, [128, 64], data.n_out, neuron=neuron, generator=generator)
    first, _ = next(batches(data.train, 128, data.encode, data.steps, generator))
    scale_to_rate(network, first, 0.06)
    learner = Trainer(
        network,
        FDFA(),
        torch.optim.Adam(network.parameters(), lr=4e-3),
        rate_regulariser=RateRegulariser(),
        generator=generator,
    )
    for _ in range(6):
        for x, target in batches(data.train, 64, data.encode, data.steps, generator):
            learner.step(x, target)
    return network, data


def load_trained(run: Path) -> tuple[Network, Dataset]:
    config, network = load_run(run)
    return network, build_data(config.data, config.seed)


def main(*run: str) -> None:
    torch.set_num_threads(1)
    require()  # says how to get Lava before minutes go into training
    network, data = load_trained(Path(run[0])) if run else train()

    # To integers. The report says what it cost: rounding, clipped weights, silent neurons.
    deployment = deploy(network, data, bits=8)
    for layer in deployment.quantized.report.layers:
        print(
            f"{layer.name:15} weight error {layer.weight_error:.2%}, spikes as in float "
            f"{layer.spike_agreement:.2%}, firing {layer.firing_rate:.1%}"
        )
    for warning in deployment.quantized.report.warnings():
        print("  " + warning)
    placement = place(deployment.program, "loihi1")
    print(f"on Loihi 1: {len(placement.cores)} cores")

    test = data.open_test()
    spikes, labels = binary_inputs(data, test), test.targets.numpy()
    reference = run_reference(deployment, spikes)
    right = (predict(deployment.program, reference) == labels).mean()
    print(f"integer reference: test accuracy {right:.2%} of {len(labels)}")

    # Real Lava, 64 samples side by side, all states recorded.
    some = slice(0, 128)
    lava = run_backend("lava", deployment, spikes[:, some], states=True)
    right = (predict(deployment.program, lava) == labels[some]).mean()
    print(f"Lava: accuracy {right:.2%} on the first {len(labels[some])} of them")
    report = parity(deployment.network, deployment.program, spikes[:, some], lava)
    for row in report.comparisons:
        first = row.divergence
        where = f", first in {first.layer} at step {first.step}" if first else ""
        differ = f"{row.spikes - row.spikes_equal} of {row.spikes}"
        print(f"{row.before:>9} → {row.after:<9} {differ} spikes differ{where}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LavaMissing as missing:
        sys.exit(str(missing))
