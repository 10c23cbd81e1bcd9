"""Reading NIR graphs: the equations, what is refused and how, metadata, golden vectors, recurrent wiring."""

from dataclasses import replace

import nir
import numpy as np
import pytest

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.golden import check_golden
from neurofdfa_hardware.nir.graph import computing_order, load, mapping_table, network_from_graph
from neurofdfa_hardware.nir.network import float_predict, float_simulate
from tests.hardware import graphs
from tests.hardware.graphs import DT, chain, cuba, integrator, leaky, lif, said


def euler(node: nir.NIRNode, currents: np.ndarray, dt: float, reset: bool) -> tuple[np.ndarray, np.ndarray]:
    """NIR's own equations by forward Euler, current first: `currents` `[T, n]` → membrane, spikes."""
    i, v = np.zeros(currents.shape[1]), np.zeros(currents.shape[1])
    membranes, fired = [], []
    for s in currents:
        if isinstance(node, nir.CubaLIF | nir.CubaLI):
            i = i + dt / node.tau_syn * (-i + node.w_in * s)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * i)
        elif isinstance(node, nir.IF | nir.I):
            v = v + dt * node.r * s
        else:
            v = v + dt / node.tau * (node.v_leak - v + node.r * s)
        z = v > node.v_threshold if reset else np.zeros(len(v), bool)
        v = np.where(z, 0.0, v)
        membranes.append(v)
        fired.append(z)
    return np.array(membranes), np.array(fired)


def values(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, n)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF", "LI", "CubaLI", "I"])
def test_every_neuron_node_follows_nirs_equation_under_euler(kind, rng):
    n = 5
    tau = {"tau": values(rng, n, 2, 20)}
    cuba_taus = {
        "tau_syn": values(rng, n, 1, 9),
        "tau_mem": values(rng, n, 2, 20),
        "w_in": values(rng, n, 1, 4),
    }
    r = {"r": values(rng, n, 1, 5)}
    leak = {"v_leak": values(rng, n, -0.2, 0.2)}
    fire = {"v_threshold": values(rng, n, 0.5, 1.5)}
    fields = {
        "LIF": tau | r | leak | fire,
        "CubaLIF": cuba_taus | r | leak | fire,
        "IF": r | fire,
        "LI": tau | r | leak,
        "CubaLI": cuba_taus | r | leak,
        "I": r,
    }[kind]
    node = getattr(nir, kind)(**fields)
    weight = rng.normal(0, 1, (n, 7))
    graph = chain(7, ("w", nir.Linear(weight)), ("n", node), n_out=n)
    network = network_from_graph(graph, dt=0.5, reset="hard")
    spikes = graphs.spikes(rng, 40, 1, 7, 0.5)
    record = float_simulate(network, spikes, states=True)
    membrane, fired = euler(node, spikes[:, 0] @ weight.T, 0.5, reset=kind in ("LIF", "CubaLIF", "IF"))
    np.testing.assert_allclose(record.v["n"][:, 0], membrane, rtol=1e-12, atol=1e-12)
    assert np.array_equal(record.spikes["n"][:, 0], fired)
    assert fired.any() == (kind in ("LIF", "CubaLIF", "IF"))


def test_our_time_constants_give_back_decays_and_weights_exactly(rng):
    weight = rng.normal(0, 1, (3, 2))
    graph = chain(
        2,
        ("layer1.weight", nir.Linear(weight)),
        ("layer1.neuron", cuba(3, alpha=0.7, beta=0.8)),
        ("readout.weight", nir.Linear(np.eye(3))),
        ("readout.neuron", leaky(3, kappa=0.9)),
        n_out=3,
        metadata=said(),
    )
    network = network_from_graph(graph)
    hidden, readout = network.layers
    np.testing.assert_allclose(hidden.alpha, 0.7, rtol=1e-12)
    np.testing.assert_allclose(hidden.beta, 0.8, rtol=1e-12)
    np.testing.assert_allclose(readout.beta, 0.9, rtol=1e-12)
    np.testing.assert_allclose(network.edges[0].weight, weight, rtol=1e-12)
    assert (network.output, network.decode, readout.spiking) == ("readout.neuron", "last", False)
    table = mapping_table(network)
    assert "1 − dt/tau_syn" in table
    assert "0.7" in table


