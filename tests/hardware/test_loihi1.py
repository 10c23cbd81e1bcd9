"""What Loihi 1's silicon does otherwise than Lava: arithmetic against a scalar oracle, memory, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.backends import backend
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.loihi1 import stored_bits, wrapped
from neurofdfa_hardware.chip.mapping import place
from neurofdfa_hardware.chip.program import Program, connection_lag, layer_depths
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.quantization.parity import network_from_program, parity
from tests.hardware.lava.nets import chain, connection, poisson, population


def two_complement(value: int, bits: int) -> int:
    """As a register of `bits` bits and a sign holds it, by masks."""
    return (value & (2**bits - 1)) - (value & 2**bits)


def by_hand(program: Program, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of one sample `[T, n_in]`, a neuron at a time in Python's integers."""
    fired = {"input": spikes.astype(int)}
    depths = layer_depths(program)
    for p in program.populations:
        fired[p.name] = np.zeros((len(spikes), p.size), int)
    state = {p.name: [[0, 0, 0] for _ in range(p.size)] for p in program.populations}
    for t in range(len(spikes)):
        for p in program.populations:
            for n in range(p.size):
                total = 0
                for c in program.connections:
                    lag = connection_lag(c, depths)
                    if c.target != p.name or t < lag:
                        continue
                    for w, s in zip(np.asarray(c.weight)[n], fired[c.source][t - lag], strict=True):
                        kept = int(np.clip(w, -256, 255)) >> 1 << 1
                        shifted = kept >> -c.weight_exp if c.weight_exp < 0 else kept << c.weight_exp
                        total += (shifted << 6) * int(s)
                u, v, pause = state[p.name][n]
                du, dv, vth, mant, exp = (
                    int(np.broadcast_to(x, p.size)[n]) for x in (p.du, p.dv, p.vth, p.bias_mant, p.bias_exp)
                )
                u = (1 if u > 0 else -1) * (abs(u) * (4095 - du) >> 12) + two_complement(total, 21)
                u = two_complement(u, 23)
                v = (1 if v > 0 else -1) * (abs(v) * (4096 - dv) >> 12)
                v = min(max(v + two_complement(u + (mant << exp), 23), 1 - 2**23), 2**23 - 1)
                fires = v > vth << 6 and not pause
                fired[p.name][t, n] = fires
                state[p.name][n] = [
                    u,
                    0 if fires or pause else v,
                    p.refractory if fires else max(0, pause - 1),
                ]
    return fired


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_are_those_of_the_oracle(seed: int) -> None:
    """Wraps of inputs and currents, negative exponents, biases, recurrence, pauses."""
    rng = np.random.default_rng(seed)
    exponent = int(rng.choice([-5, -2, 0, 4]))
    populations = tuple(
        replace(
            population(
                name, size, du=rng.integers(0, 4096, size), dv=rng.integers(0, 4096, size), exp=7,
                vth=rng.integers(100, 2**15, size), mant=rng.integers(-4096, 4096, size),
            ),
            refractory=int(rng.integers(0, 3)),
        )
        for name, size in (("a", 6), ("b", 4))
    )  # fmt: skip
    weights = {("input", "a"): (6, 60), ("a", "b"): (4, 6), ("b", "b"): (4, 4)}
    program = Program(
        60,
        populations,
        tuple(
            connection(s, t, rng.integers(-256, 256, shape), weight_exp=exponent)
            for (s, t), shape in weights.items()
        ),
        "b",
    )
    spikes = poisson((15, 3, 60), 0.4, seed)
    record = simulate(program, spikes, chip="loihi1")
    for sample in range(3):
        expected = by_hand(program, spikes[:, sample])
        for name in ("a", "b"):
            np.testing.assert_array_equal(record.spikes[name][:, sample], expected[name])
    assert record.spikes["a"].any()


def test_nothing_differs_where_nothing_wraps_or_is_shifted() -> None:
    program, spikes = chain((20, 10, 5)), poisson((30, 4, 20))
    ours, silicon = (simulate(program, spikes, states=True, chip=chip) for chip in ("lava", "loihi1"))
    assert ours.spikes["l1"].any()
    for kind in ("spikes", "u", "v"):
        for name, array in getattr(ours, kind).items():
            np.testing.assert_array_equal(array, getattr(silicon, kind)[name])


def test_a_negative_exponent_costs_each_weight_its_low_bits() -> None:
    """Three weights of 6 at exponent −2: Lava has (6 + 6 + 6) >> 2 = 4, the chip 1 + 1 + 1."""
    program = Program(
        3, (population("n", 1, vth=1000),), (connection("input", "n", [[6, 6, 6]], weight_exp=-2),), "n"
    )
    spikes = np.ones((1, 1, 3), np.uint8)
    assert simulate(program, spikes, states=True).u["n"].item() == 4 << 6
    assert simulate(program, spikes, states=True, chip="loihi1").u["n"].item() == 3 << 6


def test_inputs_beyond_21_bits_wrap_and_parity_shows_where() -> None:
    """131 · 254 << 6 is above 2^21, where Lava only wraps above 2^23."""
    program = Program(
        131, (population("n", 1, vth=30000),), (connection("input", "n", np.full((1, 131), 254)),), "n"
    )
    spikes = np.ones((2, 1, 131), np.uint8)
    assert simulate(program, spikes).spikes["n"].any()
    assert not backend("loihi1").compile(program).run(spikes).spikes["n"].any()
    report = parity(network_from_program(program), program, spikes, chip="loihi1")
    assert [(row.before, row.after) for row in report.comparisons][-1] == ("integer", "loihi1")
    assert report.comparisons[-1].divergence is not None
    np.testing.assert_array_equal(
        wrapped(np.array([2.0**21, -(2.0**21) - 1, 5]), 21), [-(2**21), 2**21 - 1, 5]
    )


def test_synapses_take_whole_words_per_source() -> None:
    """1000 targets of 8 bits: 15 blocks of 64 · 8 + 10 bits in 9 words, one of 40 · 8 + 10 in 6."""
    assert stored_bits(np.ones((1000, 1), np.bool_), 8, False) == (15 * 9 + 6) * 64
    assert stored_bits(np.ones((1000, 1), np.bool_), 7, False) == (15 * 9 + 6) * 64  # no format of 7
    assert stored_bits(np.eye(64, dtype=np.bool_), 8, False) == 64 * 64
    assert stored_bits(np.ones((64, 1), np.bool_), 8, True) == 15 * 64
    wide = chain((131, 1000, 2))
    assert place(wide, "loihi1").cores_by_layer()["l1"] == 2
    assert place(wide, "loihi2").cores_by_layer()["l1"] == 1


def test_what_it_has_no_circuit_for_is_refused() -> None:
    program, spikes = chain((4, 3, 2)), poisson((5, 1, 4))
    soft = replace(program.populations[0], reset="soft")
    with pytest.raises(HardwareError, match="microcode of Loihi 2"):
        simulate(replace(program, populations=(soft, program.populations[1])), spikes, chip="loihi1")
    with pytest.raises(HardwareError, match="unknown arithmetic 'loihi3'"):
        simulate(program, spikes, chip="loihi3")  # pyright: ignore[reportArgumentType]
