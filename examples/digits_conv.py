"""Learn digits online through two convolutions with FDFA; its updates beside those of backpropagation.

python examples/digits_conv.py [epochs]     some seconds, and the picture runs/digits_conv.png
"""

import sys
from pathlib import Path

import torch

import neurofdfa as nf


def main(epochs: int = 8) -> None:
    torch.set_num_threads(1)
    data = nf.data.load("digits", steps=8, encoder="poisson", max_rate=1.0)

    # 8 kernels over 8 x 8 pixels, sums over 2 x 2 spikes, 16 kernels, and a readout of all their positions.
    network = nf.Network(
        nf.Conv2d(1, 8, 3, padding=1), nf.LIF(),
        nf.SumPool2d(2), nf.Conv2d(8, 16, 3), nf.LIF(),
        nf.Flatten(), nf.Linear(64, data.n_out), nf.I(),
        input_shape=data.shape, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for index, layer in enumerate(network.hidden, 1):
        weights = layer.synapse.weight.numel()
        print(f"layer {index} has {layer.n} neurons, {weights} weights of its own")
    first, _ = next(data.train.batches(128, seed=0))
    nf.scale_to_rate(network, first, 0.06)

    # Every position has a row of feedback; with FDFA(feedback_per="channel") those of a channel share one.
    trainer = nf.Trainer(
        network,
        nf.FDFA(fraction=0.5),
        torch.optim.Adam(network.parameters(), lr=1e-2),
        generator=torch.Generator().manual_seed(1),
    )
    for epoch in range(1, epochs + 1):
        for x, target in data.train.batches(64, seed=epoch):
            trainer.step(x, target)
        print(f"epoch {epoch:2}  validation {trainer.evaluate(data.validation).accuracy:.1%}")

    # The cosine of FDFA's update with the exact surrogate gradient of the same weights, per sample.
    found = nf.alignment(trainer, *next(data.validation.batches(16)))
    for index, (mean, std) in enumerate(zip(found.mean, found.std, strict=True), 1):
        print(f"cosine with backpropagation through time in layer {index}: {mean:.2f} ± {std:.2f}")
    print(f"test accuracy {trainer.evaluate(data.open_test()).accuracy:.2%}")
    Path("runs").mkdir(exist_ok=True)
    nf.plot.alignment(found).figure.savefig("runs/digits_conv.png", dpi=150)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
