"""A network of snnTorch, trained by snnTorch and exported by snnTorch, runs on Intel Lava.

    python examples/snntorch_on_lava.py [epochs]     half a minute

What snnTorch 1.0 needs for it: a reset to zero (the chip has no other), decays and thresholds given as
vectors (its exporter fails on scalars), and `ignore_dims=[0]`, so that the batch is no part of the shapes.
Nothing of neurofdfa takes part but its digits.
"""

import sys

import numpy as np
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from snntorch.utils import reset
from torch import nn

import neurofdfa as nf
import neurofdfa_hardware as chip


def leaky(n: int, beta: float, output: bool = False) -> snn.Leaky:
    return snn.Leaky(
        beta=torch.full((n,), beta),
        threshold=torch.ones(n),
        reset_mechanism="zero",
        init_hidden=True,
        output=output,
        spike_grad=snn.surrogate.fast_sigmoid(slope=5),
    )


def run(net: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Output spikes `[T, B, 10]`."""
    reset(net)
    return torch.stack([net(x_t)[0] for x_t in x])


def main(epochs: int = 8) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chip.require()  # says how to get Lava before time goes into training
    data = nf.data.load("digits", steps=16, encoder="poisson", max_rate=1.0)

    # Train in snnTorch, by backpropagation through time on spike counts.
    net = nn.Sequential(nn.Linear(data.n_in, 100), leaky(100, 0.8), nn.Linear(100, 10), leaky(10, 0.9, True))
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(epochs):
        for x, target in data.train.batches(64, seed=epoch):
            loss = nn.functional.cross_entropy(run(net, x).sum(0), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    x, target = next(data.open_test().batches(256))
    with torch.no_grad():
        theirs = run(net, x).numpy().astype(np.uint8)
    labels = target.numpy()
    print(f"snnTorch: test accuracy {(theirs.sum(0).argmax(1) == labels).mean():.2%} of {len(labels)}")

    # snnTorch's own NIR graph, read with its habits in mind.
    reset(net)
    graph = export_to_nir(net, torch.zeros(1, data.n_in), ignore_dims=[0])
    network = chip.network_from_graph(graph, reset="hard", writer="snntorch")
    print(chip.mapping_table(network))
    spikes = x.numpy().astype(np.uint8)
    agree("snnTorch → the graph as read", theirs, chip.float_simulate(network, spikes).spikes[network.output])

    # To 8 bits with scales found on training inputs, then Lava.
    calibration, _ = next(data.train.batches(256))
    program = chip.quantize(network, 8, calibration.numpy().astype(np.uint8)).program
    record = chip.LavaBackend().compile(program).run(spikes)
    agree("snnTorch → Lava", theirs, record.spikes[network.output])
    agree(
        "integer reference → Lava",
        chip.simulate(program, spikes).spikes[network.output],
        record.spikes[network.output],
    )
    print(f"Lava: test accuracy {(chip.predict(program, record) == labels).mean():.2%}")


def agree(stages: str, before: np.ndarray, after: np.ndarray) -> None:
    same = (before == after).mean()
    counts = (before.sum(0).argmax(1) == after.sum(0).argmax(1)).mean()
    print(f"{stages}: {same:.3%} of {before.size} output spikes equal, {counts:.1%} of classes")


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except chip.LavaMissing as missing:
        sys.exit(str(missing))
