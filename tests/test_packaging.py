"""What is shipped: both packages with what they need at run time, and nothing else."""

import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import neurofdfa

ROOT = Path(__file__).parents[1]
TRACKED = {
    path.relative_to(ROOT).as_posix()
    for folder in ("neurofdfa", "hardware/neurofdfa_hardware")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".nbc", ".nbi")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(built)


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("hardware/") for name in TRACKED}
    assert {"neurofdfa/py.typed", "neurofdfa_hardware/py.typed"} <= names
    assert any(name.endswith((".html", ".j2", ".css", ".js")) for name in names)  # what reports are made of


def test_the_metadata_say_what_it_is(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    text = wheel.read(name).decode()
    assert f"\nVersion: {neurofdfa.__version__}\n" in text
    assert "\nRequires-Python: >=3.11\n" in text
    for extra in ("events", "search", "cluster", "live", "peers", "docs"):
        assert f"\nProvides-Extra: {extra}\n" in text
    assert any(name.endswith("entry_points.txt") for name in wheel.namelist())
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_sdist_builds_the_same_and_has_no_tests_and_no_data(tmp_path):
    (built,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(built) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    extra = names - TRACKED
    assert names >= TRACKED
    assert extra == {
        "PKG-INFO", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", ".gitignore",
        "constraints.txt", "hardware/pyproject.toml", *(n for n in extra if n.startswith("hardware/README")),
    }  # fmt: skip


def test_versions_agree():
    alone = tomllib.loads((ROOT / "hardware" / "pyproject.toml").read_text())
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {neurofdfa.__version__}\n" in citation
    assert (
        "version" in alone["project"].get("dynamic", [])
        or alone["project"]["version"] == neurofdfa.__version__
    )
