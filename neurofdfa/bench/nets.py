"""The networks that are measured, and the least work that a training step of them takes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate


class Net(NamedTuple):
    """Inputs, hidden layers, outputs, steps, and the share of active inputs."""

    n_in: int
    hidden: tuple[int, ...]
    n_out: int
    steps: int
    density: float


NETS = {
    "A": Net(700, (256, 256), 20, 100, 0.05),
    "B": Net(784, (512, 512), 10, 25, 0.13),
    "C": Net(700, (1024, 1024), 20, 100, 0.05),
}
RATE = 0.07
"""Spikes per step and hidden neuron that every network is scaled to."""


def net_named(name: str) -> Net:
    """Raises `UserError` for a name that is not in `NETS`."""
    if name not in NETS:
        raise UserError(f"unknown network '{name}': choose from {', '.join(NETS)}")
    return NETS[name]


def prepare(net: Net, batch: int, seed: int = 0) -> tuple[Network, Tensor, Tensor]:
    """Network, spikes `[T, B, n_in]` as float32 and labels `[B]`."""
    generator = torch.Generator().manual_seed(seed)
    network = feed_forward(
        net.n_in,
        net.hidden,
        net.n_out,
        neuron=LIF(tau_mem=5e-3, reset="soft", decay_bits=None),
        generator=generator,
    )
    x = (torch.rand(net.steps, batch, net.n_in, generator=generator) < net.density).float()
    target = torch.randint(0, net.n_out, (batch,), generator=generator)
    probe = (torch.rand(min(net.steps, 100), 8, net.n_in, generator=generator) < net.density).float()
    scale_to_rate(network, probe, RATE, rounds=10)
    return network, x, target


class Work(NamedTuple):
    """Thousands of multiply-adds per sample and step. dense, back_events: of a step that goes back through
    time with dense products or on events; online_events: of ours.
    """

    dense: float
    back_events: float
    online_events: float


def least_work(net: Net, rates: Sequence[float], fraction: float) -> Work:
    """What no implementation can go below. rates: spikes per step of the hidden layers; fraction: of probes.

    Events: one multiply-add per spike and synapse forward, one for the gradient. Back through time
    errors are multiplied through every layer but the first (dense); an online step multiplies the broadcast
    error by each feedback, and tangents through every layer but the first for `fraction` of the samples.
    """
    widths = [net.n_in, *net.hidden, net.n_out]
    active = [net.n_in * net.density, *(n * r for n, r in zip(net.hidden, rates, strict=True))]
    spikes = sum(a * n for a, n in zip(active, widths[1:], strict=True))
    back = sum(a * b for a, b in pairwise(widths[1:]))
    dense = sum(a * b for a, b in pairwise(widths))
    signals = sum(net.hidden) * net.n_out
    return Work(
        (2 * dense + back) / 1e3,
        (2 * spikes + back) / 1e3,
        (2 * spikes + signals + fraction * (back + signals)) / 1e3,
    )


def dense_products(net: Net, batch: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Operands of the products of a step back through time: inputs, weights and errors of every layer."""
    rows = net.steps * batch
    return [
        (torch.rand(rows, a), torch.rand(a, b), torch.rand(rows, b))
        for a, b in pairwise([net.n_in, *net.hidden, net.n_out])
    ]


def multiply(operands: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Nothing but the dense products of a step back through time: forward, weight gradients, errors below."""
    for index, (x, w, d) in enumerate(operands):
        _ = x @ w
        _ = x.t() @ d
        if index:
            _ = d @ w.t()
