"""Graphs written by the real SpikingJelly: its networks beside our reading, spike for spike."""

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import neuron as jelly
from spikingjelly.activation_based.nir_exchange import export_to_nir

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.nir.graph import load, network_from_graph
from neurofdfa_hardware.nir.network import float_simulate
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware import graphs
from tests.hardware.test_exporters import seeded


def nets():
    return {
        "leaky": [
            torch.nn.Linear(20, 30),
            jelly.LIFNode(tau=3.0, v_threshold=0.3),
            torch.nn.Linear(30, 5, bias=False),
            jelly.LIFNode(tau=2.0, decay_input=False),
        ],
        "learnt decay": [
            torch.nn.Linear(20, 30),
            jelly.IFNode(v_threshold=2.0),
            torch.nn.Linear(30, 5),
            jelly.ParametricLIFNode(init_tau=2.5, v_threshold=0.3),
        ],
        "current": [
            torch.nn.Linear(20, 30, bias=False),
            jelly.CUBALIFNode(c_decay=0.6, v_decay=0.8, v_threshold=3.0),
            torch.nn.Linear(30, 5, bias=False),
            jelly.CUBALIFNode(c_decay=0.3, v_decay=0.9, v_threshold=3.0),
        ],
        "conv": [
            torch.nn.Conv2d(1, 4, 3, padding=1, stride=2),
            jelly.LIFNode(v_threshold=0.3),
            torch.nn.AvgPool2d(2),
            torch.nn.Conv2d(4, 3, 2),
            jelly.LIFNode(v_threshold=0.1),
            torch.nn.Flatten(),
            torch.nn.Linear(3, 5),
            jelly.IFNode(v_threshold=0.5),
        ],
    }


@pytest.mark.parametrize("kind", ["leaky", "learnt decay", "current", "conv"])
def test_an_export_spikes_as_spikingjelly_does_and_runs_on_the_integers(kind, rng, tmp_path):
    net, shape = seeded(*nets()[kind]), ((1, 8, 8) if kind == "conv" else (20,))
    nir.write(tmp_path / "jelly.nir", export_to_nir(net, torch.zeros(1, *shape)))
    network = load(tmp_path / "jelly.nir", writer="spikingjelly")
    assert [isinstance(edge.weight, Kernel) for edge in network.edges] == [kind == "conv"] * 2 + [False] * (
        kind == "conv"
    )
    spikes = graphs.spikes(rng, 25, 16, int(np.prod(shape)), 0.3)
    functional.reset_net(net)
    with torch.no_grad():
        images = torch.from_numpy(spikes).float().reshape(25, 16, *shape)
        theirs = np.stack([net(image).numpy() for image in images]).astype(np.uint8)
    assert 0.02 < theirs.mean() < 0.98
    record = float_simulate(network, spikes)
    assert np.mean(record.spikes[network.output] != theirs) < 1e-3  # float32 at the threshold
    program, report = quantize(network, 8, spikes)
    assert all(layer.spike_agreement > 0.96 for layer in report.layers)
    assert np.mean(simulate(program, spikes).spikes[network.output] == theirs) > 0.96


def test_a_reset_to_another_value_is_a_shift(rng):
    """SpikingJelly's membranes start and rest at v_reset, so Loihi's reset to 0 says the same."""
    net = seeded(torch.nn.Linear(20, 30), jelly.LIFNode(tau=3.0, v_threshold=0.4, v_reset=-0.2))
    network = network_from_graph(export_to_nir(net, torch.zeros(1, 20)), writer="spikingjelly")
    assert all(layer.plain for layer in network.layers)
    spikes = graphs.spikes(rng, 25, 8, 20, 0.3)
    functional.reset_net(net)
    with torch.no_grad():
        theirs = np.stack([net(x).numpy() for x in torch.from_numpy(spikes).float()]).astype(np.uint8)
    assert 0.02 < theirs.mean() < 0.98
    assert np.mean(float_simulate(network, spikes).spikes[network.output] != theirs) < 1e-3
