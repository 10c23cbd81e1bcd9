"""Reports of comparisons and sweeps: what they say, and what a real browser makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from neurofdfa import report
from neurofdfa.errors import UserError
from neurofdfa.lab.results import (
    COMPARISON,
    Comparison,
    FailedRun,
    FinishedRun,
    Measurement,
    PointSummary,
    RuleSummary,
    RunResult,
    Sweep,
)
from neurofdfa.lab.statistics import Difference
from neurofdfa.report.costs import accuracy_limits, on_front
from neurofdfa.report.plot.scatter import Group, Point, Scale, log_ticks, pareto, scatter
from neurofdfa.report.plot.style import PRINTED, Stroke
from neurofdfa.report.studies import read_comparison
from neurofdfa.rules import RULES, rule_title
from tests.report.browser import Browser

RULE_NAMES = list(RULES)


def run(k: int, seed: int) -> FinishedRun:
    accuracy = 0.5 + 0.02 * k + 0.003 * seed
    result = RunResult(
        validation_accuracy=accuracy,
        test_accuracy=accuracy - 0.01 * (k % 3),
        best_epoch=1,
        firing_rate=[0.05, 0.1],
        silent_neurons=[0, 1],
        alignment=None if k % 2 else [0.5, 0.9],
        energy=1e-6 * (1 + abs(k - 4)),
    )
    measured = Measurement(seconds=3.0 - 0.1 * k, peak_mib=1.0 + k)
    return FinishedRun(seed=seed, folder=f"none-{k}-{seed}", result=result, measured=measured)


def difference(k: int) -> Difference | None:
    if k == 0:
        return None
    return Difference(3, 0.02 * k, (0.01, 0.03), p_t=1e-5, p_wilcoxon=0.25, p_holm=1e-4)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "comparison"
    folder.mkdir()
    lost = FailedRun(seed=9, reason="<b>out of memory</b>")
    rows = tuple(
        RuleSummary.of(
            [run(k, seed) for seed in (0, 1, 2)],
            [lost] if k == 3 else [],
            rule=rule,
            difference=difference(k),
        )
        for k, rule in enumerate(RULE_NAMES)
    )
    Comparison(
        command="neurofdfa compare …",
        data="digits",
        reference="fdfa",
        seeds=(0, 1, 2, 9),
        versions={"torch": "2"},
        rows=rows,
    ).write(folder / COMPARISON)
    return report.write(folder)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "ablation"
    folder.mkdir()
    settings = [
        (rule, steps, hidden) for rule in ("fdfa", "bptt") for steps in (4, 512) for hidden in (8, 16)
    ]
    rows = tuple(
        PointSummary.of(
            [run(k, 0)] if k != 5 else [],
            [] if k != 5 else [FailedRun(seed=0, reason="no such thing")],
            point=k,
            settings={"rule.name": r, "data.steps": t, "network.hidden": [n, n]},
        )
        for k, (r, t, n) in enumerate(settings)
    )
    Sweep(
        name="length and width", command="neurofdfa ablate …", seeds=(0,), done=7, failed=1,
        varied=("rule.name", "data.steps", "network.hidden"), best=7, rows=rows,
    ).write(folder / "ablation.json")  # fmt: skip
    (folder / "study.toml").write_text('name = "length and width"\n')
    return report.write(folder)


def test_a_comparison_shows_every_rule_with_both_accuracies(comparison: Path) -> None:
    html = comparison.read_text()
    for k in range(len(RULE_NAMES)):
        mean = 100 * (0.5 + 0.02 * k + 0.003)
        assert f"{mean:.2f}" in html
        assert f"{mean - (k % 3):.2f}" in html
    assert "&lt;b&gt;out of memory&lt;/b&gt;" in html
    assert comparison.read_bytes() == report.write(comparison.parent).read_bytes()
    assert report.figure(comparison.parent).startswith(b"\x89PNG")


def test_a_sweep_shows_every_point_the_best_and_what_failed(ablation: Path) -> None:
    html = ablation.read_text()
    assert "best on validation data with rule bptt, steps 512, hidden 16-16" in html
    for part in (
        "Effect of rule",
        "Effect of steps",
        "Effect of hidden",
        "no such thing",
        "7 runs done, 1 failed",
    ):
        assert part in html
    assert report.figure(ablation.parent).startswith(b"\x89PNG")


def test_the_front_over_all_costs_is_marked(comparison: Path) -> None:
    """The last row is the most accurate and fastest, the fifth takes least energy, the first least memory."""
    rows = read_comparison(comparison.parent).found.rows
    front = on_front(rows)
    assert {0, 4, len(rows) - 1} <= front
    for place, row in enumerate(rows):
        beaten = [
            other.rule
            for other in rows
            if other is not row
            and (other.mean or 0) >= (row.mean or 0)
            and all(getattr(other, cost) <= getattr(row, cost) for cost in ("seconds", "peak_mib", "energy"))
        ]
        assert (place in front) == (not beaten)
    assert comparison.read_text().count(">●<") == len(front)


def test_damaged_documents_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / COMPARISON).write_text('{"rows": 3}')
    with pytest.raises(UserError, match="`rows` should be a list"):
        report.write(tmp_path)
    (tmp_path / COMPARISON).write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        report.write(tmp_path)


def test_a_logarithmic_axis_names_its_values_as_numbers(ablation: Path) -> None:
    assert log_ticks([0.05, 0.2, 1.0, 0.2], (0.04, 1.3)) == [0.05, 0.2, 1.0]
    assert log_ticks([1, 1.1, 100], (0.5, 200)) == [1, 100]
    html = ablation.read_text()
    assert ">512</text>" in html
    assert "mathdefault" not in html


def test_time_that_drifts_with_the_machines_load_is_no_effect(ablation: Path, tmp_path: Path) -> None:
    assert "Training time</h3>" in ablation.read_text()
    found = json.loads((ablation.parent / "ablation.json").read_text())
    for place, row in enumerate(found["rows"]):
        row["seconds"] = row["cpu_seconds"] = 2 + 0.05 * place
    (tmp_path / "ablation.json").write_text(json.dumps(found))
    html = report.write(tmp_path).read_text()
    assert "Training times differ by less than a quarter" in html
    assert "Training time</h3>" not in html


def test_no_interval_is_cut_off_by_the_axis() -> None:
    narrow, wide = Point(0.05, 80.56, 80.08, 81.04), Point(0.5, 79.56, 74.85, 84.27)
    low, high = accuracy_limits([narrow, wide])
    assert low < 74.85
    assert high > 84.27
    assert accuracy_limits([Point(0, 99.0, 60.0, 138.0)])[1] == 101  # more than all is not drawn


def test_the_front_holds_what_nothing_beats() -> None:
    a, b, c, d = Point(1, 50), Point(2, 60), Point(2, 70), Point(3, 65)
    assert pareto([d, c, b, a]) == [a, c]
    assert pareto([]) == []


@pytest.mark.xdist_group("chromium")
@pytest.mark.parametrize("width", [1280, 360])
def test_both_pages_are_quiet_and_fit(browser: Browser, comparison: Path, ablation: Path, width: int) -> None:
    for page in (comparison, ablation):
        browser.open(page, width=width, dark=width < 1000)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.complaints() == []
        assert browser.requests() == [page.as_uri()]


@pytest.mark.xdist_group("chromium")
def test_the_table_of_rules_sorts_by_value(browser: Browser, comparison: Path) -> None:
    browser.open(comparison, width=1280)
    cells = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(row => row.cells[1].innerText)"
    before = browser.run(cells)
    browser.click("table thead th", 1)
    values = [float(text.split()[0]) for text in browser.run(cells)]
    assert len(values) == len(RULE_NAMES)
    assert values in (sorted(values), sorted(values, reverse=True))
    assert browser.run(cells) != before


@pytest.mark.xdist_group("chromium")
def test_names_beside_points_never_lie_on_each_other(browser: Browser, comparison: Path) -> None:
    browser.open(comparison, width=1280)
    titles = json.dumps([rule_title(name) for name in RULE_NAMES])
    names = browser.run(
        f"""[...document.querySelectorAll('svg[id^=pareto]')].map(svg => [...svg.querySelectorAll('text')]
            .filter(t => {titles}.includes(t.textContent) || /[a-z-]{{3}}/.test(t.textContent)).map(t => {{
                const r = t.getBoundingClientRect();
                return [t.textContent, r.left, r.top, r.right, r.bottom];
            }}))"""
    )
    assert len(names) == 4
    for plot in names:
        assert len(plot) >= len(RULE_NAMES) - 3
        for k, (text, left, top, right, bottom) in enumerate(plot):
            for other, left2, top2, right2, bottom2 in plot[k + 1 :]:
                apart = right <= left2 + 1 or right2 <= left + 1 or bottom <= top2 + 5 or bottom2 <= top + 5
                assert apart, (text, other)


def test_names_of_categories_are_whole_however_long() -> None:
    names = ("fdfa", "readout-only", "guided-forward-gradient", "a_name_without_any_place_to_break")
    axes = Figure().subplots()
    points = tuple(Point(float(k), 50.0) for k in range(4))
    across = Scale("rule", (-0.5, 3.5), categories=names)
    scatter([Group("", points, Stroke(0))], across, Scale("accuracy, %", (0.0, 100.0)))(axes, PRINTED)
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert [text.replace("\n", "") for text in shown] == list(names)
    assert max(len(line) for text in shown for line in text.split("\n")) <= 10
