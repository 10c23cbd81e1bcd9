"""Nothing is skipped silently in CI: checked by running pytest in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

MODULE = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="no Lava here")
def test_silent(): pass

@pytest.mark.may_skip_in_ci(reason="needs a second GPU")
@pytest.mark.skip(reason="one GPU only")
def test_allowed(): pass
"""


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(HERE / "conftest.py", folder / "conftest.py")
    shutil.copytree(HERE / "offline", folder / "offline")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n    may_skip_in_ci(reason)\n    serial\n    gpu\n    calls_elsewhere(reason)\n"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_skips_are_failures_in_ci_unless_marked(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(MODULE)
    done = run_pytest(tmp_path, CI="true")
    assert done.returncode == 1
    assert "1 passed, 1 skipped, 1 error" in done.stdout
    assert "no Lava here" in done.stdout
    assert "skipped tests: 1" in done.stdout


def test_skips_stay_skips_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(MODULE)
    done = run_pytest(tmp_path)
    assert done.returncode == 0
    assert "skipped tests: 2" in done.stdout


@pytest.mark.parametrize(("ci", "code"), [("true", 2), ("", 0)])
def test_a_module_that_skips_itself_counts(tmp_path: Path, ci: str, code: int) -> None:
    (tmp_path / "test_runs.py").write_text("def test_runs(): pass\n")
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such_simulator')\n")
    done = run_pytest(tmp_path, CI=ci)
    assert done.returncode == code
    assert "no_such_simulator" in done.stdout
