"""Convolutional networks on the event engine, beside the reference and snnTorch's BPTT: CPU time, one thread.

The networks are that of examples/digits_conv.py and two of MNIST's size; inputs are random spikes, hidden
layers are scaled until 6 % of their neurons fire. All tasks of a network in shuffled rounds of one process;
medians, and quartiles of the ratios within a round.

    python benchmarks/convolution.py [rounds]
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa import events
from neurofdfa.bench.rounds import ratio, time_rounds
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.nn.synapse import Convolution, Synapse
from neurofdfa.rules import FDFA
from neurofdfa.train.trainer import Trainer


class Net(NamedTuple):
    """density: share of the inputs that spike in a step."""

    shape: tuple[int, int, int]
    hidden: list[dict[str, Any] | int]
    steps: int
    batch: int
    density: float


def conv(out_channels: int, kernel_size: int, **more: int) -> dict[str, Any]:
    """A convolution as `feed_forward` takes it."""
    return {"conv2d": {"out_channels": out_channels, "kernel_size": kernel_size, **more}}


POOL = {"sumpool2d": 2}
NETS = {
    "digits": Net((1, 8, 8), [conv(8, 3, padding=1), POOL, conv(16, 3)], 8, 64, 0.3),
    "strided": Net((1, 28, 28), [conv(16, 5, stride=2), conv(32, 3, stride=2), 128], 16, 64, 0.13),
    "pooled": Net((1, 28, 28), [conv(32, 3), POOL, conv(64, 3)], 16, 32, 0.13),
}
STILL = 1e-7
"""Learning rate of everybody: firing rates stay what they are."""


def heard(synapse: Synapse, x: Tensor, weight: Tensor) -> Tensor:
    """What torch's own modules compute."""
    if synapse.pool is not None:
        window = synapse.pool.window
        x = nn.functional.avg_pool2d(x.reshape(len(x), *synapse.pool.shape), window) * window**2
    if isinstance(synapse, Convolution):
        image = x.reshape(len(x), *synapse.shape)
        return nn.functional.conv2d(image, weight, None, synapse.stride, synapse.padding)
    return x.flatten(1) @ weight.t()


def snntorch_bptt(network: Network) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], None]]:
    """Inference and a training step of the same network in snnTorch."""
    import snntorch
    from snntorch import surrogate

    synapses = [*(layer.synapse for layer in network.hidden), network.readout.synapse]
    weights = [nn.Parameter(synapse.weight.detach().clone()) for synapse in synapses]
    neurons: list[Any] = [
        snntorch.Leaky(beta=layer.neuron.beta, threshold=layer.neuron.v_threshold,
                       spike_grad=surrogate.fast_sigmoid(slope=1 / layer.neuron.surrogate.width))
        for layer in network.hidden
    ]  # fmt: skip
    optimizer = torch.optim.Adam(weights, lr=STILL)

    def forward(x: Tensor) -> Tensor:
        membranes = [neuron.init_leaky() for neuron in neurons]
        y, outputs = torch.zeros(()), list[Tensor]()
        for x_t in x:
            s = x_t
            for k, neuron in enumerate(neurons):
                s, membranes[k] = neuron(heard(synapses[k], s, weights[k]), membranes[k])
            y = y + heard(synapses[-1], s, weights[-1])
            outputs.append(y)
        return torch.stack(outputs)

    def step(x: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(x).flatten(0, 1), target.repeat(len(x))).backward()
        optimizer.step()

    return torch.no_grad()(forward), step


def measure(name: str, net: Net, rounds: int) -> None:
    """Print milliseconds and ratios of one network."""
    g = torch.Generator().manual_seed(0)
    n = net.shape[0] * net.shape[1] * net.shape[2]
    x = (torch.rand(net.steps, net.batch, n, generator=g) < net.density).float()
    spikes, target = x.to(torch.uint8), torch.randint(0, 10, (net.batch,), generator=g)
    network = feed_forward(
        n, net.hidden, 10, shape=net.shape, generator=g, neuron=LIF(reset="soft", decay_bits=None)
    )
    scale_to_rate(network, x[:, :8], 0.06, rounds=7)
    run, bptt = snntorch_bptt(network)
    torch.testing.assert_close(run(x[:, :2]), network.run(x[:, :2]).y, rtol=1e-3, atol=1e-3)
    rule = FDFA(fraction=1 / 8)
    on_events = Trainer(
        network, rule, torch.optim.Adam(network.parameters(), lr=STILL), generator=g, engine="events"
    )
    reference = Trainer(
        network, rule, torch.optim.Adam(network.parameters(), lr=STILL), generator=g, engine="reference"
    )
    tasks = {
        "infer events": lambda: events.run(network, spikes, spikes=False, threads=1),
        "infer reference": lambda: network.run(x),
        "infer snntorch": lambda: run(x),
        "train events": lambda: on_events.step(spikes, target),
        "train reference": lambda: reference.step(x, target),
        "train snntorch": lambda: bptt(x, target),
    }
    seconds = time_rounds(tasks, rounds)
    neurons = [layer.n for layer in network.hidden]
    print(f"{name}: {net.hidden}, neurons {neurons}, T {net.steps}, batch {net.batch}")
    for task, found in seconds.items():
        gain = ratio(found, seconds[f"{task.split()[0]} events"])
        print(f"  {task:16} {1e3 * statistics.median(found):8.1f} ms   {gain.median:5.1f} "
              f"({gain.spread[0]:.1f}-{gain.spread[1]:.1f}) x events", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, net in NETS.items():
        measure(name, net, int(sys.argv[1]) if len(sys.argv) > 1 else 5)
