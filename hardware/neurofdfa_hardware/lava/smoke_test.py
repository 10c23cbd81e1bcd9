"""A network small enough to work out by hand, and the numbers that Lava must give for it.

Two neurons, input weights 64 and -64 (the grid of 8 signed bits holds both), 4 steps of a spike each.
Neuron 0: u += 64·64 = 4096 each step with du = 4095 (u forgets), v = trunc(v·(4096 − 1024)/4096) + u.
  v: 4096, 7168 > 100·64 = 6400 → spike and 0, 4096, spike again. Neuron 1 gets the same with its sign turned.
"""

import numpy as np

from neurofdfa_hardware.chip.program import Connection, Population, Program
from neurofdfa_hardware.lava.driver import LavaBackend, LavaJob
from neurofdfa_hardware.lava.environment import Environment, require
from neurofdfa_hardware.lava.errors import LavaError, LavaSetupFailed

SPIKES_0 = [0, 1, 0, 1]
MEMBRANE_1 = [-4096, -7168, -9472, -11200]


def known_program() -> Program:
    """The network described above."""

    def number(value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.asarray(value, np.int64)

    neurons = Population("pair", 2, number(4095), number(1024), number(100), number(0), number(0))
    synapses = Connection("fan", "input", "pair", np.array([[64], [-64]], np.int64))
    return Program(1, (neurons,), (synapses,), "pair")


def difference(environment: Environment) -> str | None:
    """Run the network both ways in real Lava; None when every number is right, else the first that is not."""
    spikes = np.ones((4, 1, 1), np.uint8)
    backend = LavaBackend(environment, time_limit=120.0)
    jobs = [LavaJob(known_program(), spikes, mode) for mode in ("stock", "lanes")]
    for job, run in zip(jobs, backend.run_many(jobs), strict=True):
        fired = run.record.spikes["pair"][:, 0].tolist()
        membrane = run.record.output_v[:, 0, 1].tolist()
        if fired != [[s, 0] for s in SPIKES_0]:
            return f"spikes {fired} in mode {job.mode}"
        if membrane != MEMBRANE_1:
            return f"membrane {membrane} in mode {job.mode}"
    return None


def check() -> Environment:
    """Run a small real network and compare every number with known ones; raises `LavaSetupFailed`.

    Raises `LavaMissing` when there is no environment.
    """
    environment = require()
    try:
        problem = difference(environment)
    except LavaError as error:
        raise LavaSetupFailed(f"Lava in {environment.python} does not run: {error}") from error
    if problem:
        raise LavaSetupFailed(f"Lava in {environment.python} computes something else: {problem}")
    return environment
