"""What graphs of other simulators hold beside hard resets and chains: read, quantised, run, or refused."""

from dataclasses import replace

import nir
import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.program import ALWAYS_ON
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaBackend, LavaJob
from neurofdfa_hardware.nir.graph import load, network_from_graph
from neurofdfa_hardware.nir.network import Network, float_simulate
from neurofdfa_hardware.quantization.parity import parity
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware.graphs import DT, chain, cuba, lif, spikes
from tests.hardware.lava.conftest import environment  # noqa: F401
from tests.hardware.lava.nets import first_difference


def one_layer(rng: np.random.Generator, node: nir.NIRNode, weight: nir.NIRNode | None = None) -> nir.NIRGraph:
    weight = weight or nir.Linear(rng.normal(0, 2 / 12**0.5, (9, 12)))
    return chain(12, ("w", weight), ("n", node), n_out=9)


def by_hand(weight, node: nir.LIF, x: np.ndarray, soft: bool = False, late: bool = False) -> np.ndarray:
    """One layer of LIF, a step at a time; late: snnTorch's way of subtracting."""
    share = DT / node.tau
    v, fired, rows = np.zeros((x.shape[1], 9)), np.zeros((x.shape[1], 9)), []
    for row in x.astype(float):
        v = (1 - share) * v + share * (node.r * (row @ weight.T) + node.v_leak)
        if late:
            v -= fired * node.v_threshold
        fired = (v > node.v_threshold).astype(float)
        if soft:
            v = v - fired * node.v_threshold
        elif not late:
            v = np.where(fired > 0, node.v_reset, v)
        rows.append(fired)
    return np.stack(rows).astype(np.uint8)


def reads_as(graph: nir.NIRGraph, expected: np.ndarray, x: np.ndarray, **said) -> Network:
    network = network_from_graph(graph, DT, **said)
    assert 0.02 < expected.mean() < 0.9
    assert np.array_equal(float_simulate(network, x).spikes["n"], expected)
    program, report = quantize(network, 8, x)
    assert all(layer.spike_agreement > 0.9 for layer in report.layers)
    assert parity(network, program, x).comparisons[1].agreement["n"] > 0.99
    return network


