"""Runs in worker processes: what dies costs an attempt, what fails is told, what is finished is reused."""

import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from neurofdfa.errors import UserError
from neurofdfa.io import locked
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.record import Summary
from neurofdfa.lab.run_or_resume import Failure, Job, outcome_of, run_or_resume
from neurofdfa.lab.workers import outcomes, run_jobs

TINY = {
    "data.encoder": "poisson",
    "data.steps": 3,
    "network.hidden": (8,),
    "training.epochs": 2,
    "training.batch": 256,
    "training.warmup": 2,
}


def tiny(**settings: object) -> RunConfig:
    return RunConfig().with_settings(TINY | settings)


def kill_workers() -> None:
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()


def test_a_killed_worker_costs_its_run_one_attempt_and_changes_nothing(tmp_path: Path) -> None:
    job = Job("one", tiny(), tmp_path / "cut", reuse=True)
    killed: list[int] = []

    def kill_once(name: str, epoch: object, epochs: int) -> None:
        if not killed:
            killed.append(1)
            kill_workers()

    with closing(outcomes([job], 1, kill_once)) as finished:
        ((_, outcome),) = list(finished)
    assert killed
    undisturbed = outcome_of(Job("two", tiny(), tmp_path / "whole"))
    assert isinstance(outcome, Summary)
    assert isinstance(undisturbed, Summary)
    assert (outcome.test_accuracy, outcome.firing_rate) == (
        undisturbed.test_accuracy,
        undisturbed.firing_rate,
    )


def test_a_run_whose_worker_always_dies_fails_with_the_reason(tmp_path: Path) -> None:
    job = Job("one", tiny(), tmp_path / "r", reuse=True)
    starts: list[str] = []

    def kill(job: Job) -> None:
        starts.append(job.name)
        kill_workers()

    with closing(outcomes([job], 1, None, kill)) as finished:
        assert list(finished) == [
            (job, Failure("the worker process died 3 times, of signal 9 (out of memory?)"))
        ]
    assert starts == ["one"] * 3


def test_a_failure_that_nobody_foresaw_is_told_with_its_traceback(tmp_path: Path) -> None:
    job = Job("huge", tiny(**{"network.hidden": (8, 2**45)}), tmp_path / "r", reuse=True)
    for _ in range(2):  # what the first attempt left does not hinder the second
        outcome = outcome_of(job)
        assert isinstance(outcome, Failure)
        assert outcome.reason.startswith("RuntimeError: ")
        assert "\n" not in outcome.reason
        assert "Traceback" in (tmp_path / "r" / "failure.txt").read_text()


def test_run_jobs_raises_the_first_failure(tmp_path: Path) -> None:
    jobs = [Job("fine", tiny(), tmp_path / "a"), Job("bad", tiny(**{"rule.name": "nope"}), tmp_path / "b")]
    with pytest.raises(UserError, match="bad: unknown rule 'nope'"):
        run_jobs(jobs, 1)
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]


def test_finished_runs_are_read_and_other_configs_refused(tmp_path: Path) -> None:
    first = run_or_resume(tiny(), tmp_path / "r")
    before = (tmp_path / "r" / "summary.json").stat().st_mtime_ns
    assert run_or_resume(tiny(), tmp_path / "r") == first
    assert (tmp_path / "r" / "summary.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another config"):
        run_or_resume(tiny(**{"training.lr": 0.5}), tmp_path / "r")


def test_what_a_killed_write_left_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / ".config.toml.abc.tmp").write_text("hal")
    assert run_or_resume(tiny(), tmp_path).seed == 0
    assert not list(tmp_path.glob(".*"))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        run_or_resume(tiny(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_locked_folder_is_busy_until_its_holder_lets_go(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="busy"), locked(tmp_path, busy="busy"):
        raise AssertionError
    with locked(tmp_path, busy="busy"):
        pass
