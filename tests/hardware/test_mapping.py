"""Placement: the counts by hand, the limits kept on every core, and refusals that say which limit."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofdfa_hardware.chip.mapping import CHIPS, picture, place
from neurofdfa_hardware.chip.program import Connection, Population, Program
from neurofdfa_hardware.errors import HardwareError


def population(name: str, size: int) -> Population:
    zero = np.zeros((), np.int64)
    return Population(name, size, zero, zero, np.asarray(1000), zero, zero)


def network(*sizes: int, bits: int = 8, weight: int = 128) -> Program:
    names = ["input", *(f"l{i}" for i in range(1, len(sizes)))]
    return Program(
        sizes[0],
        tuple(population(name, size) for name, size in zip(names[1:], sizes[1:], strict=True)),
        tuple(
            Connection(f"c{i}", names[i - 1], names[i], np.full((sizes[i], sizes[i - 1]), weight), 0, bits)
            for i in range(1, len(sizes))
        ),
        names[-1],
    )


def test_counts_of_a_small_network_by_hand():
    placement = place(network(784, 256, 10))
    assert placement.cores_by_layer() == {"l1": 2, "l2": 1}
    first, _, last = placement.cores
    # 784·256·8 bits = 1.6 Mbit do not fit 2^20 bits; half of them do, two blocks of nine words per source
    assert (first.neurons, first.synapses, first.synapse_bits) == (128, 784 * 128, 784 * 2 * 9 * 64)
    assert (first.fan_in, first.fan_out) == (784, 128)
    assert (last.fan_in, last.fan_out, last.first, last.last) == (256, 0, 0, 9)
    assert placement.utilisation["synapse_bits"] == 784 * 2 * 9 * 64 / 2**20
    assert placement.utilisation["cores"] == 3 / 128
    assert json.loads(json.dumps(placement.to_json()))["chip"]["sources"]["cores"].startswith("Davies")
    assert picture(placement).count("\n") == 2
    assert "l1[0:128]" in picture(placement)


def test_loihi_2_has_room_for_it_on_one_core_per_layer():
    placement = place(network(784, 256, 10), "loihi2")
    assert placement.cores_by_layer() == {"l1": 1, "l2": 1}
    assert set(placement.utilisation) == {"cores", "neurons", "synapses"}


def test_fewer_bits_take_fewer_cores_and_a_mostly_empty_matrix_is_listed():
    dense = place(network(784, 1024, 10))
    assert (
        place(network(784, 1024, 10, bits=1, weight=-256)).cores_by_layer()["l1"]
        < dense.cores_by_layer()["l1"]
    )
    sparse = network(784, 256, 10)
    sparse.connections[0].weight[:, 8:] = 0
    load = place(sparse).cores[0]
    assert (load.synapses, load.synapse_bits, load.fan_in) == (256 * 8, 8 * 4 * 9 * 64, 8)


def test_delays_cost_memory():
    plain = network(100, 50, 10)
    late = Connection("c1", "input", "l1", plain.connections[0].weight, delay=np.asarray(3))
    delayed = Program(100, plain.populations, (late, plain.connections[1]), "l2")
    # 50 targets of one source: 50·8 + 10 bits in 7 words; with 6 bits more each, in 12.
    assert place(plain).cores[0].synapse_bits == 100 * 7 * 64
    assert place(delayed).cores[0].synapse_bits == 100 * 12 * 64


def test_fan_out_cuts_a_layer_whose_successor_is_spread_wide():
    program = network(10, 1000, 3000)
    placement = place(program)
    wide = placement.cores_by_layer()["l2"]
    assert wide > 5
    assert all(load.fan_out == load.neurons * wide <= 4096 for load in placement.cores if load.layer == "l1")
    assert placement.cores_by_layer()["l1"] > 1


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 1500), min_size=2, max_size=4),
    st.integers(1, 8),
    st.sampled_from(sorted(CHIPS)),
    st.floats(0.02, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_every_core_keeps_every_limit_and_every_neuron_has_one_core(sizes, bits, chip, density, seed):
    program = network(*sizes, bits=bits, weight=-256)
    rng = np.random.default_rng(seed)
    for connection in program.connections:
        connection.weight[rng.random(connection.weight.shape) > density] = 0
    placement = place(program, chip)
    limits = CHIPS[chip]
    for load in placement.cores:
        assert load.neurons <= limits.neurons_per_core
        assert load.fan_in <= (limits.fan_in_per_core or load.fan_in)
        assert load.fan_out <= (limits.fan_out_per_core or load.fan_out)
        assert load.synapse_bits <= (limits.synapse_bits_per_core or load.synapse_bits)
    for one in program.populations:
        held = [
            n for load in placement.cores if load.layer == one.name for n in range(load.first, load.last + 1)
        ]
        assert held == list(range(one.size))
    assert max(placement.utilisation.values()) <= 1.0


def test_refusals_name_layer_limit_and_source():
    with pytest.raises(HardwareError, match=r"layer 'l1'.*5000 fan-in lists.*4096 \(Davies"):
        place(network(5000, 4))
    with pytest.raises(HardwareError, match=r"takes \d+ cores .* loihi1 has 128 \(Davies"):
        place(network(4000, 6000))
    with pytest.raises(HardwareError, match="unknown chip 'loihi3'"):
        place(network(2, 2), "loihi3")
