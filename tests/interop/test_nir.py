"""NIR out: valid graphs whose discrete reading is this network, golden vector included."""

from pathlib import Path

import nir
import numpy as np
import pytest
import torch

import neurofdfa as nf
from neurofdfa.errors import UserError
from neurofdfa.interop.nir import export_nir, to_nir
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.nir.golden import check_golden
from neurofdfa_hardware.nir.graph import load
from neurofdfa_hardware.nir.network import float_simulate
from neurofdfa_hardware.quantization.quantize import quantize
from tests.layers import conv_layer, delay_layer, pool_layer


def spikes(seed: int = 0, steps: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, 5, 12, generator=generator) < 0.3).double()


CONVOLUTIONS = {
    "a pool between": ([conv_layer(6, 3), pool_layer(2), conv_layer(4, 3, padding=1), 12], {}, 2),
    "pools at both ends, recurrent": (
        [pool_layer(2), conv_layer(4, 3, padding=1), pool_layer(2)],
        {"recurrent": True},
        2,
    ),
    "no square": ([conv_layer(6, (2, 3), stride=2), pool_layer(1), conv_layer(4, (2, 3))], {"bias": True}, 2),
    "delays": (
        [
            delay_layer(1),
            pool_layer(2),
            conv_layer(4, 3, padding=1),
            delay_layer(0, 3),
            pool_layer(2),
            9,
            delay_layer(2),
        ],
        {},
        1,
    ),
    "a pool before a dense layer": ([pool_layer(4), 5], {"bias": True}, 0),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_pools_keep_their_dynamics(tmp_path: Path, name: str) -> None:
    hidden, settings, kernels = CONVOLUTIONS[name]
    lif = LIF(reset="hard", decay_bits=12)
    net = feed_forward(64, hidden, 3, shape=(1, 8, 8), neuron=lif, **settings).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(12, 4, 64, generator=generator) < 0.4).double()
    scale_to_rate(net, x, 0.1)
    if settings.get("bias"):
        with torch.no_grad():
            for layer in net.hidden:
                layer.synapse.bias.uniform_(-0.1, 0.1, generator=generator)  # type: ignore[union-attr]
    export_nir(net, tmp_path / "net.nir", x)
    read = load(tmp_path / "net.nir")
    check = check_golden(read)
    assert check.ok, check
    assert check.spikes > 0
    assert [layer.size for layer in read.layers] == [*(layer.n for layer in net.hidden), 3]
    assert sum(isinstance(edge.weight, Kernel) for edge in read.edges) == kernels  # for Lava's own Conv
    kinds = {type(node) for node in nir.read(tmp_path / "net.nir", type_check=False).nodes.values()}
    assert nir.SumPool2d in kinds
    assert (nir.Delay in kinds) == (name == "delays")
    assert (nir.Conv2d in kinds) == any("conv" in str(entry) for entry in hidden)


def network(readout: str, tau_syn: float, bias: bool = False, recurrent: bool = False) -> Network:
    neuron = LIF(tau_mem=6e-3, tau_syn=tau_syn, reset="hard", decay_bits=12)
    net = feed_forward(
        12, [16, 9], 4, neuron=neuron, readout=readout, bias=bias, recurrent=recurrent,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(3),
    ).double()  # fmt: skip
    scale_to_rate(net, spikes(), 0.2)
    if bias:
        with torch.no_grad():
            for layer in net.hidden:
                layer.synapse.bias.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    return net


@pytest.mark.parametrize(
    ("readout", "tau_syn", "bias", "recurrent"),
    [
        ("integrator", 0.0, False, False),
        ("leaky", 4e-3, False, False),
        ("spike-count", 0.0, True, False),
        ("spike-count", 4e-3, False, True),
    ],
)
def test_the_file_holds_the_same_dynamics(
    tmp_path: Path, readout: str, tau_syn: float, bias: bool, recurrent: bool
) -> None:
    net = network(readout, tau_syn, bias, recurrent)
    x = spikes()
    export_nir(net, tmp_path / "net.nir", x)
    read = load(tmp_path / "net.nir")
    check = check_golden(read)
    assert check.ok, check
    assert check.spikes > 0
    seen, theirs = net.run(spikes(1)), float_simulate(read, spikes(1).numpy().astype(np.uint8))
    for index, ours in enumerate(seen.spikes, 1):
        assert ours.sum() > 0
        np.testing.assert_array_equal(ours.numpy(), theirs.spikes[f"layer{index}.neuron"])


def test_the_graph_is_valid_for_everybody(tmp_path: Path) -> None:
    nir.write(tmp_path / "g.nir", to_nir(network("leaky", 4e-3)))
    graph = nir.read(tmp_path / "g.nir")
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    assert kinds["layer1.weight"] == "Linear"
    assert kinds["layer1.neuron"] == "CubaLIF"
    assert kinds["readout.neuron"] == "LI"
    assert graph.metadata["dt"] == 1e-3


