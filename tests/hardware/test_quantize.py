"""Quantising: each number by hand, methods against each other, headroom, refusals, the report's counts."""

import itertools
from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofdfa_hardware.chip.fixed_point import predict, simulate, truncate
from neurofdfa_hardware.chip.program import Population, Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import Edge, Layer, Network, float_predict, float_simulate
from neurofdfa_hardware.quantization.calibrate import (
    max_step,
    mse_step,
    percentile_step,
    round_weights,
    weight_range,
)
from neurofdfa_hardware.quantization.quantize import quantize
from neurofdfa_hardware.quantization.report import overflows
from tests.hardware import graphs
from tests.hardware.graphs import chain, integrator, lif, said


def layer(name: str = "n", size: int = 1, **fields: object) -> Layer:
    defaults = {"alpha": 0.0, "beta": 0.8, "threshold": 1.0, "bias": 0.0}
    values = {
        key: np.broadcast_to(fields.pop(key, value), size).astype(float) for key, value in defaults.items()
    }
    return Layer(name, size, **values, **fields)  # type: ignore[arg-type]


def single(weight: list[list[float]], decode: str = "count", **fields: object) -> Network:
    matrix = np.array(weight)
    return Network(
        matrix.shape[1],
        (layer(size=len(matrix), **fields),),
        (Edge("w", "input", "n", matrix),),
        "n",
        decode,  # type: ignore[arg-type]
    )


def ones(steps: int, n: int) -> np.ndarray:
    return np.ones((steps, 1, n), np.uint8)


def chip_weight(program: Program, name: str) -> np.ndarray:
    """Integer sums that one spike of each source gives, all connections of that name together."""
    parts = [c for c in program.connections if c.name.removesuffix("/+").removesuffix("/-") == name]
    assert parts
    return sum(truncate(c.weight, c.num_weight_bits, c.sign_mode) * 2.0**c.weight_exp for c in parts)


def test_every_number_of_a_layer_by_hand():
    network = single([[0.5, -0.25]], alpha=0.7, beta=0.8, bias=0.01)
    program, report = quantize(network, 8, ones(4, 2), method="max")
    population = program.populations[0]
    found = report.layers[0]
    assert found.step == 0.5 / 127
    # du = round(4096·0.3) − 1, dv = round(4096·0.2)
    assert (int(population.du), int(population.dv)) == (1229 - 1, 819)
    # W/step = 127 and −63.5, which rounds to even; worth 2^shift each on the chip
    unit = 2**found.shift
    assert chip_weight(program, "w").tolist() == [[127 * unit, -64 * unit]]
    # threshold 1/step = 254 steps
    assert int(population.vth) == 254 * unit
    mant = 0.01 * 254 * unit * 64
    exp = max(0, int(np.ceil(np.log2(mant / 4095))))
    assert int(population.bias_exp) == exp
    assert int(population.bias_mant) == round(mant / 2**exp)
    # the shift is the largest: one more would lose the two bits of room over what was seen, or the threshold
    record = float_simulate(network, ones(4, 2), states=True)
    reach = max(np.abs(record.u["n"]).max(), np.abs(record.v["n"]).max(), 1.0) * 254 * 64
    assert reach * unit * 2 < 2**23


@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_are_exactly_the_rounded_ones_at_every_width(bits, rng):
    weight = rng.normal(0, 1, (6, 9))
    network = single(weight.tolist(), alpha=0.5)
    for method in ("max", "percentile", "mse", "spikes"):
        program, report = quantize(network, bits, graphs.spikes(rng, 6, 4, 9), method=method, percentile=90.0)
        low, high = weight_range(bits)
        expected = np.clip(np.rint(weight / report.layers[0].step), low, high)
        assert np.array_equal(chip_weight(program, "w"), expected * 2.0 ** report.layers[0].shift)
        assert all(c.num_weight_bits == bits for c in program.connections)


def test_the_error_of_the_weights_shrinks_with_bits_and_with_the_method(rng):
    weight = rng.standard_t(3, (20, 40))
    network = single(weight.tolist())
    spikes = graphs.spikes(rng, 5, 8, 40)
    by_bits = [
        quantize(network, bits, spikes, method="mse").report.layers[0].weight_error for bits in range(1, 9)
    ]
    assert all(a > b for a, b in itertools.pairwise(by_bits))
    for bits in (2, 3, 4):
        errors = {
            method: quantize(network, bits, spikes, method=method).report.layers[0].weight_error
            for method in ("max", "percentile", "mse")
        }
        assert errors["mse"] < min(errors["max"], errors["percentile"])


