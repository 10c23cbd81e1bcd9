"""The report of a comparison: rules × seeds on one task."""

import math
from collections.abc import Sequence

from neurofdfa.lab.statistics import estimate
from neurofdfa.report import words
from neurofdfa.report.costs import COST_COLUMNS, COSTS_IN_WORDS, cost_cells, on_front, trade_offs
from neurofdfa.report.learning import accuracy_window
from neurofdfa.report.page import (
    Block,
    Cell,
    Column,
    Figure,
    KeyFigure,
    Page,
    Panel,
    Section,
    Table,
)
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.curves import NAMED, Series, curves
from neurofdfa.report.plot.dots import MARGINS, Dot, accuracy_limits, dots, height
from neurofdfa.report.plot.style import Draw, Stroke, rule_stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.provenance import footer, provenance
from neurofdfa.report.studies import StudyRecord, StudyRow, failures, seeds_in_words, with_interval


def comparison_page(record: StudyRecord) -> Page:
    """Compose the page; a part without data is left out."""
    names = [words.rule_name(row.rule) for row in record.rows]
    configs = [(f"{words.rule_name(row.rule)}, first seed", row.runs[0]) for row in record.rows if row.runs]
    return Page(
        title=f"neurofdfa: {len(record.rows)} rules on {record.title}",
        kicker="neurofdfa comparison",
        headline=_headline(record),
        summary=_summary(record),
        key_figures=tuple(
            KeyFigure(with_interval(row.test, row.test_interval), f"test accuracy with {name}")
            for row, name in zip(record.rows[:4], names, strict=False)
            if row.test is not None
        ),
        sections=(
            Section("The rules side by side", (*_dots(record), _table(record))),
            Section("Learning curves", tuple(_curves(record))),
            Section("What accuracy costs", tuple(trade_offs(record.rows, names, _strokes(record)))),
            Section("Failed runs", tuple(failures(record, names))),
            Section(
                "How it was made", tuple(provenance(record.command, record.versions, configs, folded=True))
            ),
        ),
        footer=footer(record.folder),
    )


def comparison_picture(record: StudyRecord) -> bytes:
    """Learning curves and test accuracy as PNG."""
    parts: list[Part] = []
    if series := _series(record):
        parts.append(Part(f"{record.title}: learning", printed(_learning(series)), named_lines=True))
    if rows := _dot_rows(record):
        plot = dots(rows, across="test accuracy, %", limits=accuracy_limits(rows))
        parts.append(Part("Test accuracy", printed(plot)))
    return compose(parts)


def _strokes(record: StudyRecord) -> list[Stroke]:
    rules = [row.rule for row in record.rows]
    return [rule_stroke(rule, rules) for rule in rules]


def _headline(record: StudyRecord) -> str:
    known = [row for row in record.rows if row.test is not None]
    if not known:
        return f"A comparison on {record.title} without a finished run"
    said = [
        f"{words.rule_name(row.rule)} {words.percent(row.test)}"
        for row in sorted(known, key=lambda row: -(row.test or 0.0))[:4]
    ]
    return f"Test accuracy on {record.title}, mean of {seeds_in_words(record)}: {words.listed(said)}."


def _summary(record: StudyRecord) -> str:
    if len(record.seeds) < 2:
        return "One seed: no interval and no test; ask for more with --seeds."
    return (
        f"Every rule ran with the same {seeds_in_words(record)}, so that differences from "
        f"{words.rule_name(record.reference)} are paired. Epochs were chosen on validation data; "
        "the test split was opened once per run."
    )


def _dot_rows(record: StudyRecord) -> list[Dot]:
    rules = [row.rule for row in record.rows]
    rows = sorted((row for row in record.rows if row.test is not None), key=lambda row: -(row.test or 0.0))
    return [
        Dot(
            words.rule_name(row.rule),
            100 * (row.test or 0.0),
            with_interval(row.test, row.test_interval),
            rule_stroke(row.rule, rules).colour,
            low=max(0.0, 100 * row.test_interval[0]) if row.test_interval else None,
            high=min(100.0, 100 * row.test_interval[1]) if row.test_interval else None,
            strong=row.rule == "fdfa",
        )
        for row in rows
    ]


def _dots(record: StudyRecord) -> list[Block]:
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


def _table(record: StudyRecord) -> Table:
    best = max((row.validation for row in record.rows if row.validation is not None), default=None)
    reference = words.rule_name(record.reference)
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
        f"Mean ± half of the 95 % interval over {seeds_in_words(record)}. Points from {reference}: paired "
        "difference of the test accuracy in percentage points; p of the paired t test, the same after Holm's "
        f"correction for all rules, and of Wilcoxon's signed-rank test. Bold: best on validation data. "
        f"{COSTS_IN_WORDS}"
    )
    front = on_front(record.rows)
    return Table(columns, tuple(_cells(row, best, front) for row in record.rows), caption)


def _cells(row: StudyRow, best: float | None, front: set[int]) -> tuple[Cell, ...]:
    difference = row.difference
    tests = (difference.p_t, difference.p_holm, difference.p_wilcoxon) if difference else (None,) * 3
    mark = "best" if best is not None and row.validation == best else ""
    return (
        Cell(words.rule_name(row.rule), words.rule_name(row.rule).lower()),
        Cell(with_interval(row.test, row.test_interval), row.test),
        Cell(with_interval(row.validation, row.validation_interval), row.validation, mark),
        Cell(
            with_interval(difference.mean, difference.interval, signed=True) if difference else words.DASH,
            difference.mean if difference else None,
        ),
        *(Cell(words.figures(p, 2), p) for p in tests),
        *cost_cells(row, front),
    )


def _curves(record: StudyRecord) -> list[Block]:
    series = _series(record)
    if not series:
        return []
    svg = draw(_learning(series), key="learning", label="Learning curves", height=300, margins=NAMED)
    caption = (
        "Accuracy on the validation split after each epoch: mean over seeds, the band is its 95 % interval. "
        "The axis starts where the curves come apart."
    )
    return [Figure((Panel(record.title, svg),), caption)]


def _learning(series: Sequence[Series]) -> Draw:
    return curves(series, across="epoch", up="validation accuracy, %", limits=accuracy_window(series))


def _series(record: StudyRecord) -> list[Series]:
    made = [_one(row, stroke) for row, stroke in zip(record.rows, _strokes(record), strict=True)]
    return [series for series in made if series.last is not None]


def _one(row: StudyRow, stroke: Stroke) -> Series:
    epochs: dict[float, list[float]] = {}
    for run in row.runs:
        for epoch in run.epochs:
            if math.isfinite(epoch.validation_accuracy):
                epochs.setdefault(epoch.epoch, []).append(100 * epoch.validation_accuracy)
    x = sorted(epochs)
    found = [estimate(epochs[epoch]) for epoch in x]
    ends = [None if e is None else e.ci95 for e in found]
    banded = bool(ends) and all(end is not None for end in ends)
    return Series(
        words.rule_name(row.rule),
        tuple(x),
        tuple(None if e is None else e.mean for e in found),
        stroke,
        tuple(None if end is None else end[0] for end in ends) if banded else (),
        tuple(None if end is None else end[1] for end in ends) if banded else (),
    )
