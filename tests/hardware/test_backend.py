"""Both backends behind one protocol: same call, same record."""

import sys

import numpy as np
import pytest

from neurofdfa_hardware.backends import GROUP, FixedPointBackend, backend, backend_names, register_backend
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import LavaError, locate
from neurofdfa_hardware.lava.environment import REMEDY
from tests.hardware.lava.nets import chain, first_difference, poisson


@pytest.mark.parametrize("name", ["fixed-point", "lava"])
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


@pytest.mark.parametrize("name", ["fixed-point", "lava"])
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


def test_the_reference_is_the_default():
    assert backend().name == "fixed-point"


def test_a_registered_backend_is_known_by_name(monkeypatch):
    monkeypatch.setattr("neurofdfa_hardware.backends._BACKENDS", {"fixed-point": FixedPointBackend})
    register_backend("mine", lambda: FixedPointBackend("mine"))
    assert backend("mine").name == "mine"
    assert backend_names()[:2] == ("fixed-point", "mine")
    with pytest.raises(HardwareError, match="already is a backend 'mine'"):
        register_backend("mine", FixedPointBackend)


def outside_package(folder, code: str) -> None:
    """What pip leaves of a package with one entry point."""
    (folder / "outside.py").write_text(code)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\noutside = outside:Outside\n")


def test_a_backend_of_an_installed_package_is_known_by_name(tmp_path, monkeypatch):
    outside_package(
        tmp_path,
        "from neurofdfa_hardware.backends import FixedPointBackend\n"
        "def Outside():\n    return FixedPointBackend('outside')\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "outside" in backend_names()
    program, spikes = chain((5, 8, 3)), poisson((12, 4, 5))
    record = backend("outside").compile(program).run(spikes)
    np.testing.assert_array_equal(record.output_v, simulate(program, spikes).output_v)


def test_a_backend_that_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    outside_package(tmp_path, "raise RuntimeError('no board')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    with pytest.raises(HardwareError, match=r"'outside' .* cannot be loaded: no board"):
        backend("outside")