def test_steps_by_hand():
    weight = np.array([[0.0, 1.0, -2.0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(max_step(weight, 3, per_channel=False), [2 / 3, 2 / 3])
    np.testing.assert_allclose(max_step(weight, 3, per_channel=True), [2 / 3, 0.5 / 3])
    np.testing.assert_allclose(percentile_step(weight, 8, False, 50.0), [0.5 / 127] * 2)
    # one outlier among equal weights: least squares gives it up only when there are enough of the others
    lone = np.array([[1.0] * 200 + [3.0]])
    assert mse_step(lone, 2, False)[0] < max_step(lone, 2, False)[0] / 2
    assert np.all(max_step(np.zeros((2, 2)), 8, True) == 1 / 127)


def test_spike_aware_scale_is_at_least_as_true_to_the_spikes_as_the_others(rng):
    network = network_from_graph(graphs.two_layers(rng))
    spikes = graphs.spikes(rng, 15, 40, 20)
    for bits in (2, 3, 4):
        agreement = {
            method: quantize(network, bits, spikes, method=method).report.layers[0].spike_agreement
            for method in ("max", "mse", "spikes")
        }
        assert agreement["spikes"] >= max(agreement["max"], agreement["mse"])


def test_per_channel_steps_give_every_neuron_its_own_threshold(rng):
    weight = rng.normal(0, 1, (8, 20)) * np.geomspace(0.05, 1, 8)[:, None]
    network = single(weight.tolist(), threshold=np.geomspace(0.05, 1, 8))
    spikes = graphs.spikes(rng, 10, 20, 20)
    whole = quantize(network, 4, spikes, method="max")
    channel = quantize(network, 4, spikes, method="max", per_channel=True)
    assert channel.program.populations[0].vth.shape == (8,)
    assert channel.report.layers[0].weight_error < whole.report.layers[0].weight_error
    assert channel.report.layers[0].spike_agreement > whole.report.layers[0].spike_agreement
    readout = network_from_graph(
        chain(20, ("w", nir.Linear(weight)), ("n", integrator(8)), n_out=8), graphs.DT
    )
    report = quantize(readout, 4, spikes, method="max", per_channel=True).report
    assert report.layers[0].step == np.abs(weight).max() / 7  # neurons that are compared share one step


def test_stochastic_rounding_is_right_on_average_and_repeatable():
    weight, step = np.full((1, 20000), 0.3), np.ones(1)
    rounded = round_weights(weight, step, 8, "stochastic", np.random.default_rng(1))
    assert set(np.unique(rounded)) == {0, 1}
    assert abs(rounded.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20000)
    network = single([[0.3, -0.7, 0.5]])
    runs = [
        quantize(network, 3, ones(3, 3), method="mse", rounding="stochastic", rng=np.random.default_rng(7))
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].program.connections[0].weight, runs[1].program.connections[0].weight)


@settings(max_examples=30)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_nothing_wraps_or_clips_on_the_calibration_inputs(gain, threshold, bits, seed):
    rng = np.random.default_rng(seed)
    graph = graphs.two_layers(rng)
    graph.nodes["layer1.weight"].weight *= gain
    graph.nodes["layer1.neuron"].v_threshold[:] = threshold
    graph.nodes["readout.weight"].weight *= threshold
    network = network_from_graph(graph)
    spikes = graphs.spikes(rng, 10, 6, 20)
    if threshold / gain > 300:
        return  # weights may be too fine beside the threshold: refused, as another test shows
    program, report = quantize(network, bits, spikes, method="mse")
    assert all((one.wraps, one.saturations) == (0, 0) for one in report.layers)
    assert np.abs(simulate(program, spikes).output_v).max() < 2**23 - 64


def test_a_long_integrator_gives_up_low_bits_and_then_is_refused():
    calm = single([[1.0], [-0.5]], decode="last", beta=1.0, spiking=False)
    few = quantize(calm, 8, ones(10, 1), method="max")
    many = quantize(calm, 8, ones(2000, 1), method="max")
    assert many.report.layers[0].shift < 0 < few.report.layers[0].shift
    assert (many.report.layers[0].saturations, many.report.same_prediction) == (0, 1.0)
    with pytest.raises(HardwareError, match=r"layer 'n': its membrane reaches .* more than 24 bits"):
        quantize(calm, 8, ones(13000, 1), steps={"n": 0.1 / 127})


def test_the_search_passes_over_steps_too_fine_for_the_chip():
    driven = single([[1.0], [-0.5]], decode="last", beta=1.0, bias=10.0, spiking=False)
    long = ones(2500, 1)
    with pytest.raises(HardwareError, match="24 bits"):
        quantize(driven, 8, long, steps={"n": 0.1 / 127})
    assert quantize(driven, 8, long).report.layers[0].saturations == 0


def test_overflow_counts_are_those_of_the_dynamics():
    def neuron(**fields: int) -> Population:
        base = {"du": 0, "dv": 0, "vth": 131071, "bias_mant": 0, "bias_exp": 0} | fields
        return Population("n", 1, **{k: np.asarray(v) for k, v in base.items()}, spiking=False)

    program = quantize(single([[1.0]], decode="last", spiking=False), 8, ones(2, 1)).program
    loud = replace(program.connections[0], weight=np.array([[254]]), weight_exp=6)
    # 1040384 per step with hardly any decay: v passes 2^23 at steps 4 to 8; at the ninth u wraps, which pulls
    # v back by half
    program = replace(program, populations=(neuron(),), connections=(loud,))
    record = simulate(program, ones(9, 1), states=True)
    assert overflows(program, record, ones(9, 1)) == {"n": (1, 5)}


def test_dead_and_always_on_neurons_are_counted_and_warned_about():
    network = single([[2.0], [-1.0], [0.6]])
    report = quantize(network, 8, ones(6, 1)).report
    assert (report.layers[0].always_on, report.layers[0].dead) == (1, 1)
    assert report.warnings() == (
        "n: 1 neurons never fire on the calibration inputs",
        "n: 1 neurons fire at every step on the calibration inputs",
    )


def test_report_says_what_each_parameter_became():
    network = single([[0.5]], alpha=0.9, beta=0.95, bias=0.003)
    rows = {row.parameter: row for row in quantize(network, 8, ones(3, 1)).report.layers[0].roundings}
    assert rows["alpha"].chip == 1 - 410 / 4096
    assert abs(rows["beta"].error) <= 0.5 / 4096
    assert abs(rows["threshold"].error) < 1e-3
    assert abs(rows["bias"].error) < 1e-5
    assert set(rows) == {"weight w", "alpha", "beta", "threshold", "bias"}


def test_recurrent_and_skipping_edges_are_heard_when_the_network_hears_them(rng):
    layers = (
        layer("a", 6, threshold=0.5),
        layer("b", 5, threshold=0.5),
        layer("c", 3, spiking=False, beta=0.9),
    )
    edges = (
        Edge("in", "input", "a", rng.normal(0, 1, (6, 8))),
        Edge("loop", "a", "a", rng.normal(0, 0.5, (6, 6))),
        Edge("ab", "a", "b", rng.normal(0, 1, (5, 6)), delay=np.asarray(2)),
        Edge("bc", "b", "c", rng.normal(0, 1, (3, 5))),
        Edge("skip", "input", "c", rng.normal(0, 1, (3, 8))),
    )
    network = Network(8, layers, edges, "c", "last")
    spikes = graphs.spikes(rng, 20, 30, 8, 0.3)
    program, report = quantize(network, 8, spikes)
    delays = {c.name: None if c.delay is None else int(c.delay) for c in program.connections}
    assert delays == {"in": None, "loop": None, "ab": 2, "bc": None, "skip": 2}
    assert all(one.spike_agreement > 0.98 for one in report.layers)
    assert report.same_prediction > 0.9


def test_feedback_over_layers_is_refused_unless_the_network_waits_for_it(rng):
    layers = (layer("a", 2), layer("b", 2))
    edges = (
        Edge("in", "input", "a", np.eye(2)),
        Edge("ab", "a", "b", np.eye(2)),
        Edge("ba", "b", "a", np.eye(2)),
    )
    spikes = graphs.spikes(rng, 5, 2, 2)
    with pytest.raises(HardwareError, match=r"'ba' feeds back over layers.*after 2 steps, not 1"):
        quantize(Network(2, layers, edges, "b", "count"), 8, spikes)
    patient = (*edges[:2], replace(edges[2], delay=np.asarray(1)))
    assert quantize(Network(2, layers, patient, "b", "count"), 8, spikes).program.connections[2].delay is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "layer 'n': 0 weight bits; Loihi has 1 to 8"),
        ({"bits": 9}, "9 weight bits"),
        ({"bits": {"m": 4}}, "bits are given for 'm', which is not a layer: n"),
        ({"calibration": None}, "needs training inputs"),
        ({"method": "magic"}, "unknown calibration method 'magic'"),
        ({"rounding": "stochastic"}, "pass rng"),
        ({"steps": {"n": 1e-7}}, r"layer 'n': its threshold is 10000000 weight steps.*17 bits"),
    ],
)
def test_what_cannot_be_quantised_is_refused(arguments, message):
    with pytest.raises(HardwareError, match=message):
        quantize(single([[0.5, 0.2]]), **({"calibration": ones(3, 2)} | arguments))


