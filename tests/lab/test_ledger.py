"""The ledger: one row per trial, consistent whatever happens to the process that writes it."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from neurofdfa.errors import UserError
from neurofdfa.lab.ledger import Ledger, Trial
from neurofdfa.lab.results import Measurement, RunResult


def trials(n: int) -> list[Trial]:
    return [
        Trial(
            number=k, hash=f"{k:064x}", point=k // 2, seed=k % 2, settings={"training.lr": 0.1 * (k // 2)},
            folder=f"runs/{k}",
        )
        for k in range(n)
    ]  # fmt: skip


def result(accuracy: float = 0.5) -> RunResult:
    return RunResult(validation_accuracy=accuracy, test_accuracy=accuracy, best_epoch=1)


def measured(seconds: float = 1.0) -> Measurement:
    return Measurement(seconds=seconds, peak_mib=2.0)


def test_a_trial_goes_from_waiting_to_its_outcome(tmp_path: Path) -> None:
    first, second = trials(2)
    with Ledger(tmp_path / "l") as ledger:
        ledger.expect([first, second])
        assert [t.status for t in ledger.trials()] == ["waiting", "waiting"]
        ledger.start(first.hash)
        ledger.finish(first.hash, result(), measured())
        ledger.fail(second.hash, "no such rule")
    with Ledger(tmp_path / "l") as ledger:
        done, failed = ledger.trials()
    assert (done.status, done.result, done.measured) == ("done", result(), measured())
    assert done.settings == first.settings
    assert (failed.status, failed.reason, failed.result) == ("failed", "no such rule", None)


def test_expecting_again_keeps_outcomes_and_takes_new_numbers(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.expect(trials(2))
        ledger.finish(trials(2)[1].hash, result(), measured())
        moved = Trial(
            number=7, hash=trials(2)[1].hash, point=3, seed=1, settings={"a": 1}, folder="elsewhere"
        )
        ledger.expect([moved])
        found = ledger.trials()[1]
    assert (found.number, found.point, found.settings) == (7, 3, {"a": 1})
    assert (found.status, found.result, found.folder) == ("done", result(), "runs/1")


def test_release_lets_interrupted_trials_wait_again_and_failed_ones_when_asked(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.expect(trials(3))
        names = [t.hash for t in trials(3)]
        ledger.start(names[0])
        ledger.fail(names[1], "why")
        ledger.finish(names[2], result(), measured())
        ledger.release()
        assert [t.status for t in ledger.trials()] == ["waiting", "failed", "done"]
        ledger.release(failed=True)
        assert [t.status for t in ledger.trials()] == ["waiting", "waiting", "done"]
        assert ledger.trials()[1].reason is None


def test_the_fingerprint_sees_results_and_not_the_machine(tmp_path: Path) -> None:
    def made(name: str, accuracy: float, seconds: float) -> str:
        with Ledger(tmp_path / name) as ledger:
            ledger.expect(trials(1))
            ledger.finish(trials(1)[0].hash, result(accuracy), measured(seconds))
            return ledger.fingerprint()

    assert made("a", 0.5, 1.0) == made("b", 0.5, 2.0)
    assert made("a", 0.5, 1.0) != made("c", 0.6, 1.0)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l").write_text("not a database, but long enough to be read as the header of one " * 20)
    with pytest.raises(UserError, match="not a usable ledger"):
        Ledger(tmp_path / "l")


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "l") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer neurofdfa"):
        Ledger(tmp_path / "l")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE trials SET settings = '{'", "trial 0, settings is not valid JSON"),
        ("UPDATE trials SET settings = '[1]'", "`settings` should be an object"),
        ("UPDATE trials SET status = 'done', result = '{}', measured = '{}'", "Field required"),
        ("UPDATE trials SET status = 'done'", "its result says otherwise"),
        ("UPDATE trials SET number = 'x'", "valid integer"),
        ("UPDATE trials SET folder = x'00ff'", "bytes where text belongs"),
        ("ALTER TABLE trials RENAME COLUMN folder TO place", "not a usable ledger"),
        ("DROP TABLE trials", "not a usable ledger"),
    ],
)
def test_a_damaged_ledger_is_refused_in_one_line(tmp_path: Path, damage: str, says: str) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.expect(trials(1))
        with sqlite3.connect(tmp_path / "l") as connection:
            connection.execute(damage)
        connection.close()
        with pytest.raises(UserError, match=says) as caught:
            ledger.trials()
    assert "\n" not in str(caught.value)


WRITER = """
import sys
from pathlib import Path
from neurofdfa.lab.ledger import Ledger, Trial
from neurofdfa.lab.results import Measurement, RunResult
n = 400
trials = [
    Trial(number=k, hash=f"{k:064x}", point=k, seed=0, settings={}, folder=f"runs/{k}") for k in range(n)
]
scores = dict(validation_accuracy=0.5, test_accuracy=0.5, curve=[0.5] * 400)
with Ledger(Path(sys.argv[1])) as ledger:
    ledger.expect(trials)
    for trial in trials:
        ledger.start(trial.hash)
        result = RunResult(best_epoch=trial.number, **scores)
        ledger.finish(trial.hash, result, Measurement(seconds=1.0, peak_mib=1.0))
        print(trial.number, flush=True)
"""


def test_what_was_finished_before_a_sigkill_is_there_and_nothing_is_half_written(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "l")], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    said = -1
    for line in writer.stdout:
        said = int(line)
        if said == 150:
            os.kill(writer.pid, signal.SIGKILL)
            break
    said = max([said, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait()
    with Ledger(tmp_path / "l") as ledger:
        found = ledger.trials()
    with sqlite3.connect(tmp_path / "l") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(found) == 400
    assert all(t.status == "done" and t.result is not None for t in found[: said + 1])
    assert all((t.result is not None) == (t.status == "done") for t in found)
    assert any(t.status == "waiting" for t in found)
    assert [t.result.best_epoch for t in found if t.result] == [t.number for t in found if t.result]
