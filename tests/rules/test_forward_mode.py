"""By hand; the comparison with forward-mode AD is in oracles/test_forward_tangents.py."""

import math

import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.nn.surrogate import Triangular
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step

HALF = 1e-3 / math.log(2)


@torch.no_grad()
def test_two_layers_by_hand():
    """u₂ stays 0.5 below threshold, where a triangle of width 1 is ½."""
    lif = LIF(tau_mem=HALF, surrogate=Triangular(width=1.0), reset="soft", decay_bits=None)
    network = feed_forward(1, [1, 1], 1, neuron=lif, readout="leaky", tau_out=HALF).double()
    network.hidden[0].synapse.weight.fill_(2.0)
    network.hidden[1].synapse.weight.fill_(0.5)
    network.readout.synapse.weight.fill_(3.0)
    x = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1)
    first, second = network.steps(x)
    assert float(first.layers[1].after.u) == 0.5
    v = tuple(torch.full((1, 1), value, dtype=torch.float64) for value in (1.0, 10.0))
    tangent = tangent_step(network, first, v, initial_tangent(network, 1))
    # layer 2: u̇ = ½ · v₁, ṡ = ½ u̇ = ¼; readout hears ¼ + v₂
    assert float(tangent.layers[0].s) == 0.0
    assert float(tangent.layers[1].s) == 0.25
    assert float(tangent.readout.y) == 3 * 10.25
    # next step without probes: u̇ = ½ · ½, ψ(0.25 − 1) = ¼; y halves and adds
    none = tuple(torch.zeros(1, 1, dtype=torch.float64) for _ in v)
    tangent = tangent_step(network, second, none, tangent)
    assert float(second.layers[1].after.u) == 0.25
    assert float(tangent.layers[1].s) == 0.0625
    assert float(tangent.readout.drive) == 3 * 0.0625
    assert float(tangent.readout.y) == 0.5 * 3 * 10.25 + 3 * 0.0625


@torch.no_grad()
def test_tangents_of_no_probe_are_zero():
    network = feed_forward(
        5, [6, 4], 3, recurrent=True, readout="spike-count", neuron=LIF(reset="soft", decay_bits=None)
    )
    tangent = initial_tangent(network, 2)
    for step in network.steps(torch.ones(5, 2, 5)):
        tangent = tangent_step(network, step, (torch.zeros(2, 6), torch.zeros(2, 4)), tangent)
    assert not tangent.readout.y.any()
    assert not any(part.any() for layer in tangent.layers for part in layer)
