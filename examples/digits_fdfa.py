"""Learn handwritten digits online with FDFA: no backward pass, memory that does not grow with time.

python examples/digits_fdfa.py [epochs]
"""

import sys

import torch

from neurofdfa.data.batches import batches, evaluation_batches
from neurofdfa.data.load import load
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import FDFA
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer


def main(epochs: int = 10) -> None:
    torch.set_num_threads(1)
    data = load("digits", steps=16, encoder="poisson", max_rate=1.0)
    generator = torch.Generator().manual_seed(0)

    # Two hidden layers of LIF neurons and an integrating readout; 6 % of the neurons fire to begin with.
    network = feed_forward(data.n_in, [128, 128], data.n_out, generator=generator)
    first, _ = next(batches(data.train, 128, data.encode, data.steps, generator))
    scale_to_rate(network, first, 0.06)

    # FDFA: the error reaches each layer through a feedback matrix that is learnt by forward-mode probes.
    learner = Trainer(
        network,
        FDFA(fraction=0.25),
        torch.optim.Adam(network.parameters(), lr=4e-3),
        rate_regulariser=RateRegulariser(),
        generator=generator,
    )
    for epoch in range(1, epochs + 1):
        for x, target in batches(data.train, 64, data.encode, data.steps, generator):
            stats = learner.step(x, target)
        rates = ", ".join(f"{rate:.1%}" for rate in stats.rates)
        share = accuracy(network, evaluation_batches(data, data.validation, 256))
        print(f"epoch {epoch:2}  validation {share:.1%}  firing rates {rates}")

    # How well did the feedback of the last layer find the transpose of the readout's weights?
    found, wanted = learner.rule_state.matrices[-1], network.readout.synapse.weight.t()
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    print(f"cosine of B and the readout's transpose: {cosine:.2f}")
    print(f"test accuracy {accuracy(network, evaluation_batches(data, data.open_test(), 256)):.2%}")


def accuracy(network: Network, samples: object) -> float:
    hits = [network.decode(network.run(x).y).argmax(1) == target for x, target in samples]
    return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
