"""Graded spikes between populations, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.program import Connection, Program, graded_population
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.netx import save
from neurofdfa_hardware.quantization.parity import network_from_program
from tests.hardware.lava.nets import connection, population


def relay(sends="sums", vth=10, graded=True, weight=(2, -3), **options) -> Program:
    """One input → one graded neuron → an integrator that adds up what it hears."""
    first, last = weight
    return Program(
        1,
        (graded_population("g", 1, vth, sends), population("out", 1, spiking=False)),
        (
            connection("input", "g", [[first]], graded=True, weight_exp=0),
            connection("g", "out", [[last * 2]], graded=graded, weight_exp=-1, **options),
        ),
        "out",
        "last",
    )


def run(program: Program, *payloads: int) -> tuple[list[int], list[int]]:
    record = simulate(program, np.asarray(payloads, np.uint8).reshape(-1, 1, 1))
    assert record.spikes["g"].dtype == np.int32
    return record.spikes["g"].ravel().tolist(), (record.output_v.ravel() // 64).tolist()


def test_sums_above_the_threshold_are_passed_on():
    sent, heard = run(relay(), 5, 6, 0, 255)
    assert sent == [0, 12, 0, 510]  # 2 · 5 = 10 is not above 10
    assert heard == [0, -36, -36, -1566]


def test_negative_sums_pass_by_size_or_not_at_all():
    assert run(relay(weight=(-2, 1)), 5, 6)[0] == [0, -12]
    assert run(relay("positive sums", weight=(-2, 1)), 5, 6)[0] == [0, 0]
    assert run(relay("positive sums"), 5, 6)[0] == [0, 12]


def test_a_connection_without_payload_hears_one_spike():
    sent, heard = run(relay(graded=False), 6, 255)
    assert sent == [12, 510]
    assert heard == [-3, -6]


def test_payloads_keep_nothing_between_steps_and_can_be_delayed():
    sent, heard = run(relay(delay=1), 6, 0, 0)
    assert sent == [12, 0, 0]
    assert heard == [0, -36, -36]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vth": np.array([1])}, "one threshold, no decays, no bias"),
        ({"bias_mant": np.asarray(3)}, "one threshold, no decays, no bias"),
        ({"spiking": False}, "cannot both send graded spikes and never spike"),
    ],
)
def test_what_graded_neurons_cannot_have_is_refused(change, message):
    program = relay()
    broken = replace(program.populations[0], **change)
    with pytest.raises(HardwareError, match=message):
        run(replace(program, populations=(broken, program.populations[1])), 1)


def test_a_graded_population_is_not_read_out():
    with pytest.raises(HardwareError, match="'g' sends graded spikes and has no membrane"):
        run(replace(relay(), output="g", decode="count"), 1)


def test_what_leaves_24_bits_is_refused():
    loop = relay(weight=(120, 1))
    echo = Connection("echo", "g", "g", np.array([[254]]), graded=True)
    with pytest.raises(HardwareError, match="24 bits"):
        run(replace(loop, connections=(*loop.connections, echo)), *([255] * 4))


def test_a_kernel_joins_neurons_of_its_own_number():
    kernel = Kernel(np.array([[[[2, 4]]]]), (1, 1, 3))
    program = Program(3, (population("l1", 2),), (Connection("c", "input", "l1", kernel),), "l1")
    assert simulate(program, np.ones((1, 1, 3), np.uint8)).spikes["l1"].shape == (1, 1, 2)
    wrong = Program(4, (population("l1", 2),), (Connection("c", "input", "l1", kernel),), "l1")
    with pytest.raises(HardwareError, match=r"connection 'c' has weights \(2, 3\): expected \(2, 4\)"):
        simulate(wrong, np.ones((1, 1, 4), np.uint8))


def test_neither_lava_dls_files_nor_float_networks_hold_graded_spikes(tmp_path):
    for refuse in (lambda p: save(p, tmp_path / "x.net"), network_from_program):
        with pytest.raises(HardwareError, match=r"'g' (hears or )?sends graded spikes"):
            refuse(relay())
