"""One demo folder and one browser for all tests of the report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from neurofdfa import report
from tests.report.browser import Browser, find_chromium
from tests.report.synthetic import demo_folder


@pytest.fixture(scope="session")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a finished demo."""
    return report.write(demo_folder(tmp_path_factory.mktemp("demos") / "demo"))


@pytest.fixture
def demo(demo_page: Path, tmp_path: Path) -> Path:
    """A demo folder to change, without a report."""
    folder = tmp_path / "demo"
    shutil.copytree(demo_page.parent, folder, ignore=shutil.ignore_patterns("report.html"))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: install it (Debian: chromium) or set NEUROFDFA_CHROMIUM")
    with Browser(program) as started:
        yield started
