"""The integer reference: every formula by hand, then against the scalar oracle on random networks."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import predict, simulate, truncate
from neurofdfa_hardware.chip.program import Connection, Population, Program, connection_lag, layer_depths
from neurofdfa_hardware.errors import HardwareError


def scalar(value: int) -> np.ndarray:
    return np.asarray(value, np.int64)


def neuron(name: str = "l1", size: int = 1, **fields: object) -> Population:
    defaults = {"du": 4095, "dv": 0, "vth": 131071, "bias_mant": 0, "bias_exp": 0}
    values = {key: np.asarray(fields.pop(key, default), np.int64) for key, default in defaults.items()}
    return Population(name=name, size=size, **values, **fields)  # type: ignore[arg-type]


def synapses(
    weight: object, name: str = "c1", source: str = "input", target: str = "l1", **fields: object
) -> Connection:
    return Connection(name, source, target, np.asarray(weight, np.int64), **fields)


def one_neuron(weight: int = 64, connection: dict | None = None, **fields: object) -> Program:
    return Program(1, (neuron(**fields),), (synapses([[weight]], **(connection or {})),), "l1")


def train(*values: int) -> np.ndarray:
    return np.asarray(values, np.uint8).reshape(-1, 1, 1)


def run(program: Program, *values: int) -> tuple[list[int], list[int], list[int]]:
    record = simulate(program, train(*values), states=True)
    name = program.output
    return (
        record.u[name].ravel().tolist(),
        record.v[name].ravel().tolist(),
        record.spikes[name].ravel().tolist(),
    )


@pytest.mark.parametrize(
    ("weight", "bits", "mode", "expected"),
    [
        (127, 8, "mixed", 126),  # mixed has a grid of 2 at 8 bits: a floor, not a rounding
        (-127, 8, "mixed", -128),
        (300, 8, "mixed", 254),
        (-300, 8, "mixed", -256),
        (255, 1, "mixed", 0),
        (-1, 1, "mixed", -256),
        (255, 8, "excitatory", 255),
        (255, 7, "excitatory", 254),
        (-5, 8, "excitatory", 0),
        (300, 1, "excitatory", 128),
        (-255, 8, "inhibitory", -255),
        (-255, 7, "inhibitory", -254),
        (5, 8, "inhibitory", 0),
        (-129, 1, "inhibitory", -128),
    ],
)
def test_truncation_is_a_floor_on_the_grid_of_the_sign_mode(weight, bits, mode, expected):
    assert truncate(np.asarray([[weight]], np.int64), bits, mode).item() == expected


def test_twice_a_signed_byte_survives_mixed_truncation_and_weight_exp_minus_one_gives_it_back():
    bytes_ = np.arange(-128, 128)
    assert np.array_equal(truncate(2 * bytes_, 8, "mixed"), 2 * bytes_)
    for byte in (-128, -1, 1, 77, 127):
        u, _, _ = run(one_neuron(2 * byte, {"weight_exp": -1}), 1)
        assert u == [byte * 64]


def test_current_decays_towards_zero_with_the_extra_one():
    # 64 << 6 = 4096; du = 1023 keeps 4096 − 1024 = 3072/4096: 4096 → 3072 → 2304 → 1728 → 1296
    u, v, _ = run(one_neuron(64, du=1023, dv=4095), 1, 0, 0, 0, 0)
    assert u == [4096, 3072, 2304, 1728, 1296]
    # v = towards_zero(v·1/4096) + u
    assert v == [4096, 3072 + 1, 2304, 1728, 1296]
    # −2 << 6 = −128 → −128·3072/4096 = −96 → −72 → −54 → −40.5 → −40 (towards zero, a floor would say −41)
    u, _, _ = run(one_neuron(-2, du=1023), 1, 0, 0, 0, 0)
    assert u == [-128, -96, -72, -54, -40]


def test_membrane_integrates_spikes_strictly_above_and_resets_while_the_current_stays():
    # dv = 0 keeps all of v; each input adds 4096; vth = 128 is 8192: 8192 is not above it, 12288 is
    u, v, s = run(one_neuron(64, vth=128), 1, 1, 1, 1)
    assert (v, s) == ([4096, 8192, 0, 4096], [0, 0, 1, 0])
    # du = 0 keeps 4095/4096 of u after the spike, so the neuron goes on firing on its own current
    u, v, s = run(one_neuron(200, du=0, vth=128), 1, 0, 0)
    assert u == [12800, 12796, 12792]
    assert (v, s) == ([0, 0, 0], [1, 1, 1])


def test_bias_is_added_to_the_membrane_without_the_six_bit_alignment():
    _, v, _ = run(one_neuron(0, bias_mant=5, bias_exp=3, dv=2048), 0, 0, 0)
    assert v == [40, 60, 70]
    _, v, _ = run(one_neuron(0, bias_mant=-4096, bias_exp=7), 0, 0)
    assert v == [-(4096 << 7), -2 * (4096 << 7)]


def test_current_wraps_once_at_24_bits_and_membrane_clips():
    # 254 << 6 << 6 = 1040384 per step and hardly any decay: 8 steps stay below 2^23, the ninth passes it
    program = one_neuron(254, {"weight_exp": 6}, du=0, dv=4095)
    u, _, _ = run(program, *([1] * 9))
    assert max(u[:8]) < 2**23
    assert u[8] == (u[7] * 4095) // 4096 + 1040384 - 2**24 < 0
    negative, _, _ = run(one_neuron(-254, {"weight_exp": 6}, du=0, dv=4095), *([1] * 9))
    assert negative == [-x for x in u]
    _, v, s = run(replace(one_neuron(254, {"weight_exp": 6}, spiking=False), decode="last"), *([1] * 12))
    assert v[7:10] == [8 * 1040384, 2**23 - 1, 2**23 - 1]
    assert s == [0] * 12


def test_the_two_edges_of_the_wrap_are_not_alike():
    # four synapses of −256 << 7 << 6 make −2^23 exactly, which wraps to +2^23; +2^23 itself stays
    low = Program(4, (neuron(dv=4095),), (synapses([[-256] * 4], weight_exp=7),), "l1")
    assert simulate(low, np.ones((1, 1, 4), np.uint8), states=True).u["l1"].item() == 2**23
    high = Program(4, (neuron(dv=4095),), (synapses([[254] * 4], weight_exp=7),), "l1")
    assert simulate(high, np.ones((1, 1, 4), np.uint8), states=True).u["l1"].item() == 4 * 254 * 2**13


def test_positive_edge_stays_where_it_is():
    edge = Program(8, (neuron(dv=4095),), (synapses([[128] * 8], weight_exp=7),), "l1")
    assert simulate(edge, np.ones((1, 1, 8), np.uint8), states=True).u["l1"].item() == 2**23


def test_sums_beyond_24_bits_stay_exact():
    rng = np.random.default_rng(5)
    weight = rng.integers(128, 256, (3, 700))
    connection = synapses(weight, weight_exp=-8, sign_mode="excitatory", graded=True)
    spikes = rng.integers(200, 256, (1, 64, 700), dtype=np.uint8)
    record = simulate(Program(700, (neuron(size=3, dv=4095),), (connection,), "l1"), spikes, states=True)
    sums = [[sum(int(w) * int(s) for w, s in zip(row, x, strict=True)) for row in weight] for x in spikes[0]]
    assert min(map(min, sums)) > 2**24
    assert record.u["l1"][0].tolist() == [[(total >> 8) << 6 for total in row] for row in sums]


def test_negative_weight_exp_shifts_the_sum_arithmetically():
    # one spike of −6 with exponent −2: −6 >> 2 = −2 (floor), not −1
    u, _, _ = run(one_neuron(-6, {"weight_exp": -2}), 1)
    assert u == [-2 * 64]
    # two spikes: (−6 − 6) >> 2 = −3: the sum is shifted, not each weight (−2 − 2 = −4)
    program = Program(2, (neuron(),), (synapses([[-6, -6]], weight_exp=-2),), "l1")
    assert simulate(program, np.ones((1, 1, 2), np.uint8), states=True).u["l1"].item() == -3 * 64


def test_delays_postpone_and_each_delay_is_shifted_on_its_own():
    program = one_neuron(64, {"delay": scalar(2)})
    u, _, _ = run(program, 1, 0, 0, 0)
    assert u == [0, 0, 4096, 0]
    matrix = Program(2, (neuron(),), (synapses([[6, 6]], weight_exp=-2, delay=np.asarray([[0, 1]])),), "l1")
    record = simulate(matrix, np.ones((2, 1, 2), np.uint8), states=True)
    # step 0: 6 >> 2 = 1; step 1: (6 >> 2) + (6 >> 2) = 2, where a joint shift would give 3
    assert record.u["l1"].ravel().tolist() == [64, 128]


def test_recurrent_connection_hears_the_step_before():
    program = Program(
        1,
        (neuron(vth=32),),
        (synapses([[64]]), synapses([[-30]], "r1", "l1", "l1")),
        "l1",
    )
    u, _, s = run(program, 1, 1, 0)
    assert u == [4096, 4096 - 30 * 64, -30 * 64]
    assert s == [1, 1, 0]


def test_feedback_over_a_layer_arrives_two_steps_later_as_on_the_chip():
    program = Program(
        1,
        (neuron("l1", vth=1), neuron("l2", vth=1)),
        (synapses([[64]]), synapses([[64]], "c2", "l1", "l2"), synapses([[10]], "f", "l2", "l1")),
        "l2",
    )
    depths = layer_depths(program)
    assert depths == {"input": 0, "l1": 1, "l2": 2}
    assert [connection_lag(c, depths) for c in program.connections] == [0, 0, 2]
    record = simulate(program, train(1, 0, 0, 0), states=True)
    assert record.u["l1"].ravel().tolist() == [4096, 0, 640, 0]


def test_a_skipping_connection_needs_the_delay_of_the_layers_it_skips():
    layers = (neuron("l1"), neuron("l2"))
    chain = (synapses([[64]]), synapses([[64]], "c2", "l1", "l2"))
    late = Program(1, layers, (*chain, synapses([[2]], "skip", "input", "l2", delay=scalar(1))), "l2")
    assert simulate(late, train(1, 0), states=True).u["l2"].ravel().tolist() == [128, 0]
    with pytest.raises(HardwareError, match=r"'skip' skips 1 layer.*at least 1"):
        simulate(Program(1, layers, (*chain, synapses([[2]], "skip", "input", "l2")), "l2"), train(1))


def test_payload_multiplies_only_where_the_connection_is_graded():
    plain, _, _ = run(one_neuron(3 * 2), 1)
    graded, _, _ = run(one_neuron(3 * 2, {"graded": True}), 200)
    assert (plain, graded) == ([6 * 64], [200 * 6 * 64])
    with pytest.raises(HardwareError, match=r"numbers up to 200, and the program counts spikes as 0 or 1"):
        run(one_neuron(3 * 2), 200)


def test_samples_start_from_rest_and_do_not_see_each_other():
    program = one_neuron(64, du=100, dv=10, vth=100)
    rng = np.random.default_rng(0)
    spikes = rng.integers(0, 2, (20, 5, 1), dtype=np.uint8)
    together = simulate(program, spikes, states=True)
    for k in range(5):
        alone = simulate(program, spikes[:, k : k + 1], states=True)
        assert np.array_equal(alone.v["l1"][:, 0], together.v["l1"][:, k])
        assert np.array_equal(alone.spikes["l1"][:, 0], together.spikes["l1"][:, k])


def test_large_batches_are_the_same_as_small_ones():
    program = one_neuron(64, du=100, dv=10, vth=100)
    spikes = np.random.default_rng(0).integers(0, 2, (6, 300, 1), dtype=np.uint8)
    together = simulate(program, spikes, states=True)
    pieces = [simulate(program, spikes[:, k : k + 50], states=True) for k in range(0, 300, 50)]
    for name in ("u", "v", "spikes"):
        parts = [getattr(piece, name)["l1"] for piece in pieces]
        assert np.array_equal(getattr(together, name)["l1"], np.concatenate(parts, axis=1))
    assert together.output_v.shape == (6, 300, 1)


def test_predict_reads_counts_last_membrane_or_mean_membrane():
    weights = np.asarray([[2, 0], [0, 6]])
    count = Program(2, (neuron(size=2, vth=1),), (synapses(weights),), "l1")
    spikes = np.zeros((4, 1, 2), np.uint8)
    spikes[:3, 0, 0] = 1
    spikes[0, 0, 1] = 1
    assert predict(count, simulate(count, spikes)).tolist() == [0]
    leaky = (neuron(size=2, dv=2048, spiking=False),)
    last = Program(2, leaky, (synapses(weights),), "l1", "last")
    # class 0: 2 + 1 + .5 halved = 1.75·64; class 1: 6/8·64
    record = simulate(last, spikes)
    assert record.output_v[-1, 0].tolist() == [112, 48]
    assert predict(last, record).tolist() == [0]
    mean = replace(last, decode="mean")
    early = np.zeros((4, 1, 2), np.uint8)
    early[0, 0, 1] = early[3, 0, 0] = 1
    record = simulate(mean, early)
    assert record.output_v[-1, 0].tolist() == [128, 48]
    assert predict(mean, record).tolist() == [1]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p: replace(p, output="l9"), "output 'l9'"),
        (lambda p: replace(p, populations=(neuron(vth=2**17),)), r"vth of population 'l1' is 131072.*131071"),
        (lambda p: replace(p, populations=(neuron(du=[1, 2]),)), r"du of population 'l1' has shape \(2,\)"),
        (lambda p: replace(p, connections=(synapses([[1, 2]]),)), r"weights \(1, 2\): expected \(1, 1\)"),
        (lambda p: replace(p, connections=(synapses([[1]], num_weight_bits=9),)), "9 weight bits"),
        (lambda p: replace(p, connections=(synapses([[1]], source="x"),)), "'x', which does not exist"),
        (
            lambda p: replace(p, connections=(synapses([[1]], delay=scalar(63)),)),
            "63: the chip",
        ),
        (lambda p: replace(p, populations=(neuron(spiking=False),)), "cannot be decoded by count"),
    ],
)
def test_a_program_off_the_chip_is_refused_by_name(broken, message):
    with pytest.raises(HardwareError, match=message):
        simulate(broken(one_neuron()), train(1))


def test_spikes_of_the_wrong_kind_are_refused():
    with pytest.raises(HardwareError, match="uint8"):
        simulate(one_neuron(), np.zeros((2, 1, 1)))  # type: ignore[arg-type]
    with pytest.raises(HardwareError, match="2 inputs, the program 1"):
        simulate(one_neuron(), np.zeros((2, 1, 2), np.uint8))


def test_input_beyond_lavas_accumulator_is_refused_not_wrapped_silently():
    one = synapses([[254] * 40], weight_exp=7, graded=True)
    program = Program(40, (neuron(),), (one,), "l1")
    with pytest.raises(HardwareError, match=r"sums of connection 'c1' leave the chip's 24 bits"):
        simulate(program, np.full((1, 1, 40), 255, np.uint8))
    four = tuple(replace(one, name=f"c{k}", weight_exp=1) for k in range(4))
    program = Program(40, (neuron(),), four, "l1")
    with pytest.raises(HardwareError, match="32-bit accumulator"):
        simulate(program, np.full((1, 1, 40), 255, np.uint8))
