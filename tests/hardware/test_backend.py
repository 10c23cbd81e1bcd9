"""Both backends behind one protocol: same call, same record."""

import numpy as np
import pytest

from neurofdfa_hardware.backend import BACKENDS, backend
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.fixed_point import simulate
from neurofdfa_hardware.lava import LavaError, locate
from neurofdfa_hardware.lava.environment import REMEDY
from neurofdfa_hardware.program import Program
from tests.hardware.lava.nets import chain, first_difference, poisson


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("states", [False, True])
def test_every_backend_gives_the_same_record(name, states):
    if name == "lava":
        try:
            found = locate()
        except LavaError as error:
            pytest.skip(str(error))
        if found is None:
            pytest.skip(f"Lava is not installed: {REMEDY}")
    program, spikes = chain((5, 8, 3)), poisson((12, 4, 5))
    chosen = backend(name)
    assert chosen.name == name
    record = chosen.compile(program).run(spikes, states=states)
    assert first_difference(simulate(program, spikes, states=states), record) is None
    assert bool(record.v) == states


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_refuses_what_does_not_fit(name):
    fits = chain((5, 8, 3))
    with pytest.raises(HardwareError, match="l2"):
        backend(name).compile(Program(5, fits.populations, fits.connections[:1], "l2x"))


def test_unknown_backend_lists_those_there_are():
    with pytest.raises(HardwareError, match="unknown backend 'loihi3': choose one of fixed-point, lava"):
        backend("loihi3")


def test_one_sample_alone_is_the_same_as_in_company():
    program, spikes = chain((5, 8, 3)), poisson((12, 4, 5))
    together = backend("fixed-point").compile(program).run(spikes)
    alone = backend("fixed-point").compile(program).run(np.ascontiguousarray(spikes[:, 2:3]))
    np.testing.assert_array_equal(alone.output_v[:, 0], together.output_v[:, 2])
