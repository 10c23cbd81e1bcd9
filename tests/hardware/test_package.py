"""The package by itself: built, installed and used where there is neither torch nor neurofdfa."""

import subprocess
import sys
from pathlib import Path

import neurofdfa_hardware

ROOT = Path(__file__).parents[2]
ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "neurofdfa", "scipy", "numba", "typer", "rich"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
import pkgutil
import neurofdfa_hardware as nh
assert nh.__file__.startswith(sys.argv[1]), nh.__file__
for module in pkgutil.walk_packages(nh.__path__, "neurofdfa_hardware."):
    if ".lava.worker" not in module.name and not module.name.endswith("__main__"):
        __import__(module.name)
for name in nh.__all__:
    getattr(nh, name)
print(len(nh.__all__))
"""


def test_it_is_installed_and_imported_without_torch_and_neurofdfa(tmp_path):
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    target = tmp_path / "alone"
    subprocess.run(
        [sys.executable, *install, "--target", str(target), str(ROOT / "hardware")], check=True, cwd=tmp_path
    )
    assert {p.name.split("-")[0] for p in target.iterdir()} >= {"neurofdfa_hardware"}
    assert not (target / "neurofdfa").exists()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(target)],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(neurofdfa_hardware.__all__)


def test_a_wrong_name_is_an_attribute_error():
    assert not hasattr(neurofdfa_hardware, "no_such_name")
    assert dir(neurofdfa_hardware) == sorted(neurofdfa_hardware.__all__)
