"""Rules side by side: paired seeds, rows that say what the run folders say, resumable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurofdfa import report
from neurofdfa.errors import UserError
from neurofdfa.lab.comparison import ALIGNMENT_SAMPLES, compare, plan
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.record import read_summary
from neurofdfa.lab.results import Comparison
from neurofdfa.lab.statistics import paired

BASE = RunConfig().with_settings(
    {
        "data.encoder": "poisson",
        "data.steps": 4,
        "network.hidden": (12,),
        "training.epochs": 2,
        "training.batch": 128,
        "training.warmup": 2,
        "training.lr": 0.02,
    }
)
OWN = {"dfa": {"training.lr": 0.01}}
RULES, SEEDS = ("fdfa", "dfa", "bptt"), (3, 4, 9)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("comparison") / "c"
    return folder, compare(plan(BASE, RULES, SEEDS, OWN), folder, workers=2)


def test_every_row_is_the_mean_of_its_run_folders(made: tuple[Path, Comparison]) -> None:
    folder, document = made
    assert [row.rule for row in document.rows] == list(RULES)
    for row in document.rows:
        runs = [read_summary(folder / f"{row.rule}-s{seed}") for seed in SEEDS]
        test = [run.test_accuracy for run in runs]
        assert row.mean == pytest.approx(np.mean(test))
        assert row.std == pytest.approx(np.std(test, ddof=1))
        half = 4.302652729749 * np.std(test, ddof=1) / np.sqrt(3)  # t(0.975, 2)
        assert row.ci95 == pytest.approx([np.mean(test) - half, np.mean(test) + half])
        assert row.validation_mean == pytest.approx(np.mean([r.validation_accuracy for r in runs]))
        assert row.seconds == pytest.approx(np.mean([run.seconds for run in runs]))
        assert row.peak_mib == pytest.approx(np.mean([run.peak_mib for run in runs]))
        assert row.firing_rate == pytest.approx(np.mean([run.firing_rate for run in runs]))
        assert row.n == 3
        assert row.failed == ()


def test_seeds_are_shared_and_settings_of_single_rules_are_their_own(
    made: tuple[Path, Comparison],
) -> None:
    folder, _ = made
    for rule in RULES:
        for seed in SEEDS:
            config = load_config(folder / f"{rule}-s{seed}" / "config.toml")
            assert (config.rule.name, config.seed) == (rule, seed)
            assert config.training.lr == (0.01 if rule == "dfa" else 0.02)
            assert config.training.alignment_samples == (0 if rule == "bptt" else ALIGNMENT_SAMPLES)


def test_differences_are_paired_with_the_first_rule(made: tuple[Path, Comparison]) -> None:
    folder, document = made
    test = {
        rule: {seed: read_summary(folder / f"{rule}-s{seed}").test_accuracy for seed in SEEDS}
        for rule in RULES
    }
    assert document.rows[0].difference is None
    p = []
    for row in document.rows[1:]:
        assert row.difference is not None
        expected = paired(test[row.rule], test["fdfa"])
        assert expected is not None
        assert row.difference.mean == expected.mean
        assert row.difference.p_t == expected.p_t
        p.append(expected.p_t)
    low, high = sorted(p)
    adjusted = sorted(row.difference.p_holm for row in document.rows[1:])
    assert adjusted == pytest.approx(sorted([min(1, 2 * low), max(min(1, 2 * low), high)]))


def test_alignment_is_measured_for_local_rules_at_the_chosen_epoch(
    made: tuple[Path, Comparison],
) -> None:
    _, document = made
    values = {row.rule: row.alignment for row in document.rows}
    assert values["bptt"] is None
    assert -1 <= values["dfa"] <= 1
    assert -1 <= values["fdfa"] <= 1


def test_finished_runs_are_reused_and_a_removed_one_runs_again_to_the_same_result(
    made: tuple[Path, Comparison],
) -> None:
    folder, document = made
    (folder / "dfa-s4" / "summary.json").rename(folder / "dfa-s4" / "summary.json.before")
    (folder / "dfa-s4" / "summary.json.before").unlink()
    kept = (folder / "fdfa-s3" / "summary.json").stat().st_mtime_ns
    again = compare(plan(BASE, RULES, SEEDS, OWN), folder, workers=1)
    assert (folder / "fdfa-s3" / "summary.json").stat().st_mtime_ns == kept
    for before, after in zip(document.rows, again.rows, strict=True):
        assert [run.result for run in before.runs] == [run.result for run in after.runs]


def test_another_config_in_a_run_folder_fails_that_run_only_when_others_finish(
    made: tuple[Path, Comparison], tmp_path: Path
) -> None:
    folder, _ = made
    other = BASE.with_settings({"training.lr": 0.5})
    with pytest.raises(UserError, match=r"every run failed.*another config"):
        compare(plan(other, ("fdfa",), (3,), {}), folder, workers=1)
    mixed = compare(plan(other, ("fdfa",), (3, 5), {}), folder, workers=1)
    (row,) = mixed.rows
    assert row.n == 1
    assert row.ci95 is None
    assert [f.seed for f in row.failed] == [3]
    assert "another config" in row.failed[0].reason


@pytest.mark.parametrize(
    ("rules", "seeds", "own", "says"),
    [
        (("fdfa", "nope"), (0,), {}, "unknown rule 'nope'"),
        (("fdfa", "fdfa"), (0,), {}, "rule is listed twice"),
        (("fdfa",), (1, 1), {}, "seed is listed twice"),
        ((), (0,), {}, "at least one rule"),
        (("fdfa",), (0,), {"dfa": {"training.lr": 1.0}}, "not among the rules"),
        (("fdfa", "dfa"), (0,), {"dfa": {"rule.options.nope": 1}}, "does not take"),
        (("fdfa",), (0,), {"fdfa": {"training.lr": -1.0}}, "greater than 0"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_does(
    rules: tuple[str, ...], seeds: tuple[int, ...], own: dict[str, dict[str, Any]], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        plan(BASE, rules, seeds, own)


def test_the_report_shows_the_numbers(made: tuple[Path, Comparison]) -> None:
    folder, _ = made
    document = compare(plan(BASE, RULES, SEEDS, OWN), folder, workers=1)
    html = report.write(folder).read_text()
    for row in document.rows:
        assert f"{100 * row.mean:.2f}" in html
        assert f"{100 * row.validation_mean:.2f}" in html
    for part in ("Learning curves", "Accuracy × time", "Accuracy × memory", "Accuracy × firing", "p, Holm"):
        assert part in html
    assert report.figure(folder).startswith(b"\x89PNG")
