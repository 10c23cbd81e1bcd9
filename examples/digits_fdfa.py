"""Learn handwritten digits online with FDFA: no backward pass, memory that does not grow with time.

python examples/digits_fdfa.py [epochs]     a few seconds, and the picture runs/digits_fdfa.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import neurofdfa as nf


def main(epochs: int = 10) -> None:
    torch.set_num_threads(1)
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Two hidden layers of LIF neurons and an integrating readout; 6 % of the neurons fire to begin with.
    network = nf.Network(
        nf.Linear(data.n_in, 128), nf.LIF(),
        nf.Linear(128, 128), nf.LIF(),
        nf.Linear(128, data.n_out), nf.I(),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    first, _ = next(data.train.batches(128, seed=0))
    nf.scale_to_rate(network, first, 0.06)

    # FDFA: the error reaches each layer through a feedback matrix that is learnt by forward-mode probes.
    trainer = nf.Trainer(
        network,
        nf.FDFA(fraction=0.25),
        torch.optim.Adam(network.parameters(), lr=4e-3),
        rate_regulariser=nf.RateRegulariser(),
        generator=torch.Generator().manual_seed(1),
    )
    history = trainer.fit(data.train, data.validation, epochs=epochs, progress=False)
    for epoch in history:
        rates = ", ".join(f"{rate:.1%}" for rate in epoch.rates)
        print(f"epoch {epoch.epoch:2}  validation {epoch.validation_accuracy:.1%}  firing rates {rates}")

    # How well did the feedback of the last layer find the transpose of the readout's weights?
    found, wanted = trainer.rule_state.matrices[-1], network.readout.synapse.weight.t()
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    print(f"cosine of B and the readout's transpose: {cosine:.2f}")
    print(f"test accuracy {trainer.evaluate(data.open_test()).accuracy:.2%}")

    # Curves, the spikes of one digit from input to last layer, and what is taken for what.
    x, target = next(data.validation.batches(len(data.validation)))
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    nf.plot.curves(history, axes[0])
    nf.plot.raster([x, *network.run(x).spikes], axes[1], names=("input", "layer 1", "layer 2"))
    nf.plot.confusion(target, trainer.predict(x), axes[2])
    Path("runs").mkdir(exist_ok=True)
    figure.savefig("runs/digits_fdfa.png", dpi=150)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
