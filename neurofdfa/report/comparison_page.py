"""The report of a comparison: rules × seeds on one task."""

import math
from collections.abc import Sequence

from neurofdfa.lab.record import RunFolder
from neurofdfa.lab.results import Comparison, RuleSummary
from neurofdfa.lab.statistics import estimate
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.costs import COST_COLUMNS, COSTS_IN_WORDS, cost_cells, on_front, trade_offs
from neurofdfa.report.learning import accuracy_window
from neurofdfa.report.page import Block, Figure, KeyFigure, Page, Panel, Section, footer, provenance
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.curves import NAMED, Series, curves
from neurofdfa.report.plot.dots import MARGINS, Dot, accuracy_limits, dots, height
from neurofdfa.report.plot.style import Draw, Stroke, rule_stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.studies import ComparisonFolder, failures, seeds_in_words
from neurofdfa.rules import DEFAULT, rule_title


def comparison_page(comparison: ComparisonFolder) -> Page:
    """Compose the page; a part without data is left out."""
    record = comparison.found
    names = [rule_title(row.rule) for row in record.rows]
    configs = [
        (f"{name}, first seed", runs[0]) for name, runs in zip(names, comparison.runs, strict=True) if runs
    ]
    return Page(
        title=f"neurofdfa: {len(record.rows)} rules on {record.data}",
        kicker="neurofdfa comparison",
        headline=_headline(record),
        summary=_summary(record),
        key_figures=tuple(
            KeyFigure(words.with_interval(row.mean, row.ci95), f"test accuracy with {name}")
            for row, name in zip(record.rows[:4], names, strict=False)
            if row.mean is not None
        ),
        sections=(
            Section("The rules side by side", (*_dots(record), _table(record))),
            Section("Learning curves", tuple(_curves(comparison))),
            Section("What accuracy costs", tuple(trade_offs(record.rows, names, _strokes(record)))),
            Section("Failed runs", tuple(failures(record.rows, names))),
            Section(
                "How it was made", tuple(provenance(record.command, record.versions, configs, folded=True))
            ),
        ),
        footer=footer(comparison.folder),
    )


def comparison_picture(comparison: ComparisonFolder) -> bytes:
    """Learning curves and test accuracy as PNG."""
    record = comparison.found
    parts: list[Part] = []
    if series := _series(comparison):
        parts.append(Part(f"{record.data}: learning", printed(_learning(series)), named_lines=True))
    if rows := _dot_rows(record):
        plot = dots(rows, across="test accuracy, %", limits=accuracy_limits(rows))
        parts.append(Part("Test accuracy", printed(plot)))
    return compose(parts)


def _strokes(record: Comparison) -> list[Stroke]:
    rules = [row.rule for row in record.rows]
    return [rule_stroke(rule, rules) for rule in rules]


def _headline(record: Comparison) -> str:
    known = [row for row in record.rows if row.mean is not None]
    if not known:
        return f"A comparison on {record.data} without a finished run"
    said = [
        f"{rule_title(row.rule)} {words.percent(row.mean)}"
        for row in sorted(known, key=lambda row: -(row.mean or 0.0))[:4]
    ]
    return f"Test accuracy on {record.data}, mean of {seeds_in_words(record.seeds)}: {words.listed(said)}."


def _summary(record: Comparison) -> str:
    if len(record.seeds) < 2:
        return "One seed: no interval and no test; ask for more with --seeds."
    return (
        f"Every rule ran with the same {seeds_in_words(record.seeds)}, so that differences from "
        f"{rule_title(record.reference)} are paired. Epochs were chosen on validation data; "
        "the test split was opened once per run."
    )


def _dot_rows(record: Comparison) -> list[Dot]:
    rules = [row.rule for row in record.rows]
    rows = sorted((row for row in record.rows if row.mean is not None), key=lambda row: -(row.mean or 0.0))
    return [
        Dot(
            rule_title(row.rule),
            100 * (row.mean or 0.0),
            words.with_interval(row.mean, row.ci95),
            rule_stroke(row.rule, rules).colour,
            low=max(0.0, 100 * row.ci95[0]) if row.ci95 else None,
            high=min(100.0, 100 * row.ci95[1]) if row.ci95 else None,
            strong=row.rule == DEFAULT.name,
        )
        for row in rows
    ]


