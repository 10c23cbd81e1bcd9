"""lava-dl files: what is written, that the same spikes come back, refusals."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurofdfa_hardware import netx
from neurofdfa_hardware.chip.fixed_point import predict, simulate, truncate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.netx import weights as netx_weights
from neurofdfa_hardware.netx.file import exact_connections
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import Edge, Layer, Network
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware import graphs


@pytest.fixture
def case(rng):
    network = network_from_graph(graphs.two_layers(rng))
    spikes = graphs.spikes(rng, 12, 8, 20)
    return network, spikes


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_saved_program_comes_back_with_the_same_spikes_and_membranes(case, tmp_path, bits):
    network, spikes = case
    program = quantize(network, bits, spikes, target="netx").program
    netx.save(program, tmp_path / "net.net")
    again = netx.load(tmp_path / "net.net")
    ours, theirs = simulate(program, spikes, states=True), simulate(again, spikes, states=True)
    for name in ours.spikes:
        assert np.array_equal(ours.spikes[name], theirs.spikes[name])
        assert np.array_equal(ours.v[name], theirs.v[name])
    assert ours.spikes["layer1.neuron"].any()
    assert np.array_equal(predict(program, ours), predict(again, theirs))
    assert list(tmp_path.iterdir()) == [tmp_path / "net.net"]


def test_the_file_holds_what_lava_dl_reads(case, tmp_path):
    network, spikes = case
    program, report = quantize(network, 8, spikes, method="max", target="netx")
    netx.save(program, tmp_path / "net.net")
    with h5py.File(tmp_path / "net.net") as file:
        assert (file["layer/0/type"][()], file["layer/0/shape"][()].tolist()) == (b"input", [20])
        layer = file["layer/1"]
        assert (layer["type"][()], layer["inFeatures"][()], layer["outFeatures"][()]) == (b"dense", 20, 30)
        found = report.layers[0]
        wanted = np.rint(network.edges[0].weight / found.step) * 2**found.shift
        assert np.array_equal(layer["weight"][()], wanted)
        assert (layer["neuron/type"][()], layer["neuron/iDecay"][()], layer["neuron/vDecay"][()]) == (
            b"LOIHI",
            4096,
            819,
        )
        assert layer["neuron/vThMant"][()] == program.populations[0].vth
        assert np.array_equal(layer["bias"][()] * 64, program.populations[0].bias_mant * 64)
        assert file["layer/2/neuron/vThMant"][()] == 2**17


def test_recurrence_and_delays_are_held(tmp_path, rng):
    def layer(name, **fields):
        return Layer(name, 5, np.full(5, 0.5), np.full(5, 0.8), np.full(5, 0.6), np.zeros(5), **fields)

    edges = (
        Edge("in", "input", "a", rng.normal(0, 1, (5, 6)), rng.integers(0, 4, (5, 6))),
        Edge("ab", "a", "b", rng.normal(0, 1, (5, 5))),
        Edge("bb", "b", "b", rng.normal(0, 0.5, (5, 5))),
    )
    network = Network(6, (layer("a"), layer("b")), edges, "b", "count")
    spikes = graphs.spikes(rng, 20, 6, 6, 0.4)
    program = quantize(network, 8, spikes, target="netx").program
    netx.save(program, tmp_path / "net.net")
    again = netx.load(tmp_path / "net.net")
    assert [c.delay is None for c in again.connections] == [False, True, True]
    ours, theirs = simulate(program, spikes, states=True), simulate(again, spikes, states=True)
    assert np.array_equal(ours.v["b"], theirs.v["b"])
    assert ours.spikes["b"].any()


@settings(max_examples=200)
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=st.integers(-256, 254)),
    st.integers(0, 7),
)
def test_whole_weights_survive_lava_dls_shift_or_are_refused(weight, coarse):
    weight = weight >> coarse << coarse
    try:
        netx_weights.check_exact("n", weight, None)
    except HardwareError:
        assert weight.max() <= 0 or weight.min() >= 0  # of both signs, all are held
        return
    shifted, bits, exponent = netx_weights.fit_bits(weight)
    kept = truncate(shifted, bits, netx_weights.sign_mode(shifted))
    assert np.array_equal(kept * 2.0**exponent, weight)
    if weight.min() == -256 and np.any(weight % 2):
        return
    program = exact_connections(1, "c", "input", "n", weight, None)
    total = sum(truncate(c.weight, 8, c.sign_mode) * 2.0**c.weight_exp for c in program)
    assert np.array_equal(total, weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: quantize_as(p, "loihi"), "quantise with target='netx'"),
        (lambda p: with_population(p, vth=np.arange(30) + 1), "vth differs by neuron"),
        (lambda p: with_population(p, bias_mant=np.asarray(1), bias_exp=np.asarray(3)), "no 13-bit mantissa"),
        (lambda p: replace(p, output="layer1.neuron", decode="count"), "not the last layer"),
        (
            lambda p: replace(p, connections=(replace(p.connections[0], graded=True), p.connections[1])),
            "graded",
        ),
        (
            lambda p: replace(
                p,
                connections=(
                    *p.connections,
                    replace(
                        p.connections[0],
                        name="skip",
                        target=p.output,
                        weight=np.zeros((4, 20), int),
                        delay=np.asarray(1),
                    ),
                ),
            ),
            "'skip' is not part of a chain",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_refused_and_nothing_is_written(case, tmp_path, change, message):
    network, spikes = case
    program = (
        change((network, spikes))
        if message.startswith("quantise")
        else change(quantize(network, 8, spikes, target="netx").program)
    )
    with pytest.raises(HardwareError, match=message):
        netx.save(program, tmp_path / "net.net")
    assert list(tmp_path.iterdir()) == []


def quantize_as(case, target):
    return quantize(case[0], 4, case[1], target=target).program


def with_population(program, **fields):
    return replace(program, populations=(replace(program.populations[0], **fields), program.populations[1]))


def written(tmp_path, **changes):
    path = tmp_path / "other.net"
    with h5py.File(path, "w") as file:
        file.create_dataset("layer/0/type", data=np.bytes_("input"))
        file.create_dataset("layer/0/shape", data=np.array([2]))
        group = file.create_group("layer/1")
        base = {"type": np.bytes_("dense"), "shape": np.array([1]), "weight": np.array([[3, 200]])}
        neuron = {"type": np.bytes_("CUBA"), "iDecay": 4096, "vDecay": 0, "vThMant": 100, "refDelay": 1}
        for key, value in (base | changes.pop("layer", {})).items():
            group.create_dataset(key, data=value)
        for key, value in (neuron | changes.pop("neuron", {})).items():
            group.create_dataset(f"neuron/{key}", data=value)
    return path


def test_a_file_of_lava_dls_own_is_read(tmp_path):
    program = netx.load(written(tmp_path, layer={"bias": np.array([2]), "delay": np.array([0, 1])}))
    assert (program.decode, program.output, program.input_size) == ("count", "layer1", 2)
    record = simulate(program, np.ones((3, 1, 2), np.uint8), states=True)
    # 3·64 + 2·64 at once, 200·64 one step later; the threshold is 100·64
    assert record.v["layer1"].ravel().tolist() == [5 * 64, 0, 0]
    assert record.spikes["layer1"].ravel().tolist() == [0, 1, 1]


def test_odd_weights_of_both_signs_beyond_seven_bits_keep_their_value(tmp_path):
    path = written(tmp_path, layer={"weight": np.array([[-201, 199]])}, neuron={"vThMant": 100000})
    spikes = np.array([[[1, 0]], [[0, 1]]], np.uint8)
    record = simulate(netx.load(path), spikes, states=True)
    assert record.u["layer1"].ravel().tolist() == [-201 * 64, 199 * 64]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": {"type": np.bytes_("conv")}}, "of type 'conv'"),
        ({"neuron": {"type": np.bytes_("SDNN")}}, "SDNN neurons"),
        ({"neuron": {"gradedSpike": True}}, "graded spikes"),
        ({"layer": {"type": np.bytes_("dense_rec"), "delay": np.array([1, 1])}}, "recurrent and delayed"),
    ],
)
def test_layers_that_are_not_read_are_named(tmp_path, changes, message):
    with pytest.raises(HardwareError, match=message):
        netx.load(written(tmp_path, **changes))


def test_files_that_are_no_networks_are_refused(tmp_path):
    with pytest.raises(HardwareError, match="there is no file"):
        netx.load(tmp_path / "none.net")
    (tmp_path / "text.net").write_text("x")
    with pytest.raises(HardwareError, match="not an HDF5 file"):
        netx.load(tmp_path / "text.net")
    with h5py.File(tmp_path / "empty.net", "w"):
        pass
    with pytest.raises(HardwareError, match="not a lava-dl network"):
        netx.load(tmp_path / "empty.net")
