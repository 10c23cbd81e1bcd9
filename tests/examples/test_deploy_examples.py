"""The examples that go onto Lava run as a reader would run them; the figures they print hold.

`learn_on_chip.py` is held by tests/hardware/lava/test_learn_on_chip.py.
"""

import re
from pathlib import Path

import pytest

from neurofdfa.cli import run
from neurofdfa_hardware.lava import LavaError, locate
from neurofdfa_hardware.lava.environment import REMEDY
from tests.programs import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def _lava() -> None:
    try:
        found = locate()
    except LavaError as error:
        pytest.skip(str(error))
    if found is None:
        pytest.skip(f"Lava is not installed: {REMEDY}")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples write their pictures into the folder in which they run."""
    monkeypatch.chdir(tmp_path)


def output(name: str, *arguments: str) -> str:
    done = finished(ROOT / "examples" / name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def share(text: str, start: str) -> float:
    """The first percentage after `start`."""
    return float(re.findall(re.escape(start) + r".*?(\d+\.\d+)%", text)[0])


@pytest.mark.serial
def test_a_network_of_ours_on_lava() -> None:
    text = output("deploy_to_lava.py")
    assert share(text, "integer reference: test accuracy") > 93
    assert share(text, "Lava: accuracy") > 90
    assert re.search(r"integer → lava +0 of 393216 spikes differ", text)
    differ, compared = map(int, re.findall(r"float → quantised +(\d+) of (\d+)", text)[0])
    assert 0 < differ < 0.03 * compared
    assert "on Loihi 1: 3 cores" in text
    assert Path("runs/parity.png").stat().st_size > 10_000


@pytest.mark.serial
def test_a_run_of_the_command_line_on_lava(tmp_path: Path) -> None:
    train = "train --hidden 32 --steps 16 --epochs 1 --encoder poisson --seed 3 --quiet --out"
    assert run([*train.split(), str(tmp_path / "run")]) == 0
    text = output("deploy_to_lava.py", str(tmp_path / "run" / "network.nir"))
    assert re.search(r"integer → lava +0 of \d+ spikes differ", text)


@pytest.mark.serial
def test_a_network_of_snntorch_on_lava() -> None:
    text = output("snntorch_on_lava.py", "4")
    theirs, ours = share(text, "snnTorch: test accuracy"), share(text, "Lava: test accuracy")
    assert theirs > 85
    assert abs(theirs - ours) < 3
    assert share(text, "the graph as read:") > 99.9
    assert share(text, "snnTorch → Lava:") > 97
    assert share(text, "integer reference → Lava:") == 100


@pytest.mark.serial
def test_a_network_of_norse_on_lava() -> None:
    text = output("norse_on_lava.py", "4")
    theirs, ours = share(text, "Norse: test accuracy"), share(text, "Lava: test accuracy")
    assert theirs > 85
    assert abs(theirs - ours) < 3
    assert share(text, "Norse → Lava:") > 99
    assert "spikes and membranes equal" in text
