"""Learn digits online through two convolutions with FDFA; its updates beside those of backpropagation.

python examples/digits_conv.py [epochs]
"""

import sys

import torch

from neurofdfa import events
from neurofdfa.data.batches import batches, evaluation_batches
from neurofdfa.data.load import load
from neurofdfa.measure.alignment import alignment
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.integrator import I
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network, scale_to_rate
from neurofdfa.nn.pooling import Flatten, SumPool2d
from neurofdfa.rules import FDFA
from neurofdfa.train.trainer import Trainer


def main(epochs: int = 8) -> None:
    torch.set_num_threads(1)
    data = load("digits", steps=8, encoder="poisson", max_rate=1.0)
    generator = torch.Generator().manual_seed(0)

    # 8 kernels over 8 x 8 pixels, sums over 2 x 2 spikes, 16 kernels, and a readout of all their positions.
    network = Network(
        Conv2d(1, 8, 3, padding=1), LIF(),
        SumPool2d(2), Conv2d(8, 16, 3), LIF(),
        Flatten(), Linear(64, data.n_out), I(),
        input_shape=data.shape, generator=generator,
    )  # fmt: skip
    for index, layer in enumerate(network.hidden, 1):
        synapse = layer.synapse
        print(f"layer {index} has {layer.n} neurons, {synapse.weight.numel()} weights of its own")
    first, _ = next(batches(data.train, 128, data.encode, data.steps, generator))
    scale_to_rate(network, first, 0.06)

    # Every position has a row of feedback; with FDFA(feedback_per="channel") those of a channel share one.
    learner = Trainer(
        network, FDFA(fraction=0.5), torch.optim.Adam(network.parameters(), lr=1e-2), generator=generator
    )
    for epoch in range(1, epochs + 1):
        for x, target in batches(data.train, 64, data.encode, data.steps, generator):
            learner.step(x, target)
        share = accuracy(network, evaluation_batches(data, data.validation, 256))
        print(f"epoch {epoch:2}  validation {share:.1%}")

    # The cosine of FDFA's update with the exact surrogate gradient of the same weights, per sample.
    some = data.validation.select(slice(0, 16))
    found = alignment(learner, *next(evaluation_batches(data, some, 16)))
    for index, (mean, std) in enumerate(zip(found.mean, found.std, strict=True), 1):
        print(f"cosine with backpropagation through time in layer {index}: {mean:.2f} ± {std:.2f}")
    print(f"test accuracy {accuracy(network, evaluation_batches(data, data.open_test(), 256)):.2%}")


def accuracy(network: Network, samples: object) -> float:
    outputs = ((events.run(network, x, spikes=False).y, target) for x, target in samples)
    hits = [network.decode(y).argmax(1) == target for y, target in outputs]
    return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
