"""A sweep's folder as Markdown and as a picture, from the command that studies give."""

from pathlib import Path

import pytest

from neurofdfa.lab.results import Sweep
from neurofdfa.report.markdown import main
from tests.lab.test_tables import ROWS


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple(ROWS[:2] + ROWS[3:5])
    Sweep(name="tiny", seeds=(0, 1), varied=("rule.name", "training.lr"), rows=rows).write(
        tmp_path / "ablation.json"
    )
    for against in ("training.lr", "energy"):
        main([str(tmp_path), "--against", against, "--picture", str(tmp_path / f"{against}.png")])
        assert capsys.readouterr().out.count("\n") == 6
        assert (tmp_path / f"{against}.png").read_bytes().startswith(b"\x89PNG")
