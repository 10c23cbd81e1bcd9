"""Graphs written by the real snnTorch and Norse: their networks beside our reading, spike for spike."""

import nir
import norse.torch as norse
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.nir.graph import load, network_from_graph
from neurofdfa_hardware.nir.network import float_simulate
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware import graphs


def seeded(*layers: torch.nn.Module, gain: float = 2.0) -> torch.nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    net = torch.nn.Sequential(*layers)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) * gain / fan_in**0.5
        elif parameter.ndim == 1:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.02
    return net


def vector(value: float, *shape: int) -> torch.Tensor:
    # With scalar decays snnTorch's own export fails on nir's shape check.
    return torch.full(shape, value)


def leaky(*shape: int, output: bool = False) -> snn.Leaky:
    return snn.Leaky(
        beta=vector(0.8, *shape),
        threshold=vector(1.0, *shape),
        init_hidden=True,
        output=output,
        reset_mechanism="zero",
    )


def snn_nets():
    plain = seeded(
        torch.nn.Linear(20, 30),
        leaky(30),
        torch.nn.Linear(30, 5, bias=False),
        snn.Synaptic(
            alpha=vector(0.6, 5),
            beta=vector(0.9, 5),
            threshold=vector(1.0, 5),
            init_hidden=True,
            output=True,
            reset_mechanism="zero",
            reset_delay=False,
        ),
    )
    recurrent = seeded(
        torch.nn.Linear(20, 30),
        snn.RLeaky(
            beta=0.8,
            linear_features=30,
            init_hidden=True,
            output=True,
            reset_mechanism="zero",
            reset_delay=False,
        ),
        gain=1.0,
    )
    conv = seeded(
        torch.nn.Conv2d(1, 4, 3, padding=1, stride=2),
        leaky(4, 4, 4),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
        leaky(5, output=True),
    )
    return {"plain": (plain, (20,)), "recurrent": (recurrent, (20,)), "conv": (conv, (1, 8, 8))}


def snn_spikes(net: torch.nn.Sequential, spikes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    inputs = torch.from_numpy(spikes).float().reshape(*spikes.shape[:2], *shape)
    with torch.no_grad():
        return np.stack([net(x)[0].numpy() for x in inputs]).astype(np.uint8)


@pytest.mark.parametrize("kind", ["plain", "recurrent", "conv"])
def test_a_snntorch_export_spikes_as_snntorch_does_and_runs_on_the_integers(kind, rng):
    net, shape = snn_nets()[kind]
    graph = export_to_nir(net, torch.zeros(1, *shape), ignore_dims=[0])
    network = network_from_graph(graph, reset="hard", writer="snntorch")
    spikes = graphs.spikes(rng, 25, 16, int(np.prod(shape)), 0.3)
    theirs = snn_spikes(net, spikes, shape)
    record = float_simulate(network, spikes)
    assert theirs.mean() > 0.02
    assert np.mean(record.spikes[network.output] != theirs) < 1e-3  # float32 at the threshold
    program, report = quantize(network, 8, spikes)
    assert all(layer.spike_agreement > 0.97 for layer in report.layers)
    assert np.mean(simulate(program, spikes).spikes[network.output] == theirs) > 0.97


def norse_nets():
    box = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.3))
    lif = norse.LIFParameters(
        tau_syn_inv=torch.tensor(400.0), tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.3)
    )
    iaf = norse.IAFParameters(v_th=torch.tensor(1.5))
    li = norse.LIBoxParameters(tau_mem_inv=torch.tensor(100.0))
    return {
        "box": [torch.nn.Linear(20, 30), norse.LIFBoxCell(box), torch.nn.Linear(30, 5), norse.LIBoxCell(li)],
        "current": [
            torch.nn.Linear(20, 30, bias=False),
            norse.LIFCell(lif),
            torch.nn.Linear(30, 5, bias=False),
            norse.LIFCell(lif),
        ],
        "integrate": [
            torch.nn.Linear(20, 30),
            norse.IAFCell(iaf),
            torch.nn.Linear(30, 5),
            norse.LIBoxCell(li),
        ],
        "conv": [
            torch.nn.Conv2d(1, 3, 3),
            norse.LIFBoxCell(box),
            torch.nn.Conv2d(3, 4, 6),
            norse.LIFBoxCell(box._replace(v_th=torch.tensor(0.1))),
        ],
    }


@pytest.mark.parametrize("kind", ["box", "current", "integrate", "conv"])
def test_a_norse_export_spikes_as_norse_does(kind, rng, tmp_path):
    net = norse.SequentialState(*seeded(*norse_nets()[kind]))
    shape = (1, 8, 8) if kind == "conv" else (20,)
    graph = norse.to_nir(net, torch.zeros(1, *shape))
    network = network_from_graph(graph, writer="norse")
    spikes = graphs.spikes(rng, 30, 12, int(np.prod(shape)), 0.3)
    state, outputs = None, []
    with torch.no_grad():
        for x in torch.from_numpy(spikes).float():
            out, state = net(x.reshape(-1, *shape), state)
            outputs.append(out.flatten(1).numpy())
    theirs = np.stack(outputs)
    record = float_simulate(network, spikes)
    if network.layers[-1].spiking:
        assert theirs.mean() > 0.02
        assert np.mean(record.spikes[network.output] != theirs) < 1e-3
    else:
        assert record.spikes[network.layers[0].name].mean() > 0.02
        np.testing.assert_allclose(record.output_v, theirs, atol=1e-5)
    _, report = quantize(network, 8, spikes)
    assert all(layer.spike_agreement > 0.97 for layer in report.layers)
    if kind != "conv":  # Norse writes input_shape None there, which nir cannot store
        # nir compresses by default, which HDF5 refuses for the scalars that Norse writes
        nir.write(tmp_path / "norse.nir", graph, compression=None)
        again = float_simulate(load(tmp_path / "norse.nir", writer="norse"), spikes)
        assert np.array_equal(again.output_v, record.output_v)