def test_a_golden_input_must_be_spikes() -> None:
    with pytest.raises(UserError, match="golden input must be spikes"):
        to_nir(network("leaky", 0.0), torch.full((4, 1, 12), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("tau_syn", [0.0, 4e-3])
def test_time_constants_per_neuron_are_in_the_file(tmp_path: Path, tau_syn: float) -> None:
    """And read back by the deploying side, which runs them as they were trained."""
    lif = LIF(tau_mem=6e-3, tau_syn=tau_syn, reset="hard", decay_bits=12)
    spread = {"tau_mem_spread": 0.5, "tau_syn_spread": 0.4 if tau_syn else 0.0, "learn_tau": True}
    net = feed_forward(12, [16], 4, neuron=lif, readout="leaky", **spread).double()  # type: ignore[arg-type]
    scale_to_rate(net, spikes(), 0.2)
    export_nir(net, tmp_path / "net.nir", spikes())
    check = check_golden(load(tmp_path / "net.nir"))
    assert check.ok, check
    assert check.spikes > 0
    node = nir.read(tmp_path / "net.nir").nodes["layer1.neuron"]
    tau = node.tau_mem if tau_syn else node.tau
    assert len(np.unique(tau)) > 8


def test_adaptive_thresholds_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="layer1 has adaptive thresholds, which neither NIR nor Lava"):
        to_nir(feed_forward(3, [4], 2, neuron=LIF(reset="hard", adaptation=0.1, decay_bits=None)))


POOLS = {
    "averages": [nf.AvgPool2d(2)],
    "averages of averages": [nf.AvgPool2d(2), nf.AvgPool2d(2)],
    "averages of sums": [nf.SumPool2d(2), nf.AvgPool2d(2)],
    "sums of averages": [nf.AvgPool2d(2), nf.SumPool2d(2)],
}


@pytest.mark.parametrize("name", POOLS)
def test_averages_keep_their_factor(tmp_path: Path, name: str) -> None:
    weights = nf.Conv2d(1, 3, 2, bias=True) if len(POOLS[name]) == 1 else nf.Linear(4, 6, bias=True)
    flat = [] if isinstance(weights, nf.Conv2d) else [nf.Flatten()]
    last = [nf.Flatten(), nf.Linear(27, 2)] if isinstance(weights, nf.Conv2d) else [nf.Linear(6, 2)]
    net = nf.Network(*POOLS[name], *flat, weights, nf.LIF(), *last, nf.LI(), input_shape=(1, 8, 8)).double()
    x = (torch.rand(12, 4, 64, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    scale_to_rate(net, x, 0.05)
    export_nir(net, tmp_path / "net.nir", x)
    read = load(tmp_path / "net.nir")
    check = check_golden(read)
    assert check.ok, check
    assert check.spikes > 0
    theirs = float_simulate(read, x.numpy().astype(np.uint8))
    np.testing.assert_array_equal(net.run(x).spikes[0].numpy(), theirs.spikes["layer1.neuron"])
    kinds = {type(node) for node in nir.read(tmp_path / "net.nir", type_check=False).nodes.values()}
    assert (nir.AvgPool2d in kinds) == (name in ("averages", "averages of averages"))


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_integrate_and_fire_is_nirs_if_and_runs_in_fixed_point(tmp_path: Path, reset: str) -> None:
    outputs = nf.IF(reset=reset)  # type: ignore[arg-type]
    net = nf.Network(nf.Linear(12, 16), nf.IF(reset=reset), nf.Linear(16, 4), outputs).double()
    scale_to_rate(net, spikes(), 0.2)
    export_nir(net, tmp_path / "net.nir", spikes())
    graph = nir.read(tmp_path / "net.nir")
    assert {type(graph.nodes[f"{name}.neuron"]) for name in ("layer1", "readout")} == {nir.IF}
    read = load(tmp_path / "net.nir")
    check = check_golden(read)
    assert check.ok, check
    x = spikes(1).numpy().astype(np.uint8)
    ours = net.run(spikes(1))
    np.testing.assert_array_equal(ours.spikes[0].numpy(), float_simulate(read, x).spikes["layer1.neuron"])
    assert ours.readout_spikes is not None
    chip = simulate(quantize(read, 8, x).program, x).spikes
    agreed = (chip["layer1.neuron"] == ours.spikes[0].numpy()).mean()
    assert ours.spikes[0].any()
    assert agreed > 0.9  # weights of 8 bits are not the weights


def test_a_membrane_without_leak_behind_a_filter_is_refused() -> None:
    net = nf.Network(nf.Linear(3, 4), nf.IF(tau_syn=5e-3), nf.Linear(4, 2), nf.I())
    with pytest.raises(UserError, match="layer1 has membranes without a leak, which NIR has as IF"):
        to_nir(net)