@pytest.mark.parametrize("late", [False, True])
def test_a_soft_reset_takes_the_threshold_off(rng, late):
    graph, x = one_layer(rng, lif(9)), spikes(rng, 30, 6, 12, 0.3)
    expected = by_hand(graph.nodes["w"].weight, graph.nodes["n"], x, soft=not late, late=late)
    hard = by_hand(graph.nodes["w"].weight, graph.nodes["n"], x)
    assert not np.array_equal(expected, hard)
    # snnTorch's exporter writes for its own step
    if late:
        graph.nodes["n"] = nir.LIF(
            **{k: getattr(graph.nodes["n"], k) for k in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
        )
    network = reads_as(graph, expected, x, reset="soft", writer="snntorch" if late else None)
    assert not network.layers[0].plain
    assert network.with_hard_resets().layers[0].plain


def test_a_reset_to_a_value(rng):
    node = replace(lif(9), v_reset=np.full(9, -0.4))
    graph, x = one_layer(rng, node), spikes(rng, 30, 6, 12, 0.3)
    reads_as(graph, by_hand(graph.nodes["w"].weight, node, x), x, reset="hard")


def test_a_node_says_its_own_reset(rng, tmp_path):
    node = replace(lif(9), metadata={"reset": "soft"})
    graph, x = one_layer(rng, node), spikes(rng, 30, 6, 12, 0.3)
    nir.write(tmp_path / "soft.nir", graph)
    network = load(tmp_path / "soft.nir", DT)
    expected = by_hand(graph.nodes["w"].weight, node, x, soft=True)
    assert np.array_equal(float_simulate(network, x).spikes["n"], expected)
    with pytest.raises(HardwareError, match=r"pass reset=.*node 'n'"):
        network_from_graph(one_layer(rng, lif(9)), DT)


def test_a_neuron_without_reset_and_one_that_rests(rng):
    x = spikes(rng, 30, 6, 12, 0.3)
    graph = one_layer(rng, replace(lif(9), metadata={"reset": "none"}))
    free = float_simulate(network_from_graph(graph, DT), x, states=True)
    assert np.array_equal(free.spikes["n"], free.v["n"] > 1)
    graph.nodes["n"] = replace(lif(9), metadata={"reset": "hard", "refractory": 3})
    fired = float_simulate(network_from_graph(graph, DT), x).spikes["n"]
    assert fired.any()
    assert not any((fired[:-k] & fired[k:]).any() for k in (1, 2, 3))
    assert (fired[:-4] & fired[4:]).any()


def test_a_bias_into_the_current_is_always_on(rng):
    weight = rng.normal(0, 1.5 / 12**0.5, (9, 12))
    bias = rng.normal(0, 0.1, 9)
    graph, x = one_layer(rng, cuba(9), nir.Affine(weight, bias)), spikes(rng, 30, 6, 12, 0.3)
    network = network_from_graph(graph, DT, "hard")
    np.testing.assert_allclose(network.layers[0].drive, bias)
    u, v, rows = np.zeros((6, 9)), np.zeros((6, 9)), []
    for row in x.astype(float):
        u = 0.7 * u + row @ weight.T + bias
        v = 0.8 * v + u
        rows.append(v > 1)
        v[v > 1] = 0
    record = float_simulate(network, x)
    assert np.array_equal(record.spikes["n"], np.stack(rows))
    program, report = quantize(network, 8, x)
    assert "n: bias" in [c.name for c in program.connections if c.source == ALWAYS_ON]
    assert report.layers[0].spike_agreement > 0.97
    assert parity(network, program, x).comparisons[1].agreement["n"] > 0.99


def test_one_node_with_two_targets_and_one_that_feeds_back_and_forward(rng):
    """Skip connections by a shared Linear; a recurrent Linear that the next layer hears, too."""
    n = 8
    shared, own = rng.normal(0, 0.8, (n, 12)), rng.normal(0, 0.4, (n, n))
    nodes = {
        "input": nir.Input(np.array([12])),
        "w": nir.Linear(shared),
        "a": lif(n),
        "r": nir.Linear(own),
        "b": lif(n),
        "output": nir.Output(np.array([n])),
    }
    edges = [("input", "w"), ("w", "a"), ("w", "b"), ("a", "r"), ("r", "a"), ("r", "b"), ("b", "output")]
    network = network_from_graph(nir.NIRGraph(nodes, edges), DT, "hard")
    assert len({edge.name for edge in network.edges}) == len(network.edges) == 4
    x = spikes(rng, 20, 4, 12, 0.3)
    record = float_simulate(network, x)
    va, vb, sa = np.zeros((4, n)), np.zeros((4, n)), np.zeros((4, n))
    for t, row in enumerate(x.astype(float)):
        va = 0.8 * va + row @ shared.T + sa @ own.T
        sa = (va > 1).astype(float)
        vb = 0.8 * vb + row @ shared.T + sa @ own.T
        sb = vb > 1
        va[sa > 0], vb[sb] = 0, 0
        assert np.array_equal(record.spikes["a"][t], sa)
        assert np.array_equal(record.spikes["b"][t], sb)
    program, report = quantize(network, 8, x)
    assert min(layer.spike_agreement for layer in report.layers) > 0.95
    assert simulate(program, x).spikes["b"].any()


def test_sub_graphs_whose_names_clash_keep_all_layers(rng):
    inner = chain(9, ("lif", lif(9)), n_out=9)
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([12])),
            "w": nir.Linear(rng.normal(0, 0.8, (9, 12))),
            "a": inner,
            "v": nir.Linear(np.eye(9)),
            "a.lif": lif(9),
            "output": nir.Output(np.array([9])),
        },
        [("input", "w"), ("w", "a"), ("a", "v"), ("v", "a.lif"), ("a.lif", "output")],
    )
    network = network_from_graph(graph, DT, "hard")
    assert [layer.name for layer in network.layers] == ["a.lif#2", "a.lif"]


def test_a_neuron_that_does_not_leak(rng):
    endless = nir.LIF(np.full(9, np.inf), np.full(9, np.inf), np.zeros(9), np.ones(9))
    graph = one_layer(rng, endless)
    network = network_from_graph(graph, 1e-4, "hard", writer="snntorch")
    layer = network.layers[0]
    assert np.all(layer.beta == 1)
    np.testing.assert_array_equal(network.edges[0].weight, graph.nodes["w"].weight)


