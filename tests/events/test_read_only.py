"""An installation that cannot be written, without a home: what was compiled before is used all the same."""

import ctypes
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import neurofdfa
import neurofdfa_hardware
from neurofdfa.events.warm import warm

pytestmark = pytest.mark.timeout(600)  # a version that is not compiled yet takes a minute or more

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
LEARN = """
import torch
import neurofdfa as nf
net = nf.Network(nf.Linear(4, 4), nf.LIF(), nf.Linear(4, 2), nf.LI())
trainer = nf.Trainer(net, nf.DFA(), engine="events", batch_first=False)
print(float(trainer.step(torch.ones(3, 2, 4), torch.tensor([0, 1])).loss))
"""


@pytest.fixture
def installed() -> Iterator[Path]:
    """Both packages with their compiled kernels, in a folder that only its owner can write, and not now."""
    warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in (neurofdfa, neurofdfa_hardware):
            source = Path(str(package.__file__)).parent
            shutil.copytree(source, folder / source.name, copy_function=shutil.copy)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        yield folder
        for path in folders:
            path.chmod(stat.S_IRWXU)


def obey_permissions() -> None:
    """What is executed from here on may not write where permissions forbid it, even if it is root."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def run_as_another(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """As somebody who may not write there, the home included; root gives up the right to write everywhere."""
    return subprocess.run(
        [sys.executable, *command],
        env={"PYTHONPATH": str(folder), "PATH": "", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        preexec_fn=obey_permissions,
    )


def test_the_kernels_that_are_there_are_used(installed: Path) -> None:
    found = run_as_another(installed, "-c", LEARN)
    assert found.returncode == 0, found.stderr
    assert 0 < float(found.stdout) < 5
    assert "compiling" not in found.stderr


def test_where_none_are_there_the_doctor_says_so(installed: Path) -> None:
    cache = installed / "neurofdfa" / "events" / "kernels" / "__pycache__"
    cache.chmod(0o755)
    for file in cache.glob("*.nb*"):
        file.unlink()
    cache.chmod(0o555)
    found = run_as_another(installed, "-m", "neurofdfa", "doctor")
    assert found.returncode == 0, found.stderr
    assert "problem: the event engine is compiled anew by every process" in found.stdout
    assert "all is well" not in found.stdout
