"""Random networks: the integer reference, stock Lava and lanes give the same u, v and spikes, bit for bit.

Networks are drawn by hypothesis, then all of a kind run in one worker, because a runtime takes 0.3 s to
start; stock runs take turns with Lava's Conv, Dense and Sparse. `NEUROFDFA_LAVA_NETWORKS` asks for more than
the default 40 (the large profile: 300).
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.kernel import entries
from neurofdfa_hardware.chip.program import Program, Record
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaBackend, LavaJob
from neurofdfa_hardware.lava.forms import Synapses
from tests.hardware.lava.nets import chain, first_difference, poisson
from tests.hardware.programs import cases

KINDS = {
    "plain": {},
    "wrapping": {"max_size": 4, "exponents": (4, 6), "steps": (8, 16)},
    "delayed": {"delays": True},
    "recurrent": {"recurrent": True, "feedback": True},
    "graded": {"graded": True, "integrator": True},
    "convolutional": {"convolutional": True, "steps": (6, 12)},
    "payloads": {"payloads": True, "layers": (2, 4), "steps": (6, 12)},
    "resets": {"resets": True, "always_on": True, "steps": (6, 12)},
    "everything": {
        "resets": True,
        "always_on": True,
        "delays": True,
        "recurrent": True,
        "feedback": True,
        "skip": True,
        "graded": True,
        "convolutional": True,
        "payloads": True,
    },
}
NETWORKS = int(os.environ.get("NEUROFDFA_LAVA_NETWORKS", "40"))
SYNAPSES: tuple[Synapses, ...] = ("conv", "dense", "sparse", "auto")


def draw(count: int, wraps: bool = False, **options: object) -> list[tuple[Program, np.ndarray, Record]]:
    """`count` random networks with input, and what the reference says; wraps: only those that do."""
    found: list[tuple[Program, np.ndarray, Record]] = []

    @settings(
        max_examples=100_000,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(**options))
    def collect(case: tuple[Program, np.ndarray]) -> None:
        if len(found) == count:
            raise EnoughError
        try:
            record = simulate(*case, states=True)
        except HardwareError as refusal:
            # Lava would overflow silently, or each of its processes in its own way.
            assert "32-bit accumulator" in str(refusal) or "24 bits" in str(refusal)  # noqa: PT017
            return
        if lively(*case, record) and (not wraps or leaps(record, case[0])):
            found.append((*case, record))

    with pytest.raises(EnoughError):
        collect()
    return found


class EnoughError(Exception):
    """Stops hypothesis."""


def lively(program: Program, spikes: np.ndarray, record: Record) -> bool:
    """Whether there is something to get wrong: input, different weights, moving membranes and spikes."""
    moving = all(len(np.unique(v)) > 2 for v in record.v.values())
    numbers = [entries(c.weight) for c in program.connections]
    weights = all(len(np.unique(w)) > 1 or w.size == 1 for w in numbers)
    can_fire = any(p.spiking for p in program.populations)
    fires = any(fired.any() for fired in record.spikes.values())
    return bool(spikes.any()) and moving and weights and fires == can_fire


def leaps(record: Record, program: Program) -> int:
    """Times that a current jumped by more than 2^23: only the wrap at 24 bits does that so often."""
    return sum(int((np.abs(np.diff(u.astype(np.int64), axis=0)) > 2**23).sum()) for u in record.u.values())


@pytest.mark.serial
@pytest.mark.parametrize("kind", KINDS)
def test_random_networks_agree(environment: Environment, kind: str) -> None:
    drawn = draw(-(-NETWORKS // len(KINDS)), kind == "wrapping", **KINDS[kind])
    jobs = [
        LavaJob(program, spikes, mode, lanes=2, states=True, synapses=SYNAPSES[index % len(SYNAPSES)])
        for index, (program, spikes, _) in enumerate(drawn)
        for mode in ("stock", "lanes")
    ]
    runs = LavaBackend(environment, time_limit=1200).run_many(jobs)
    for index, (job, run) in enumerate(zip(jobs, runs, strict=True)):
        difference = first_difference(drawn[index // 2][2], run.record)
        where = f"{job.mode}, {job.synapses}: {difference} in {job.program!r} on {job.spikes.tolist()}"
        assert difference is None, where
    if kind == "convolutional":
        used = {model for run in runs for model in run.models.values()}
        assert {"PyConvModelFixed", "PyDenseModelBitAcc", "PySparseModelBitAcc"} <= used
    if kind == "wrapping":
        assert all(leaps(record, program) for program, _, record in drawn)


@pytest.mark.serial
def test_a_trained_size_agrees_in_lanes(environment: Environment) -> None:
    """784-256-10, 25 steps, a batch that does not fill its last lanes, integrator readout."""
    program = chain((784, 256, 10), spiking=False)
    spikes = poisson((25, 100, 784), 0.13)
    record = LavaBackend(environment).compile(program).run(spikes, lanes=64)
    expected = simulate(program, spikes)
    assert first_difference(expected, record) is None
    assert 0.02 < record.spikes["l1"].mean() < 0.4
    assert expected.output_v.any()


def test_the_comparison_sees_one_bit(environment: Environment) -> None:
    """The reference with one weight one grid step heavier does not agree any more."""
    program, spikes = chain((16, 32, 4)), poisson((20, 4, 16))
    record = LavaBackend(environment).compile(program).run(spikes, states=True)
    assert first_difference(simulate(program, spikes, states=True), record) is None
    first = program.connections[0]
    weight = first.weight.copy()
    weight[7, 3] += 2
    changed = replace(program, connections=(replace(first, weight=weight), *program.connections[1:]))
    difference = first_difference(simulate(changed, spikes, states=True), record)
    assert difference is not None
    assert "neuron 7" in difference
