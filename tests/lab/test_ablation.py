"""Sweeps: what a study spans, and that nothing that happens to the process changes what is found."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurofdfa.errors import UserError
from neurofdfa.lab.ablation import State, ablate
from neurofdfa.lab.ledger import Ledger, Trial
from neurofdfa.lab.record import read_summary
from neurofdfa.lab.run_or_resume import locked
from neurofdfa.lab.space import Study
from neurofdfa.lab.study_file import read_study
from neurofdfa.lab.tables import sweep_markdown

BASE = """
[base]
data = { encoder = "poisson", steps = 3 }
"network.hidden" = [8]
"training.epochs" = 3
"training.batch" = 256
"training.warmup" = 2
"""
SWEEP = f"""
name = "tiny"
seeds = [0, 1]
{BASE}
[[cases]]
"rule.name" = "fdfa"
[[cases]]
"rule.name" = "dfa"
[[cases]]
"rule.name" = "dfa"
"training.start_from" = "nowhere"
[grid]
"training.lr" = [0.003, 0.03]
"network.reset" = ["hard", "soft"]
"""
SMALL = 'seeds = 1\n{base}\n[grid]\n"training.lr" = {values}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "s.toml"
    path.write_text(text)
    return path


def study(folder: Path, text: str) -> Study:
    return read_study(written(folder, text))


def small(folder: Path, values: str) -> Path:
    return written(folder, SMALL.format(base=BASE.replace('epochs" = 3', 'epochs" = 1'), values=values))


def outcome(trial: Trial) -> tuple[object, ...]:
    return (trial.number, trial.hash, trial.status, trial.reason, trial.result, trial.folder)


# --- what is spanned -----------------------------------------------------------------------------------


def test_a_grid_is_every_combination_with_cases_and_seeds(tmp_path: Path) -> None:
    found = study(
        tmp_path,
        """
        seeds = [4, 5]
        [grid]
        "data.steps" = [2, 3]
        training.lr = [0.1]
        [[cases]]
        "rule.name" = "fdfa"
        [[cases]]
        "rule.name" = "dfa"
        "training.batch" = 8
        """,
    )
    assert found.seeds == (4, 5)
    assert found.points() == [
        {"rule.name": "fdfa", "data.steps": 2, "training.lr": 0.1},
        {"rule.name": "fdfa", "data.steps": 3, "training.lr": 0.1},
        {"rule.name": "dfa", "training.batch": 8, "data.steps": 2, "training.lr": 0.1},
        {"rule.name": "dfa", "training.batch": 8, "data.steps": 3, "training.lr": 0.1},
    ]
    assert found.varied == ("rule.name", "training.batch", "data.steps", "training.lr")


TASKS = """
seeds = [5, 6]
[base]
"training.epochs" = 1
"training.batch" = 64
"training.engine" = "auto"
"network.hidden" = [8]
[tasks.short]
"data.steps" = 2
[tasks.long]
"data.root" = "here"
"data.steps" = 3
"training.epochs" = 2
[tasks.long.choose]
"training.lr" = [0.05, 0.00002]
[choose]
"training.lr" = [0.00001, 0.05]
[grid]
"rule.name" = ["dfa", "nope"]
"""


def test_tasks_have_settings_and_choices_of_their_own(tmp_path: Path) -> None:
    found = study(tmp_path, TASKS)
    points = found.points()
    assert len(points) == 8
    assert points[0] == {"task": "short", "rule.name": "dfa", "training.lr": 0.00001}
    assert [p["training.lr"] for p in points if p["task"] == "long"] == 2 * [0.05, 0.00002]
    last = found.settings(points[-1])
    assert (last["data.steps"], last["training.epochs"], last["rule.name"]) == (3, 2, "nope")
    assert "task" not in last
    assert last["data.root"] == "here"
    assert {found.rooted(Path("there")).settings(point)["data.root"] for point in points} == {"there"}
    assert found.settings(points[0])["training.epochs"] == 1
    assert found.varied == ("task", "rule.name", "training.lr")
    assert found.chosen == ("training.lr",)


RANDOM = """
[random]
trials = {trials}
seed = 3
"training.lr" = {{ log = [1e-4, 1e-1] }}
"network.surrogate_width" = {{ uniform = [0.2, 1.0] }}
"data.steps" = {{ integer = [2, 4] }}
"network.hidden" = {{ choice = [[8], [8, 8]] }}
"""


def test_random_draws_follow_their_distributions_and_their_seed(tmp_path: Path) -> None:
    points = study(tmp_path, RANDOM.format(trials=2000)).points()
    assert points == study(tmp_path, RANDOM.format(trials=2000)).points()
    lr = np.array([p["training.lr"] for p in points])
    assert lr.min() >= 1e-4
    assert lr.max() <= 1e-1
    # three decades, each a third of the draws: standard deviation of a third is 0.0105
    assert np.histogram(np.log10(lr), [-4, -3, -2, -1])[0] / 2000 == pytest.approx([1 / 3] * 3, abs=0.04)
    width = np.array([p["network.surrogate_width"] for p in points])
    assert np.histogram(width, [0.2, 0.6, 1.0])[0].sum() == 2000
    assert width.mean() == pytest.approx(0.6, abs=0.02)
    assert {p["data.steps"] for p in points} == {2, 3, 4}
    assert {tuple(p["network.hidden"]) for p in points} == {(8,), (8, 8)}


def test_more_trials_keep_the_first_ones(tmp_path: Path) -> None:
    few = study(tmp_path, RANDOM.format(trials=5)).points()
    assert study(tmp_path, RANDOM.format(trials=9)).points()[:5] == few


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid = 3", r"must be a table, \[grid\]"),
        ("nope = 1", "unknown .'nope'."),
        ("seeds = []", "seeds must be"),
        ("seeds = [1, 1]", "listed twice"),
        ("seeds = [-1]", "0 or more"),
        ('[grid]\n"training.lrr" = [1]', "no setting 'training.lrr'.*did you mean training.lr"),
        ('[grid]\n"rule.option.fraction" = [1]', "did you mean rule.options.fraction"),
        ('[grid]\n"device.zzz" = [1]', "device has device.feedback_bits, "),
        ('[grid]\n"speed" = [1]', "the tables are data, network, rule, training, device"),
        ('[base]\n"device.drop" = 2', r"\[base\] device.drop"),
        ('[grid]\n"seed" = [1]', "'seed' is not a setting"),
        ('[grid]\n"training.lr" = 1', "needs a list"),
        ('[base]\n"training.lr" = -1.0', "training.lr: .* greater than 0"),
        ('[random]\n"training.lr" = {log = [1e-3, 1e-1]}', "trials must be"),
        ('[random]\ntrials = 2\n"training.lr" = {log = [0.0, 1e-1]}', "spans nothing"),
        ('[random]\ntrials = 2\n"training.lr" = {uniform = [2, 1]}', "spans nothing"),
        ('[random]\ntrials = 2\n"training.lr" = {normal = [2, 1]}', "no setting|needs one of"),
        ('[random]\ntrials = 2\n"data.steps" = {integer = [1.5, 3]}', r"integer = \[low, high\]"),
        ('[grid]\n"training.lr" = [1]\n[[cases]]\n"training.lr" = 2', "varied twice"),
        ("[search]", r"what \[random\] spans"),
        ('[choose]\n"training.lr" = [1]\n[grid]\n"training.lr" = [2]', "'training.lr' is varied twice"),
        ('[tasks.a]\n"training.lr" = 1\n[grid]\n"training.lr" = [2]', "'training.lr' is varied twice"),
        ('[tasks.a]\n"training.lr" = -1', r"\[tasks.a\] training.lr: .* greater than 0"),
        ('[tasks.a]\n"data.stepps" = 1', "did you mean data.steps"),
        ("[tasks]\na = 1", r"'a' must be a table"),
        ("seeds = = 1", "not valid TOML"),
        ("seeds = " + "[" * 3000, "nested too deeply|not valid TOML"),
        ("seeds = " + "9" * 5000, "not valid TOML"),
        ("seeds = 1000000000", "at most 100000"),
        ("[random]\ntrials = 1" + "0" * 400, "at most"),
        ('[random]\ntrials = 2\n"training.lr" = {uniform = [0, inf]}', "finite bounds"),
        ('[random]\ntrials = 2\n"data.steps" = {integer = [0, 1' + "0" * 400 + "]}", "finite bounds"),
        (
            "[grid]\n"
            + "\n".join(
                f'"{key}" = {list(range(1, 101))}'
                for key in ("training.epochs", "training.batch", "data.steps")
            ),
            "more than 100000 points",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        study(tmp_path, text)


# --- what is found -------------------------------------------------------------------------------------


def test_failed_trials_are_kept_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    heard: list[State] = []
    file = small(tmp_path, "[0.01, 0.03]")
    text = file.read_text() + '"training.start_from" = ["none", "nowhere"]\n'
    result = ablate(
        written(tmp_path, text), tmp_path / "a", workers_at_once=2, on_state=lambda s, t: heard.append(s)
    )
    with Ledger(result.ledger) as ledger:
        trials = ledger.trials()
    assert (result.done, result.failed) == (2, 2)
    for trial in trials:
        if trial.settings["training.start_from"] == "nowhere":
            assert "no checkpoint at nowhere" in (trial.reason or "")
        else:
            summary = read_summary(tmp_path / "a" / trial.folder)
            assert trial.result is not None
            assert trial.result.test_accuracy == summary.test_accuracy
            assert trial.measured is not None
            for key in ("seconds", "cpu_seconds", "peak_mib"):
                assert getattr(trial.measured, key) == getattr(summary, key) > 0
        assert (trial.status == "failed") == (trial.reason is not None)
    assert (heard[-1].done, heard[-1].failed, heard[-1].total) == (2, 2, 4)


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ('"training.lr" = [0.01, -1.0]', "training.lr = -1.0: training.lr: .* greater than 0"),
        ('"rule.options.fractoin" = [0.5]', "rule 'fdfa' does not take 'fractoin'"),
        ('"rule.options.fraction" = [0.5, 7.0]', "fraction"),
        ('"rule.name" = ["fdfa", "fdfaa"]', "unknown rule 'fdfaa'"),
        ('"rule.name" = ["fdfa", "dfa"]\n"rule.options.fraction" = [0.5]', "rule 'dfa' does not take"),
        ('"data.steps.x" = [1]', "no setting 'data.steps.x'"),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_trial(tmp_path: Path, grid: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        ablate(written(tmp_path, f"{BASE}[grid]\n{grid}\n"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_best_point_is_chosen_on_validation_data(tmp_path: Path) -> None:
    result = ablate(small(tmp_path, "[0.0001, 0.03, 0.01]"), tmp_path / "a", workers_at_once=1)
    best = result.document.best_row
    assert best is not None
    assert best.validation_mean == max(row.validation_mean or 0 for row in result.document.rows)
    assert best.settings["training.lr"] != 0.0001


def test_the_first_seed_chooses_for_the_others(tmp_path: Path) -> None:
    heard: list[State] = []
    known = '"rule.name" = ["dfa"]\n"training.start_from" = ["none", "nowhere"]'
    file = written(tmp_path, TASKS.replace('"rule.name" = ["dfa", "nope"]', known))
    result = ablate(file, tmp_path / "a", workers_at_once=1, on_state=lambda s, t: heard.append(s))
    with Ledger(result.ledger) as ledger:
        trials = ledger.trials()
    assert heard[0].total == 8 + 4
    assert len(trials) == 8 + 2  # nothing to choose from where all failed
    assert (result.done, result.failed) == (6, 4)
    for task in ("short", "long"):
        rows = [row for row in result.document.rows if row.settings["task"] == task][:2]
        first = [row.runs[0].result.validation_accuracy for row in rows]
        assert first[0] != first[1]
        assert [row.chosen for row in rows] == [accuracy == max(first) for accuracy in first]
        assert [[run.seed for run in row.runs] for row in rows] == [
            [5, 6] if row.chosen else [5] for row in rows
        ]
    assert result.document.best is None
    text = sweep_markdown(result.document)
    assert text.count("| rule.name | training.start_from | short | long |") == 4
    assert "| dfa | nowhere | failed | failed |" in text
    assert ablate(file, tmp_path / "a", workers_at_once=1).fingerprint == result.fingerprint


def test_an_extended_study_runs_what_is_new_and_another_one_is_refused(tmp_path: Path) -> None:
    ablate(small(tmp_path, "[0.01]"), tmp_path / "a", workers_at_once=1)
    (first,) = (tmp_path / "a" / "runs").iterdir()
    before = (first / "summary.json").stat().st_mtime_ns
    result = ablate(small(tmp_path, "[0.03, 0.01]"), tmp_path / "a", workers_at_once=1)
    assert (result.done, result.failed) == (2, 0)
    assert (first / "summary.json").stat().st_mtime_ns == before
    fresh = ablate(small(tmp_path, "[0.03, 0.01]"), tmp_path / "b", workers_at_once=1)
    assert fresh.fingerprint == result.fingerprint
    with pytest.raises(UserError, match=r"holds 2 trial\(s\) that the study no longer spans"):
        ablate(small(tmp_path, "[0.02]"), tmp_path / "a")


def test_a_setting_at_its_default_is_the_same_run(tmp_path: Path) -> None:
    ablate(small(tmp_path, "[0.003]"), tmp_path / "a", workers_at_once=1)
    spelt_out = small(tmp_path, "[0.003]").read_text() + '"network.reset" = ["hard"]\n'
    result = ablate(written(tmp_path, spelt_out), tmp_path / "a", workers_at_once=1)
    with Ledger(result.ledger) as ledger:
        assert [trial.status for trial in ledger.trials()] == ["done"]


def test_failed_trials_run_again_when_asked(tmp_path: Path) -> None:
    file = small(tmp_path, "[0.01]")
    ablate(file, tmp_path / "a", workers_at_once=1)
    with Ledger(tmp_path / "a" / "ledger.sqlite") as ledger:
        (trial,) = ledger.trials()
        ledger.fail(trial.hash, "the worker process died")
    assert ablate(file, tmp_path / "a", workers_at_once=1).failed == 1
    assert ablate(file, tmp_path / "a", workers_at_once=1, retry_failed=True).done == 1


def test_folders_of_others_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    file = small(tmp_path, "[0.01]")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="neither empty nor the folder of a sweep"):
        ablate(file, tmp_path / "mine")
    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a"), pytest.raises(UserError, match="another process works"):
        ablate(file, tmp_path / "a")


# --- whatever happens ----------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    try:
        return {int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(done: object, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not done() and started.poll() is None:  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.serial
@pytest.mark.timeout(900)
def test_a_sweep_killed_at_random_moments_ends_with_the_ledger_of_an_undisturbed_one(tmp_path: Path) -> None:
    """24 trials, 8 of which fail; killed by SIGKILL five times, twice with all its workers."""
    file = written(tmp_path, SWEEP)
    whole = ablate(file, tmp_path / "whole", workers_at_once=2)
    assert (whole.done, whole.failed) == (16, 8)
    rng, cut = np.random.default_rng(11), tmp_path / "cut"
    command = [
        sys.executable,
        "-m",
        "neurofdfa",
        "ablate",
        str(file),
        "--out",
        str(cut),
        "--workers",
        "2",
        "-q",
    ]
    moments: list[tuple[int, int]] = []
    for kill in range(5):
        started = subprocess.Popen(command, start_new_session=True)
        seen = len(list(cut.glob("runs/*/summary.json")))
        fresh = int(rng.integers(0, 4))  # 0: while it starts
        wait_until(lambda: len(list(cut.glob("runs/*/summary.json"))) >= seen + fresh, started)  # noqa: B023
        time.sleep(float(rng.uniform(0, 1.5)))
        workers = children(started.pid)
        if kill % 2:
            os.killpg(started.pid, signal.SIGKILL)
        else:
            os.kill(started.pid, signal.SIGKILL)
        started.wait()
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in workers):  # nothing goes on by itself
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finished = 0
        if (cut / "ledger.sqlite").exists():
            with Ledger(cut / "ledger.sqlite") as ledger:
                trials = ledger.trials()
            assert all((t.status == "done") == (t.result is not None) for t in trials)
            finished = sum(t.status == "done" for t in trials)
        moments.append((finished, len(trials) if finished else 0))
    assert any(0 < done < 16 for done, _ in moments), moments  # it was really cut in the middle
    again = ablate(file, cut, workers_at_once=2)
    with Ledger(whole.ledger) as a, Ledger(again.ledger) as b:
        assert [outcome(t) for t in a.trials()] == [outcome(t) for t in b.trials()]
    assert again.fingerprint == whole.fingerprint
    for run in (cut / "runs").iterdir():
        assert not list(run.glob(".*"))
