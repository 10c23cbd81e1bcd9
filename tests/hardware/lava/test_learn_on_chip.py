"""The example of continual learning, shortened: it still leaves the frozen network far behind."""

import runpy
from pathlib import Path

import pytest

from neurofdfa_hardware.lava import Environment

EXAMPLE = Path(__file__).parents[3] / "examples" / "learn_on_chip.py"


@pytest.mark.serial
def test_the_chip_learns_its_way_back(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    frozen, learnt = main(0, epochs=4, samples=100, backend="lava")
    assert frozen < 0.3
    assert learnt > frozen + 0.2
    printed = capsys.readouterr().out
    assert "camera turned by 90°" in printed
    assert "after 200 samples on chip" in printed
    assert main(0, epochs=4, samples=100) == (frozen, learnt)
