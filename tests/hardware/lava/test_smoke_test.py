"""Networks that fit on the back of an envelope, through real Lava in both modes."""

import numpy as np
import pytest

from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaBackend, LavaJob
from tests.hardware.lava.nets import chain, connection, population


def run(environment: Environment, program: Program, spikes: np.ndarray, **options):
    """Records of the two modes; the caller compares both with the same numbers."""
    jobs = [LavaJob(program, spikes, mode, states=True, lanes=2, **options) for mode in ("stock", "lanes")]
    return [run.record for run in LavaBackend(environment, time_limit=120).run_many(jobs)]


def test_decay_threshold_and_reset(environment):
    """v halves and gains 64·64 a step: 4096, 6144 = 96·64, 7168 > 100·64 fires, then again from 0."""
    program = Program(1, (population("n", 1, dv=2048),), (connection("input", "n", [[64]]),), "n")
    for record in run(environment, program, np.ones((7, 1, 1), np.uint8)):
        assert record.v["n"].ravel().tolist() == [4096, 6144, 0, 4096, 6144, 0, 4096]
        assert record.spikes["n"].ravel().tolist() == [0, 0, 1, 0, 0, 1, 0]
        assert record.u["n"].ravel().tolist() == [4096] * 7


def test_threshold_is_strict(environment):
    """v reaches exactly vth << 6 and does not fire; one below the threshold it does."""
    for vth, fires in ((64, [0]), (63, [1])):
        program = Program(
            1, (population("n", 1, dv=4095, vth=vth),), (connection("input", "n", [[64]]),), "n"
        )
        for record in run(environment, program, np.ones((1, 1, 1), np.uint8)):
            assert record.spikes["n"].ravel().tolist() == fires


def test_current_wraps_at_24_bits(environment):
    """254·2^7·64 = 2 080 768 a step without leak: the fifth step passes 2^23 and comes out negative."""
    step = 254 * 2**7 * 64
    weight = connection("input", "n", [[255]], weight_exp=7)  # 8 mixed bits keep multiples of 2
    program = Program(1, (population("n", 1, du=0, vth=131071),), (weight,), "n")
    u, expected = 0, []
    for _ in range(6):
        u = (u * 4095 >> 12 if u >= 0 else -(-u * 4095 >> 12)) + step
        u = u - 2**24 if u > 2**23 else u
        expected.append(u)
    assert expected[3] > 0 > expected[4]
    for record in run(environment, program, np.ones((6, 1, 1), np.uint8)):
        assert record.u["n"].ravel().tolist() == expected


def test_layers_are_aligned_and_samples_are_apart(environment):
    """Three relays: a spike at step t comes out of every layer at t, in its own sample only."""
    names = ["input", "a", "b", "c"]
    program = Program(
        2,
        tuple(population(name, 2, vth=10, dv=4095) for name in names[1:]),
        tuple(connection(names[i], names[i + 1], np.eye(2) * 64) for i in range(3)),
        "c",
    )
    spikes = np.zeros((4, 3, 2), np.uint8)
    spikes[3, 0, 0] = spikes[0, 1, 1] = spikes[2, 2, 0] = 1
    for record in run(environment, program, spikes):
        for name in names[1:]:
            np.testing.assert_array_equal(record.spikes[name], spikes)


@pytest.mark.parametrize("bias", [0, 40])
def test_recurrence_and_delay_do_not_leak_into_the_next_sample(environment, bias):
    """The same sample three times gives the same answer three times, though activity never dies out."""
    ring = Program(
        1,
        (population("n", 3, vth=30, dv=3000, mant=bias, exp=6), population("out", 1, vth=30, dv=4095)),
        (
            connection("input", "n", [[64], [0], [0]]),
            connection("n", "n", [[0, 0, 64], [64, 0, 0], [0, 64, 0]]),
            connection("n", "out", [[64, 0, 0]], delay=[[3, 0, 0]]),
        ),
        "out",
    )
    spikes = np.zeros((6, 3, 1), np.uint8)
    spikes[0] = 1
    for record in run(environment, ring, spikes):
        for found in (*record.v.values(), *record.u.values(), *record.spikes.values()):
            np.testing.assert_array_equal(found[:, 1], found[:, 0])
            np.testing.assert_array_equal(found[:, 2], found[:, 0])
        if not bias:
            # The input kicks neuron 0, and the spike goes round: 0 1 2 0 1 2; three steps later it is heard.
            assert record.spikes["n"][:, 0].argmax(axis=1).tolist() == [0, 1, 2, 0, 1, 2]
            assert record.spikes["out"][:, 0, 0].tolist() == [0, 0, 0, 1, 0, 0]


def test_integrator_never_fires_and_is_read_each_step(environment):
    """A membrane that saturates at 2^23 − 1 lies above every 17-bit threshold and still counts on."""
    weight = connection("input", "n", [[254]], weight_exp=7)
    program = Program(1, (population("n", 1, vth=1, spiking=False),), (weight,), "n", "last")
    expected = np.minimum(np.arange(1, 7) * 254 * 2**7 * 64, 2**23 - 1)
    for record in run(environment, program, np.ones((6, 1, 1), np.uint8)):
        assert record.output_v.ravel().tolist() == expected.tolist()
        assert not record.spikes["n"].any()


def one_synapse(*, graded: bool) -> Program:
    weight = connection("input", "n", [[2]], graded=graded)
    return Program(1, (population("n", 1, dv=4095, vth=131071),), (weight,), "n")


def test_graded_input_multiplies_and_plain_input_holds_no_numbers(environment):
    spikes = np.array([[[3]], [[0]], [[200]]], np.uint8)
    for record in run(environment, one_synapse(graded=True), spikes):
        assert record.u["n"].ravel().tolist() == [2 * 64 * x for x in (3, 0, 200)]
    with pytest.raises(HardwareError, match="holds numbers up to 200"):
        run(environment, one_synapse(graded=False), spikes)
    for record in run(environment, one_synapse(graded=False), (spikes > 0).astype(np.uint8)):
        assert record.u["n"].ravel().tolist() == [2 * 64 * x for x in (1, 0, 1)]


def test_what_lava_chose_is_reported(environment):
    """Stock means stock: not one float model, not one of ours but the host."""
    job = LavaJob(chain((3, 4, 2)), np.ones((3, 2, 3), np.uint8), "stock")
    models = LavaBackend(environment).run_many([job])[0].models
    assert {name: model for name, model in models.items() if name != "host"} == {
        "l1": "PyLifResetModelBitAcc",
        "l2": "PyLifResetModelBitAcc",
        "input-l1": "PyDenseModelBitAcc",
        "l1-l2": "PyDenseModelBitAcc",
    }


def test_progress_runs_from_part_to_all(environment):
    heard: list[float] = []
    program = LavaBackend(environment).compile(chain((3, 4, 2)))
    program.run(np.ones((5, 9, 3), np.uint8), lanes=2, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1.0)