def _dots(record: Comparison) -> list[Block]:
    rows = _dot_rows(record)
    if not rows:
        return []
    plot = dots(rows, across="test accuracy, %", limits=accuracy_limits(rows))
    svg = draw(
        plot, key="rules", label="Test accuracy of each rule", height=height(len(rows)), margins=MARGINS
    )
    caption = (
        "Mean over seeds; the wide bar is its 95 % interval (Student's t). The axis need not start at zero."
    )
    return [Figure((Panel("Test accuracy", svg),), caption)]


def _table(record: Comparison) -> Table:
    best = max((row.validation_mean for row in record.rows if row.validation_mean is not None), default=None)
    reference = rule_title(record.reference)
    columns = (
        Column("Rule", number=False),
        Column("Test accuracy"),
        Column("Validation"),
        Column(f"Points from {reference}"),
        Column("p, t test"),
        Column("p, Holm"),
        Column("p, Wilcoxon"),
        *COST_COLUMNS,
    )
    caption = (
        f"Mean ± half of the 95 % interval over {seeds_in_words(record.seeds)}. Points from {reference}: "
        "paired difference of the test accuracy in percentage points; p of the paired t test, the same "
        "after Holm's correction for all rules, and of Wilcoxon's signed-rank test. Bold: best on validation "
        f"data. {COSTS_IN_WORDS}"
    )
    front = on_front(record.rows)
    return Table(
        columns, tuple(_cells(row, best, place in front) for place, row in enumerate(record.rows)), caption
    )


def _cells(row: RuleSummary, best: float | None, front: bool) -> tuple[Cell, ...]:
    difference = row.difference
    tests = (difference.p_t, difference.p_holm, difference.p_wilcoxon) if difference else (None,) * 3
    mark = "best" if best is not None and row.validation_mean == best else ""
    return (
        Cell(rule_title(row.rule), rule_title(row.rule).lower()),
        Cell(words.with_interval(row.mean, row.ci95), row.mean),
        Cell(words.with_interval(row.validation_mean, row.validation_ci95), row.validation_mean, mark),
        Cell(
            words.with_interval(difference.mean, difference.ci95, signed=True) if difference else words.DASH,
            difference.mean if difference else None,
        ),
        *(Cell(words.figures(p, 2), p) for p in tests),
        *cost_cells(row, front),
    )


def _curves(comparison: ComparisonFolder) -> list[Block]:
    series = _series(comparison)
    if not series:
        return []
    svg = draw(_learning(series), key="learning", label="Learning curves", height=300, margins=NAMED)
    caption = (
        "Accuracy on the validation split after each epoch: mean over seeds, the band is its 95 % interval. "
        "The axis starts where the curves come apart."
    )
    return [Figure((Panel(comparison.found.data, svg),), caption)]


def _learning(series: Sequence[Series]) -> Draw:
    return curves(series, across="epoch", up="validation accuracy, %", limits=accuracy_window(series))


def _series(comparison: ComparisonFolder) -> list[Series]:
    found = comparison.found
    made = [
        _one(row.rule, runs, stroke)
        for row, runs, stroke in zip(found.rows, comparison.runs, _strokes(found), strict=True)
    ]
    return [series for series in made if series.last is not None]


def _one(rule: str, runs: Sequence[RunFolder], stroke: Stroke) -> Series:
    epochs: dict[float, list[float]] = {}
    for run in runs:
        for epoch in run.epochs:
            if math.isfinite(epoch.validation_accuracy):
                epochs.setdefault(epoch.epoch, []).append(100 * epoch.validation_accuracy)
    x = sorted(epochs)
    found = [estimate(epochs[epoch]) for epoch in x]
    ends = [None if e is None else e.ci95 for e in found]
    banded = bool(ends) and all(end is not None for end in ends)
    return Series(
        rule_title(rule),
        tuple(x),
        tuple(None if e is None else e.mean for e in found),
        stroke,
        tuple(None if end is None else end[0] for end in ends) if banded else (),
        tuple(None if end is None else end[1] for end in ends) if banded else (),
    )
