"""The parity debugger: what it calls equal, and what it points at when one spike is changed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import Edge, Layer, Network, float_simulate
from neurofdfa_hardware.quantization.parity import network_from_program, parity
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware import graphs


@pytest.fixture
def case(rng):
    network = network_from_graph(graphs.two_layers(rng))
    spikes = graphs.spikes(rng, 12, 8, 20)
    return network, quantize(network, 8, spikes).program, spikes


def test_stages_in_order_with_an_equal_lava(case):
    network, program, spikes = case
    report = parity(network, program, spikes, lava=simulate(program, spikes, states=True))
    assert [(c.before, c.after) for c in report.comparisons] == [
        ("float", "quantised"),
        ("quantised", "integer"),
        ("integer", "lava"),
    ]
    rounded, truncated, lava = report.comparisons
    assert lava.divergence is None
    assert (lava.spikes_equal, lava.samples_equal, lava.membrane_error) == (12 * 8 * 30, 8, 0.0)
    assert rounded.agreement["layer1.neuron"] > 0.98
    assert truncated.agreement["layer1.neuron"] > rounded.agreement["layer1.neuron"] - 0.01
    # Membranes are in the float network's unit, so that stages can be read beside each other.
    reach = np.abs(float_simulate(network, spikes).output_v).max()
    assert rounded.membrane_error < 0.3 * reach
    assert json.loads(json.dumps(report.to_json()))["predictions"]["float"] == list(
        report.predictions["float"]
    )


def test_one_flipped_spike_is_found_with_both_membranes(case):
    network, program, spikes = case
    right = simulate(program, spikes, states=True)
    flipped = right.spikes["layer1.neuron"].copy()
    flipped[5, 3, 17] ^= 1
    flipped[6, 0, 2] ^= 1
    report = parity(
        network, program, spikes, lava=replace(right, spikes=right.spikes | {"layer1.neuron": flipped})
    )
    found = report.comparisons[-1]
    assert (found.spikes - found.spikes_equal, found.samples - found.samples_equal) == (2, 2)
    first = found.divergence
    assert (first.sample, first.step, first.layer, first.neuron) == (3, 5, "layer1.neuron", 17)
    assert first.spike_before == right.spikes["layer1.neuron"][5, 3, 17] != first.spike_after
    assert first.steps == (2, 3, 4, 5, 6, 7, 8)
    assert (first.before[3] > first.threshold_before) == bool(first.spike_before)
    assert abs(first.threshold_before - 1.0) < 1e-12


def test_a_record_without_states_still_says_where(case):
    network, program, spikes = case
    bare = simulate(program, spikes)
    bare.spikes["layer1.neuron"][0, 1, 4] ^= 1
    first = parity(network, program, spikes, lava=bare).comparisons[-1].divergence
    assert (first.sample, first.step, first.neuron, first.after) == (1, 0, 4, ())
    assert len(first.before) == 4


def test_the_layer_that_errs_first_is_named_not_the_one_that_suffers(rng):
    def layer(name):
        return Layer(name, 4, np.zeros(4), np.full(4, 0.5), np.full(4, 0.5), np.zeros(4))

    edges = (Edge("a", "input", "l1", np.eye(4)), Edge("b", "l1", "l2", np.eye(4)))
    network = Network(4, (layer("l1"), layer("l2")), edges, "l2", "count")
    spikes = graphs.spikes(rng, 9, 3, 4, 0.5)
    program = quantize(network, 8, spikes).program
    assert parity(network, program, spikes).comparisons[0].divergence is None
    broken = replace(program.connections[0], weight=program.connections[0].weight * 0)
    lava = simulate(replace(program, connections=(broken, program.connections[1])), spikes, states=True)
    first = parity(network, program, spikes, lava).comparisons[-1].divergence
    assert first.layer == "l1"
    assert first.step == int(np.argmax(spikes.any(axis=(1, 2))))


def test_the_chips_numbers_in_float_are_the_integers_up_to_truncation(rng):
    network = network_from_graph(graphs.two_layers(rng))
    spikes = graphs.spikes(rng, 10, 5, 20)
    program = quantize(network, 6, spikes).program
    chip = network_from_program(program)
    ours = simulate(program, spikes, states=True)
    theirs = float_simulate(chip, spikes, states=True)
    difference = np.abs(ours.u["layer1.neuron"] / 64 - theirs.u["layer1.neuron"])
    assert difference.max() == 0.0  # alpha = 0: sums of integers
    assert np.mean(ours.spikes["layer1.neuron"] == theirs.spikes["layer1.neuron"]) > 0.999


def test_recurrence_and_delays_survive_the_way_back_to_float(rng):
    layers = (
        Layer("a", 5, np.full(5, 0.5), np.full(5, 0.8), np.full(5, 0.7), np.zeros(5)),
        Layer("b", 3, np.zeros(3), np.full(3, 0.9), np.zeros(3), np.zeros(3), spiking=False),
    )
    edges = (
        Edge("in", "input", "a", rng.normal(0, 1, (5, 6)), np.asarray(1)),
        Edge("loop", "a", "a", rng.normal(0, 0.4, (5, 5)), rng.integers(0, 3, (5, 5))),
        Edge("out", "a", "b", rng.normal(0, 1, (3, 5))),
        Edge("skip", "input", "b", rng.normal(0, 1, (3, 6))),
    )
    network = Network(6, layers, edges, "b", "last")
    spikes = graphs.spikes(rng, 15, 10, 6, 0.4)
    report = parity(network, quantize(network, 8, spikes).program, spikes)
    assert all(one.agreement["a"] > 0.98 for one in report.comparisons)
    assert report.comparisons[0].spikes_equal > 0


def test_a_program_of_another_network_is_refused(case, rng):
    network, program, spikes = case
    other = replace(program, populations=program.populations[:1], connections=program.connections[:1])
    with pytest.raises(HardwareError, match="not made from this network"):
        parity(network, other, spikes)
