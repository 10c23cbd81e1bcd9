"""Rules for every test: no silent skips in CI, repeatable examples, one worker for many-process tests."""

from __future__ import annotations

import functools
import os
import runpy
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    import numpy as np
    import torch

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Before anything imports torch or numpy (which this file leaves to the tests): one thread per worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests of the cache name a folder of their own; the others leave nothing behind.
os.environ["NEUROFDFA_CACHE"] = "off"

# A shell lets what it starts in the background ignore Ctrl-C, and so would the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

OFFLINE = Path(__file__).parent / "offline"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
CALLS: list[str] = runpy.run_path(str(OFFLINE / "sitecustomize.py"))["CALLS"]

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("serial"):
            # One xdist worker gets them all (--dist loadgroup), so that two never run at once.
            item.add_marker(pytest.mark.xdist_group("serial"))
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.may_skip_in_ci(reason="needs a CUDA device"))
            if not _cuda_is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@functools.cache
def _cuda_is_available() -> bool:
    import torch

    return torch.cuda.is_available()


def _skip_reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) and len(longrepr) == 3 else str(longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if IN_CI and skipped and not item.get_closest_marker("may_skip_in_ci"):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI=true: {_skip_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"whole module skipped where CI=true: {_skip_reason(report.longrepr)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped tests: {skipped}")


@pytest.fixture(autouse=True)
def nobody_is_called(request: pytest.FixtureRequest) -> Generator[None]:
    """Fail a test that calls another machine, even where what it starts goes on without an answer."""
    CALLS.clear()
    yield
    called = [] if request.node.get_closest_marker("calls_elsewhere") else CALLS
    assert not called, f"called: {', '.join(map(str, called))}"


@pytest.fixture
def package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs that the test starts reach an index of packages: pip is what is tested."""
    others = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path != str(OFFLINE)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(others))


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator with a fixed seed, fresh for each test."""
    import torch

    return torch.Generator().manual_seed(20240607)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator with a fixed seed, fresh for each test."""
    import numpy as np

    return np.random.default_rng(20240607)