def test_eight_bits_keep_a_trained_like_network(rng):
    network = network_from_graph(graphs.two_layers(rng, (64, 100, 10)))
    program, report = quantize(network, 8, graphs.spikes(rng, 16, 100, 64))
    fresh = graphs.spikes(rng, 16, 200, 64)
    ours, theirs = simulate(program, fresh), float_simulate(network, fresh)
    assert np.mean(ours.spikes["layer1.neuron"] == theirs.spikes["layer1.neuron"]) > 0.995
    assert np.mean(predict(program, ours) == float_predict(network, theirs)) > 0.9
    assert report.warnings() == () or all("never fire" in line for line in report.warnings())


def test_bits_by_layer(rng):
    graph = graphs.two_layers(rng)
    program, report = quantize(
        network_from_graph(graph), {"layer1.neuron": 4}, graphs.spikes(rng, 6, 5, 20), method="max"
    )
    assert [one.bits for one in report.layers] == [4, 8]
    assert [c.num_weight_bits for c in program.connections] == [4, 8]


def test_chain_of_spiking_readout_is_counted(rng):
    graph = chain(5, ("w", nir.Linear(rng.normal(0, 1, (3, 5)))), ("n", lif(3)), n_out=3, metadata=said())
    program, _ = quantize(network_from_graph(graph), 8, graphs.spikes(rng, 6, 5, 5))
    assert program.decode == "count"
