"""Random networks to convert, and what every population of them does, step by step."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.nn.integrator import I
from neurofdfa.nn.leaky_integrator import LI
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import SURROGATES

STEPS, BATCH = 40, 3


class Run(NamedTuple):
    """Output `[T, B, k]`, and of every spiking population spikes and membranes (after a hard reset)."""

    y: Tensor
    spikes: list[Tensor]
    membranes: list[Tensor]


def spike_train(n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(STEPS, BATCH, n, generator=generator) < 0.4).to(dtype)


def draw(seed: int, *, reset: str, gradient: str, recurrent: bool, filtered: bool, **fixed: Any) -> Network:
    """One to three layers of other widths, decays, thresholds and surrogates each; some with biases, every
    fourth with a decay per neuron.
    """
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    widths = [rng.randint(2, 9) for _ in range(rng.randint(2, 4))]

    def neuron() -> LIF:
        kind = fixed.get("surrogate") or rng.choice(list(SURROGATES))
        width, height = fixed.get("shape") or (rng.uniform(0.2, 1.5), rng.uniform(0.3, 1.5))
        return LIF(
            tau_mem=rng.uniform(1e-3, 2e-2),
            tau_syn=rng.uniform(1e-3, 1e-2) if filtered else 0.0,
            v_threshold=rng.uniform(0.5, 2.0),
            reset=reset,  # type: ignore[arg-type]
            reset_gradient=gradient,  # type: ignore[arg-type]
            decay_bits=fixed.get("bits", rng.choice([None, 12])),
            surrogate=SURROGATES[kind](width, height),
        )

    bias = fixed.get("bias", rng.random() < 0.5)
    mixed = fixed.get("mixed", seed % 4 == 3)

    chain: list[nn.Module] = []
    for a, b in pairwise(widths):
        lif = neuron()
        lif.wants_recurrent = recurrent
        if mixed:
            lif.spread(0.5, 0.5 * filtered, fixed.get("learn", False))
            lif.shape = (b,)
            lif.draw(generator)
        chain += [Linear(a, b, bias=bias), lif]
    kind = fixed.get("readout") or rng.choice(["integrator", "leaky", "spike-count"])
    outputs: nn.Module = I()
    if kind == "leaky":
        outputs = LI(-1e-3 / math.log(rng.uniform(0.5, 0.99)), decay_bits=None)
    last = neuron()
    chain += [Linear(widths[-1], 3, bias=bias), last if kind == "spike-count" else outputs]
    network = Network(*chain, initialise=False).double()
    network.initialise(generator, gain=2.5, recurrent_gain=1.0, readout_gain=2.5)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return network


def ours(network: Network, x: Tensor) -> Run:
    with torch.no_grad():
        rows = [
            [layer.after for layer in step.layers]
            + ([step.readout.population.after] if step.readout.population else [])
            for step in network.steps(x)
        ]
    neurons = [layer.neuron for layer in network.hidden]
    if network.readout.population is not None:
        neurons.append(network.readout.population.neuron)
    spikes = [torch.stack([row[index].s for row in rows]) for index in range(len(neurons))]
    membranes: list[Tensor] = []
    for index, lif in enumerate(neurons):
        u = torch.stack([row[index].u for row in rows])
        membranes.append(u * (1 - spikes[index]) if lif.reset == "hard" else u)
    return Run(network.run(x).y, spikes, membranes)


def alike(one: Run, other: Run, tolerance: float = 1e-9) -> None:
    """Spikes equal, outputs and membranes within the tolerance."""
    assert sum(float(s.sum()) for s in one.spikes) > 0
    for a, b in zip(one.spikes, other.spikes, strict=True):
        assert torch.equal(a, b.to(a.dtype))
    for a, b in zip([one.y, *one.membranes], [other.y, *other.membranes], strict=True):
        torch.testing.assert_close(a, b.to(a.dtype), rtol=tolerance, atol=tolerance)


def same_weights(one: Network, other: Network) -> None:
    """The same parameters under the same names, and neurons with the same decays."""
    theirs = dict(other.named_parameters())
    assert dict(one.named_parameters()).keys() == theirs.keys()
    for name, tensor in one.named_parameters():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-12, atol=1e-13)
    for a, b in zip(one.hidden, other.hidden, strict=True):
        for name in ("alpha", "beta", "v_threshold"):
            mine, theirs = (torch.as_tensor(getattr(x.dynamics, name), dtype=torch.float64) for x in (a, b))
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def trained(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]