def test_bias_of_an_affine_goes_to_the_membrane_with_the_gain(rng):
    bias = np.array([0.1, -0.3])
    node = nir.LIF(tau=np.full(2, 4.0), r=np.full(2, 2.0), v_leak=np.full(2, 0.5), v_threshold=np.ones(2))
    graph = chain(2, ("w", nir.Affine(np.eye(2), bias)), ("n", node), n_out=2)
    layer = network_from_graph(graph, dt=1.0, reset="hard").layers[0]
    np.testing.assert_allclose(layer.bias, 0.5 * 0.25 + bias * 2.0 * 0.25)


def test_a_recurrent_layer_hears_its_own_last_step(rng):
    graph = chain(4, ("l.w", nir.Linear(rng.normal(0, 1, (3, 4)))), ("l.n", lif(3, threshold=0.5)), n_out=3)
    graph.nodes["l.rec"] = nir.Linear(rng.normal(0, 1, (3, 3)))
    graph.edges += [("l.n", "l.rec"), ("l.rec", "l.n")]
    network = network_from_graph(graph, DT, "hard")
    assert [network.is_backward(edge) for edge in network.edges] == [False, True]
    spikes = graphs.spikes(rng, 15, 1, 4, 0.5)
    record = float_simulate(network, spikes, states=True)
    forward, back = (edge.weight for edge in network.edges)
    v, s = np.zeros(3), np.zeros(3)
    for t in range(15):
        v = 0.8 * v + forward @ spikes[t, 0] + back @ s
        s = (v > 0.5).astype(float)
        v = v * (1 - s)
        np.testing.assert_allclose(record.v["l.n"][t, 0], v, atol=1e-12)
    assert record.spikes["l.n"].any()


def test_sub_graphs_are_unfolded_and_paths_that_meet_are_added(rng):
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([3])),
            "lif": lif(3),
            "w_rec": nir.Linear(rng.normal(0, 1, (3, 3))),
            "output": nir.Output(np.array([3])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        type_check=False,
    )
    graph = chain(4, ("a", nir.Linear(rng.normal(0, 1, (3, 4)))), ("rnn", inner), n_out=3)
    graph.nodes["b"] = nir.Linear(rng.normal(0, 1, (3, 4)))
    graph.edges += [("input", "b"), ("b", "rnn")]
    network = network_from_graph(graph, DT, "hard")
    assert [layer.name for layer in network.layers] == ["rnn.lif"]
    assert sorted(edge.name for edge in network.edges) == ["a", "b", "rnn.w_rec"]
    record = float_simulate(network, np.ones((1, 1, 4), np.uint8), states=True)
    total = (graph.nodes["a"].weight + graph.nodes["b"].weight).sum(axis=1)
    np.testing.assert_allclose(record.u["rnn.lif"][0, 0], total)


def test_delays_before_and_behind_the_weights_are_added_per_synapse(rng):
    graph = chain(
        2,
        ("early", nir.Delay(np.array([0.0, 2 * DT]))),
        ("w", nir.Linear(np.array([[1.0, 10.0], [100.0, 1000.0]]))),
        ("late", nir.Delay(np.array([DT, 0.0]))),
        ("n", integrator(2)),
        n_out=2,
    )
    network = network_from_graph(graph, DT)
    assert network.edges[0].delay.tolist() == [[1, 3], [0, 2]]
    spikes = np.zeros((5, 1, 2), np.uint8)
    spikes[0] = 1
    arrived = np.diff(float_simulate(network, spikes).output_v[:, 0], axis=0, prepend=0)
    np.testing.assert_allclose(arrived, [[0, 100], [1, 0], [0, 1000], [10, 0], [0, 0]])


