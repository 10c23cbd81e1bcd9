"""Finding, building, correcting and checking Lava's environment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurofdfa_hardware.lava import (
    Environment,
    LavaJob,
    LavaMissing,
    LavaSetupFailed,
    check,
    locate,
    setup,
    shim,
)
from neurofdfa_hardware.lava import LavaBackend as Backend
from neurofdfa_hardware.lava.environment import STAMP, home, require
from tests.hardware.lava.nets import chain

DATACLASS = """import ty
@dataclass
class ByteEncoder:
    base: int = 0

@dataclass
class CoreEncoder:
    x = 1
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for Lava where there is nothing yet."""
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path / "lava"))
    return tmp_path / "lava"


def test_check_runs_real_lava(environment):
    assert check() == environment
    assert environment.version == "0.10.0"


def test_home_is_configurable(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"
    monkeypatch.delenv("NEUROFDFA_LAVA_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nothing" / "beside"))
    assert home() == tmp_path / "neurofdfa" / "lava"


def test_nothing_there_is_one_clear_line(elsewhere):
    assert locate() is None
    with pytest.raises(LavaMissing, match=r"not installed in .*lava: run `neurofdfa lava setup`"):
        require()
    with pytest.raises(LavaMissing):
        check()


def test_named_interpreter_is_used_or_refused(environment, elsewhere, monkeypatch):
    monkeypatch.setenv("NEUROFDFA_LAVA_PYTHON", str(environment.python))
    assert locate() == environment
    monkeypatch.setenv("NEUROFDFA_LAVA_PYTHON", sys.executable)
    with pytest.raises(
        LavaMissing, match=r"NEUROFDFA_LAVA_PYTHON=.* cannot import Lava .*No module named 'lava'"
    ):
        locate()
    monkeypatch.setenv("NEUROFDFA_LAVA_PYTHON", "/no/such/python")
    with pytest.raises(LavaMissing, match="No such file"):
        locate()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"python": 3}', "not json"])
def test_a_broken_stamp_is_no_environment(elsewhere, text):
    elsewhere.mkdir()
    (elsewhere / STAMP).write_text(text)
    assert locate() is None


def test_stamp_of_a_vanished_interpreter_is_no_environment(elsewhere):
    elsewhere.mkdir()
    fields = {
        "python": str(elsewhere / "bin/python"),
        "python_version": "3.10.1",
        "version": "0.10.0",
        "shimmed": False,
    }
    (elsewhere / STAMP).write_text(json.dumps(fields))
    assert locate() is None


def test_a_folder_of_somebody_else_is_left_alone(elsewhere):
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("years of work")
    with pytest.raises(LavaSetupFailed, match="is not an environment: choose another NEUROFDFA_LAVA_HOME"):
        setup()
    assert (elsewhere / "thesis.tex").read_text() == "years of work"


def test_no_python_for_lava(elsewhere, tmp_path):
    with pytest.raises(
        LavaSetupFailed, match=r"no Python for Lava .*needs 3\.10, 3\.11 or 3\.12.*python3\.10-venv"
    ):
        setup(base=tmp_path / "python")
    assert not elsewhere.exists()


def test_offline_is_one_clear_line_and_no_environment(elsewhere, monkeypatch):
    """A real pip that may not reach any index."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LavaSetupFailed, match=r"pip could not install Lava .*lava-nc==0\.10\.0") as caught:
        setup()
    assert "\n" not in str(caught.value)
    assert locate() is None


@pytest.mark.serial
def test_interrupted_set_up_counts_for_nothing_and_can_be_repeated(elsewhere):
    """Killed while pip runs; the half environment is neither found nor in the way."""
    command = [
        sys.executable,
        "-c",
        "from neurofdfa_hardware.lava import setup; setup(lambda line: print(line, flush=True))",
    ]
    building = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert building.stdout is not None
    while "installing" not in (building.stdout.readline() or "installing"):
        pass
    time.sleep(0.5)
    os.killpg(building.pid, signal.SIGKILL)
    building.wait()
    assert (elsewhere / "pyvenv.cfg").exists()
    assert locate() is None
    with pytest.raises(LavaSetupFailed, match="no Python for Lava"):
        setup(base=elsewhere / "none")
    assert not elsewhere.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.serial
@pytest.mark.usefixtures("package_index")
def test_set_up_on_this_interpreter_for_real(elsewhere):
    """Python 3.11 or later: installed although Lava declares 3.10, corrected, and right."""
    if sys.version_info >= (3, 13):  # numpy 1 ends there
        with pytest.raises(LavaSetupFailed, match="no Python for Lava"):
            setup(base=Path(sys.executable))
        return
    said: list[str] = []
    built = setup(said.append, base=Path(sys.executable))
    assert built.shimmed
    assert any("correcting" in line for line in said)
    assert check() == built == locate()
    assert not shim.apply(shim.find(elsewhere))
    assert setup(said.append) == built
    assert "is ready" in said[-1]
    (elsewhere / STAMP).unlink()
    assert setup(said.append) == built, "an environment that only lacks its stamp is adopted"
    assert "found Lava" in said[-1]
    record = Backend(built).run_many([LavaJob(chain((3, 4)), np.ones((3, 2, 3), np.uint8))])[0].record
    assert record.spikes["l1"].shape == (3, 2, 4)
    shutil.rmtree(elsewhere)


def test_shim_corrects_once_and_refuses_what_it_does_not_know(tmp_path):
    source = tmp_path / "var_model.py"
    source.write_text(DATACLASS)
    assert shim.apply(source)
    corrected = source.read_text()
    assert corrected.count("unsafe_hash=True") == 1
    assert corrected.endswith("@dataclass\nclass CoreEncoder:\n    x = 1\n")
    assert not shim.apply(source)
    assert source.read_text() == corrected
    source.write_text("class Something: ...\n")
    with pytest.raises(LavaSetupFailed, match="is not that of lava-nc"):
        shim.apply(source)
    assert [path.name for path in tmp_path.iterdir()] == ["var_model.py"]


def test_shim_needs_lava(tmp_path):
    with pytest.raises(LavaSetupFailed, match="no Lava in"):
        shim.find(tmp_path)


def test_environment_that_computes_something_else(environment, monkeypatch):
    """The check compares: with other numbers expected it fails, and says which it got."""
    monkeypatch.setattr("neurofdfa_hardware.lava.smoke_test.MEMBRANE_1", [-4096, -7168, -9472, -11201])
    with pytest.raises(LavaSetupFailed, match=r"computes something else: membrane \[-4096, .*mode stock"):
        check()


def test_interpreter_that_is_not_lava_fails_the_check(elsewhere):
    elsewhere.mkdir()
    fields = Environment(Path(sys.executable), "3.10.1", "0.10.0", False)
    (elsewhere / STAMP).write_text(json.dumps({**vars(fields), "python": str(fields.python)}))
    with pytest.raises(LavaSetupFailed, match=r"does not run: .*has no Lava any more"):
        check()