def test_a_step_that_the_file_contradicts_is_refused(rng):
    graph = one_layer(rng, lif(9))
    with pytest.raises(HardwareError, match=r"written for a step of 0\.001 .* pass dt=0\.001"):
        network_from_graph(graph, reset="hard", writer="snntorch")
    with pytest.raises(HardwareError, match=r'reads as 5 s: .* writer="norse-1\.0"'):
        network_from_graph(graph, writer="norse")
    old = network_from_graph(graph, writer="norse-1.0")
    np.testing.assert_allclose(old.layers[0].beta, 0.8)
    late = network_from_graph(graph, 1e-8, "hard")
    assert "decay over 5e+05 steps" in late.notes[0]


def test_a_module_that_its_exporter_left_out_is_named(rng):
    graph = one_layer(rng, lif(9))
    graph.nodes["w"] = None  # what nirtorch leaves
    with pytest.raises(HardwareError, match=r"node 'w' is empty: .*interop\.nir_from_torch"):
        network_from_graph(graph, DT, "hard")


def test_numbers_mean_the_same_in_float_and_integers_or_are_refused(rng):
    """A count of 2 adds twice the weight everywhere."""
    graph = one_layer(rng, lif(9))
    network = network_from_graph(graph, DT, "hard")
    counts = rng.integers(0, 4, (25, 6, 12)).astype(np.uint8)
    program, report = quantize(network, 8, counts)
    assert all(c.graded for c in program.connections)
    assert report.layers[0].spike_agreement > 0.97
    binary, _ = quantize(network, 8, (counts > 0).astype(np.uint8))
    with pytest.raises(HardwareError, match="numbers up to 3"):
        simulate(binary, counts)
    with pytest.raises(HardwareError, match="numbers up to 3"):
        LavaBackend().compile(binary).run(counts)


def test_a_convolution_in_one_dimension(rng):
    weight, bias = rng.normal(0, 0.5, (4, 3, 5)), rng.normal(0, 0.1, 4)
    node = nir.Conv1d(16, weight, 2, 2, 1, 1, bias)
    tau = np.full((4, 8), 5 * DT)
    neurons = nir.LIF(tau, tau / DT, np.zeros((4, 8)), np.ones((4, 8)))
    graph = nir.NIRGraph(
        {
            "input": nir.Input(np.array([3, 16])),
            "w": node,
            "n": neurons,
            "output": nir.Output(np.array([4, 8])),
        },
        [("input", "w"), ("w", "n"), ("n", "output")],
    )
    torch = pytest.importorskip("torch")
    network = network_from_graph(graph, DT, "hard")
    x = spikes(rng, 1, 3, 48, 0.4)
    seen = float_simulate(network, x, states=True).u["n"][0] + network.layers[0].bias
    theirs = torch.nn.functional.conv1d(
        torch.tensor(x[0].reshape(3, 3, 16), dtype=torch.float64),
        torch.tensor(weight),
        torch.tensor(bias),
        2,
        2,
    )
    np.testing.assert_allclose(seen, theirs.flatten(1).numpy(), atol=1e-12)


@pytest.mark.serial
def test_lava_gives_the_same_spikes_and_membranes(environment: Environment, rng):  # noqa: F811
    """Soft, valued, pausing resets, drives and thresholds, quantised from graphs, in real Lava."""
    x = spikes(rng, 16, 5, 12, 0.3)
    affine = nir.Affine(rng.normal(0, 0.5, (9, 12)), rng.normal(0, 0.1, 9))
    graphs = [
        one_layer(rng, replace(lif(9), metadata={"reset": "soft"})),
        one_layer(rng, replace(lif(9), v_reset=np.full(9, -0.4), metadata={"reset": "hard"})),
        one_layer(rng, replace(cuba(9), metadata={"reset": "hard", "refractory": 2}), affine),
        one_layer(rng, nir.Threshold(np.full(9, 0.5))),
    ]
    programs = [quantize(network_from_graph(graph, DT), 8, x).program for graph in graphs]
    jobs = [LavaJob(p, x, mode, lanes=2, states=True) for p in programs for mode in ("stock", "lanes")]
    for job, run in zip(jobs, LavaBackend(environment).run_many(jobs), strict=True):
        assert first_difference(simulate(job.program, x, states=True), run.record) is None
        assert run.record.spikes["n"].any()
