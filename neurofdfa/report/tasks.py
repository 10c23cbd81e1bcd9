"""The demo's tasks: every rule on each, side by side in accuracy, time, memory and firing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurofdfa.lab.record import RunFolder, is_run, read_run
from neurofdfa.lab.results import DEMO, Demo, RuleRun
from neurofdfa.lab.statistics import mean
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Panel
from neurofdfa.report.plot.dots import MARGINS, Dot, accuracy_limits, dots, height
from neurofdfa.report.plot.style import rule_stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.rules import DEFAULT, EXACT, rule_title

TASKS = {"digits": "Handwritten digits", "timing": "Spike timing"}


class Row(RuleRun):
    """One rule on one task, with its run folder where that is still there."""

    run: RunFolder | None = None

    @property
    def samples(self) -> int | None:
        """Size of the test split, when the run tells."""
        return self.run.summary.samples.get("test") if self.run and self.run.summary else None


@dataclass(frozen=True)
class Task:
    """All rules on one task."""

    name: str
    title: str
    rows: tuple[Row, ...]

    def row(self, rule: str) -> Row | None:
        """The row of `rule`."""
        return next((row for row in self.rows if row.rule == rule), None)


@dataclass(frozen=True)
class DemoFolder:
    """A demo folder."""

    folder: Path
    found: Demo
    tasks: tuple[Task, ...]

    def task(self, name: str) -> Task | None:
        """The task `name`, when it was run."""
        return next((task for task in self.tasks if task.name == name), None)


def is_demo(folder: Path) -> bool:
    """Whether `folder` looks like a demo folder."""
    return (folder / DEMO).is_file()


def read_demo(folder: Path) -> DemoFolder:
    """Read a demo folder; parts that are missing stay empty. Raises UserError when one is damaged."""
    found = Demo.read(folder / DEMO)
    rows = {"digits": found.digits, "timing": found.timing}
    tasks = (
        Task(name, title, tuple(_row(folder, row) for row in rows[name])) for name, title in TASKS.items()
    )
    return DemoFolder(folder, found, tuple(task for task in tasks if task.rows))


def _row(folder: Path, row: RuleRun) -> Row:
    run = folder / row.folder
    return Row(**dict(row), run=read_run(run) if row.folder and is_run(run) else None)


_COLUMNS = (
    Column("Rule", number=False),
    Column("Test accuracy"),
    Column("Validation"),
    Column("Training time"),
    Column("Peak memory"),
    Column("Firing rate"),
)


def accuracy_plots(tasks: Sequence[Task]) -> list[Block]:
    """Test accuracy of each rule, one panel per task."""
    panels: list[Panel] = []
    intervals = False
    for task in tasks:
        rows = [dot for row in _by_accuracy(task.rows) if (dot := _accuracy_dot(row, task)) is not None]
        if rows:
            intervals |= any(dot.low is not None for dot in rows)
            plot = dots(rows, across="test accuracy, %", limits=accuracy_limits(rows))
            svg = draw(
                plot, key=f"rules-{task.name}", label=f"Test accuracy of each rule, {task.title}",
                height=height(len(rows)), margins=MARGINS,
            )  # fmt: skip
            panels.append(Panel(task.title, svg))
    if not panels:
        return []
    caption = "Test accuracy of each rule, best first, one seed; the test split was opened once per rule."
    if intervals:
        caption += " The wide bar is the 95 % Wilson interval for a test split of this size."
    return [Figure(tuple(panels), caption + " The axes do not start at zero.")]


def memory_plots(tasks: Sequence[Task]) -> list[Block]:
    """Peak memory of each rule, one panel per task."""
    panels: list[Panel] = []
    for task in tasks:
        rules = [row.rule for row in task.rows]
        rows = [
            Dot(
                rule_title(row.rule),
                row.peak_mib,
                words.mebibytes(row.peak_mib),
                rule_stroke(row.rule, rules).colour,
                strong=row.rule == DEFAULT.name,
            )
            for row in sorted(task.rows, key=lambda row: row.peak_mib or 0.0)
            if row.peak_mib is not None
        ]
        if rows:
            limits = (0.0, 1.05 * max(dot.value for dot in rows) or 1.0)
            plot = dots(rows, across="peak memory of a training step, MiB", limits=limits, from_zero=True)
            svg = draw(
                plot, key=f"memory-{task.name}", label=f"Peak memory of each rule, {task.title}",
                height=height(len(rows)), margins=MARGINS,
            )  # fmt: skip
            panels.append(Panel(task.title, svg))
    caption = (
        f"Peak memory that one training step adds, least first. {EXACT.title} stores every time step; "
        "an online rule carries only its traces along."
    )
    return [Figure(tuple(panels), caption)] if panels else []


def tables(tasks: Sequence[Task]) -> list[Block]:
    """All numbers, one sortable table per task."""
    return [_table(task, first=place == 0) for place, task in enumerate(tasks)]


def _table(task: Task, *, first: bool) -> Table:
    best = max((row.test_accuracy for row in task.rows if row.test_accuracy is not None), default=None)
    samples = next((row.samples for row in task.rows if row.samples), None)
    caption = f"{task.title}: all rules on the same network, data and epochs"
    caption += f"; {words.count(samples)} test samples." if samples else "."
    if first:
        caption += (
            " Firing rate: spikes per neuron and step, hidden layers in order. A click on a title sorts."
        )
    return Table(_COLUMNS, tuple(_cells(row, best) for row in task.rows), caption)


def _cells(row: Row, best: float | None) -> tuple[Cell, ...]:
    top = best is not None and row.test_accuracy == best
    return (
        Cell(rule_title(row.rule), rule_title(row.rule).lower()),
        Cell(words.percent(row.test_accuracy, 2), row.test_accuracy, "best" if top else ""),
        Cell(words.percent(row.validation_accuracy, 2), row.validation_accuracy),
        Cell(words.seconds(row.seconds), row.seconds),
        Cell(words.mebibytes(row.peak_mib), row.peak_mib),
        Cell(words.layer_rates(row.firing_rate), _mean_rate(row.firing_rate)),
    )


def _mean_rate(rates: Sequence[float]) -> float | None:
    return mean([rate for rate in rates if math.isfinite(rate)])


def _by_accuracy(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -(row.test_accuracy or 0.0))


def _accuracy_dot(row: Row, task: Task) -> Dot | None:
    if row.test_accuracy is None:
        return None
    interval = words.wilson(row.test_accuracy, row.samples)
    return Dot(
        rule_title(row.rule),
        100 * row.test_accuracy,
        words.percent(row.test_accuracy),
        rule_stroke(row.rule, [r.rule for r in task.rows]).colour,
        low=100 * interval[0] if interval else None,
        high=100 * interval[1] if interval else None,
        strong=row.rule == DEFAULT.name,
    )