def test_computing_order_puts_sources_first_and_breaks_cycles_at_the_far_end():
    arcs = [("input", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("c", "c")]
    assert computing_order(["a", "b", "c"], arcs) == ["b", "c", "a"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_carries_its_own_reading_and_a_golden_vector(tmp_path, rng, nested):
    graph = graphs.two_layers(rng)
    network = network_from_graph(graph)
    record = float_simulate(network, golden := graphs.spikes(rng, 12, 5, 20))
    recorded = {
        "input": golden,
        "layer1.neuron": record.spikes["layer1.neuron"],
        "readout": record.output_v.astype(np.float32),
    }
    graph.metadata = (
        {"format": "neurofdfa-nir/1", "dt": DT, "reset": "hard", "decode": "mean", "golden": recorded}
        if nested
        else said(decode="mean") | {f"golden/{key}": value for key, value in recorded.items()}
    )
    nir.write(tmp_path / "net.nir", graph)
    again = load(tmp_path / "net.nir")
    assert (again.dt, again.decode) == (DT, "mean")
    check = check_golden(again)
    assert check.ok
    assert check.wrong == {"layer1.neuron": 0}
    assert check.spikes == 12 * 5 * 30
    assert check.readout_error < 1e-5
    assert np.array_equal(
        float_predict(again, float_simulate(again, golden)), record.output_v.mean(axis=0).argmax(axis=1)
    )


def test_a_golden_vector_catches_another_reading_and_says_where(rng):
    graph = graphs.two_layers(rng)
    right = network_from_graph(graph)
    golden = graphs.spikes(rng, 12, 5, 20)
    record = float_simulate(right, golden)
    graph.metadata |= {"golden/input": golden, "golden/layer1.neuron": record.spikes["layer1.neuron"]}
    assert check_golden(network_from_graph(graph)).ok
    check = check_golden(network_from_graph(graph, dt=DT / 2))
    assert not check.ok
    assert check.wrong["layer1.neuron"] > 0
    assert "layer 'layer1.neuron', sample" in check.first


def test_a_spike_that_float32_may_round_either_way_is_no_mismatch():
    graph = chain(1, ("w", nir.Linear(np.array([[1.00001]]))), ("n", lif(1)), n_out=1, metadata=said())
    graph.metadata |= {
        "golden/input": np.ones((1, 1, 1), np.uint8),
        "golden/n": np.zeros((1, 1, 1), np.uint8),
    }
    check = check_golden(network_from_graph(graph))
    assert check.ok
    assert check.wrong == {"n": 1}
    graph.nodes["w"].weight[:] = 1.01
    assert not check_golden(network_from_graph(graph)).ok


def test_no_golden_vector_is_said():
    network = replace(network_from_graph(chain(1, ("n", integrator(1)), n_out=1), DT), golden=None)
    with pytest.raises(HardwareError, match="no golden vector"):
        check_golden(network)


def bad_lif(**fields: object) -> nir.LIF:
    base = {"tau": np.full(2, 4 * DT), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2)}
    return nir.LIF(**(base | fields))


@pytest.mark.parametrize(
    ("nodes", "reset", "message"),
    [
        ([("n", bad_lif())], None, r"does not say how its neurons reset: pass reset"),
        ([("n", bad_lif(tau=np.full(2, DT / 2)))], "hard", r"tau of node 'n'.*shorter than dt.*pass dt ≤"),
        ([("n", bad_lif(tau=np.zeros(2)))], "hard", "time constants are positive"),
        ([("n", bad_lif(tau=np.full(2, np.nan)))], "hard", "tau of node 'n' holds NaN"),
        ([("n", bad_lif(v_threshold=-np.ones(2)))], "hard", "node 'n' has a threshold of -1"),
        ([("n", bad_lif()), ("w", nir.Linear(np.eye(2)))], "hard", r"ends in node 'w', a Linear.*nir\.LI"),
        (
            [("w", nir.Linear(np.full((2, 2), np.inf))), ("n", bad_lif())],
            "hard",
            "weight of node 'w' holds NaN or",
        ),
        ([("d", nir.Delay(np.full(2, 0.4 * DT))), ("n", bad_lif())], "hard", r"lasts 0\.4 steps"),
    ],
)
def test_what_does_not_map_is_refused_with_the_node_the_reason_and_a_way(nodes, reset, message):
    with pytest.raises(HardwareError, match=message):
        network_from_graph(chain(2, *nodes, n_out=2), DT, reset)


def test_v_leak_maps_on_the_bias_even_with_a_synaptic_time_constant():
    node = cuba(2)
    node.v_leak = np.full(2, 0.5)
    layer = network_from_graph(chain(2, ("n", node), n_out=2), DT, "hard").layers[0]
    np.testing.assert_allclose(layer.bias, 0.5 * 0.2)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "does not say its time step: pass dt"),
        (said(format="neurofdfa-nir/9"), "format 'neurofdfa-nir/9'"),
        (said(integrator="exact"), "integrator 'exact'"),
        (said(reset="medium"), "reset = 'medium'"),
        (said(dt="fast"), "dt = 'fast'"),
        (said(dt=0.0), r"dt is 0\.0"),
        ({"neurofdfa": "{"}, "not JSON"),
        (said() | {"golden/input": np.ones((2, 2, 2))}, "golden/input must be spikes uint8"),
        (
            said() | {"golden/input": np.ones((2, 1, 2), np.uint8), "golden/n": np.ones((3, 1, 2), np.uint8)},
            r"golden/n has shape \(3, 1, 2\)",
        ),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(metadata, message):
    with pytest.raises(HardwareError, match=message):
        network_from_graph(chain(2, ("n", lif(2)), n_out=2, metadata=metadata))
