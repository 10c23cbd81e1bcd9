"""Our graphs opened by the real snnTorch and Norse importers: the golden spikes come back."""

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from snntorch.import_nir import import_from_nir

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.importers import for_norse, for_snntorch
from neurofdfa_hardware.nir.network import float_simulate
from tests.hardware import graphs


def spiking_chain(rng: np.random.Generator, neuron) -> nir.NIRGraph:
    return graphs.chain(
        20,
        ("a", nir.Linear(rng.normal(0, 2 / 20**0.5, (30, 20)))),
        ("an", neuron(30)),
        ("b", nir.Linear(rng.normal(0, 2 / 30**0.5, (5, 30)))),
        ("bn", neuron(5)),
        n_out=5,
        metadata=graphs.said(),
    )


def golden(rng, graph) -> tuple[np.ndarray, np.ndarray]:
    spikes = graphs.spikes(rng, 25, 8, 20, 0.3)
    seen = float_simulate(network_from_graph(graph), spikes).spikes["bn"]
    assert seen.mean() > 0.02
    return spikes, seen


def run(net, spikes: np.ndarray) -> np.ndarray:
    state, rows = None, []
    with torch.no_grad():
        for x in torch.from_numpy(spikes).float():
            out, state = net(x, state)
            rows.append((out[0] if isinstance(out, tuple) else out).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("neuron", [graphs.lif, graphs.cuba])
def test_snntorch_gives_the_golden_spikes(neuron, rng):
    graph = spiking_chain(rng, neuron)
    spikes, seen = golden(rng, graph)
    assert np.array_equal(run(import_from_nir(for_snntorch(graph)), spikes), seen)


@pytest.mark.parametrize("neuron", [graphs.lif, graphs.cuba])
def test_norse_gives_the_golden_spikes(neuron, rng):
    graph = spiking_chain(rng, neuron)
    spikes, seen = golden(rng, graph)
    theirs, dt = for_norse(graph)
    assert np.array_equal(run(norse.from_nir(theirs, ignore_warnings=True, dt=dt), spikes), seen)


def test_without_our_settings_the_spikes_differ(rng):
    """The reason for this module: the importers' defaults read the same file differently."""
    graph = spiking_chain(rng, graphs.lif)
    spikes, seen = golden(rng, graph)
    assert not np.array_equal(run(import_from_nir(graph), spikes), seen)
    assert not np.array_equal(run(norse.from_nir(graph, ignore_warnings=True), spikes), seen)


def test_what_the_others_cannot_open_is_refused_by_name(rng):
    readout = graphs.two_layers(rng)
    for to in (for_snntorch, for_norse):
        with pytest.raises(HardwareError, match=r"'readout.neuron' is a LI.*readout that spikes"):
            to(readout)
    counter = graphs.chain(
        2, ("n", nir.IF(r=np.ones(2), v_threshold=np.ones(2))), n_out=2, metadata=graphs.said()
    )
    with pytest.raises(HardwareError, match="'n' is an IF"):
        for_snntorch(counter)
    bare = graphs.chain(2, ("n", graphs.lif(2)), n_out=2, metadata=graphs.said())
    with pytest.raises(HardwareError, match="put a Linear between"):
        for_norse(bare)
    bare.metadata = {}
    with pytest.raises(HardwareError, match="pass dt"):
        for_snntorch(bare)
