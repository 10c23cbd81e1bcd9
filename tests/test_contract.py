"""The blocks of docs/python.md run as they stand there, character for character."""

import json
import re
from pathlib import Path

import pytest

from neurofdfa.cli import run as command

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def execute(code: str) -> None:
    exec(compile(code, PAGE.name, "exec"), {})


def test_the_loop_learns_and_its_network_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    execute(BLOCKS[0])
    accuracies = [float(found) for found in re.findall(r"accuracy ([0-9.]+)%", capsys.readouterr().out)]
    assert len(accuracies) == 10
    assert accuracies[-1] > 80
    assert (tmp_path / "net.nir").stat().st_size > 0


def test_an_own_network_becomes_a_folder_for_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    execute(BLOCKS[1])
    assert (tmp_path / "runs" / "bars" / "report.html").exists()
    assert "64-256-2 with fdfa on bars" in capsys.readouterr().out
    assert command(["evaluate", "runs/bars", "--backend", "fixed-point", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accuracy"] > 0.5
