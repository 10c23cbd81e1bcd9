"""What accuracy costs: energy, memory and time of the rows of a study, and the front that nothing beats."""

from collections.abc import Callable, Sequence

from neurofdfa.lab.document import Interval
from neurofdfa.lab.results import SeedSummary
from neurofdfa.lab.table import Cell, Column
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Panel
from neurofdfa.report.plot.scatter import MARGINS, Group, Point, Scale, height, pareto, scatter
from neurofdfa.report.plot.style import Stroke
from neurofdfa.report.plot.svg import draw

COST_COLUMNS = (
    Column("Training time"), Column("Peak memory"), Column("Energy"), Column("On the front"),
    Column("Firing rate"), Column("Alignment"),
)  # fmt: skip
COSTS_IN_WORDS = (
    "Peak memory: of one training step. Energy: to learn from one sample, 45 nm CMOS figures of the "
    "literature, arithmetic and words from a small SRAM. On the front: no other row is at least as good in "
    "test accuracy, time, memory and energy and better in one. Alignment: cosine of the update and the "
    "exact gradient at the chosen epoch, mean over layers. A click on a title sorts."
)


def on_front(rows: Sequence[SeedSummary]) -> set[int]:
    """Places of the rows that no other beats in accuracy, time, memory and energy together; a cost that was
    not measured in every row is left out.
    """
    known = {place: row for place, row in enumerate(rows) if row.mean is not None}
    costs = [
        pick
        for pick in (_seconds, _peak_mib, _energy)
        if all(pick(row) is not None for row in known.values())
    ]
    marks = {
        place: (-(row.mean or 0.0), *(pick(row) or 0.0 for pick in costs)) for place, row in known.items()
    }
    return {
        place
        for place, mine in marks.items()
        if not any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in marks.values()
        )
    }


def _seconds(row: SeedSummary) -> float | None:
    """Of the processor where that was measured: other work on the machine lengthens it less."""
    return row.seconds if row.cpu_seconds is None else row.cpu_seconds


def _peak_mib(row: SeedSummary) -> float | None:
    return row.peak_mib


def _energy(row: SeedSummary) -> float | None:
    return row.energy


def cost_cells(row: SeedSummary, first: bool) -> tuple[Cell, ...]:
    """Time, memory, energy, rate and alignment of a row, and whether it is in the front."""
    return (
        Cell(words.seconds(row.seconds), row.seconds),
        Cell(words.mebibytes(row.peak_mib), row.peak_mib),
        Cell(words.microjoules(row.energy), row.energy),
        Cell("●" if first else "", 1.0 if first else 0.0),
        Cell(words.percent(row.firing_rate), row.firing_rate),
        Cell(
            words.DASH if row.alignment is None else f"{row.alignment:.2f}".replace("-", "−"), row.alignment
        ),
    )


def trade_offs(rows: Sequence[SeedSummary], names: Sequence[str], strokes: Sequence[Stroke]) -> list[Block]:
    """Test accuracy against time, memory and firing rate, with the front that nothing beats."""
    kinds: tuple[tuple[str, str, str, Callable[[SeedSummary], float | None], float], ...] = (
        ("energy", "energy to learn from a sample, µJ", "Accuracy × energy", _energy, 1e6),
        ("memory", "peak memory of a step, MiB", "Accuracy × memory", _peak_mib, 1.0),
        ("time", "training time, s of the processor", "Accuracy × time", _seconds, 1.0),
        ("rate", "spikes per neuron and step, %", "Accuracy × firing", lambda r: r.firing_rate, 100.0),
    )
    panels: list[Panel] = []
    for key, across, title, pick, factor in kinds:
        groups: list[Group] = []
        for row, name, stroke in zip(rows, names, strokes, strict=True):
            cost = pick(row)
            if cost is not None and row.mean is not None:
                groups.append(Group(name, (accuracy_point(factor * cost, row.mean, row.ci95),), stroke))
        if len(groups) > 1:
            points = [p for group in groups for p in group.points]
            x = Scale(across, (0.0, 1.08 * max(p.x for p in points) or 1.0))
            y = Scale("test accuracy, %", accuracy_limits(points))
            plot = scatter(groups, x, y, front=pareto(points))
            panels.append(
                Panel(
                    title,
                    draw(plot, key=f"pareto-{key}", label=title, height=height(len(groups)), margins=MARGINS),
                )
            )
    if not panels:
        return []
    caption = (
        "Test accuracy, mean over seeds, against each cost; the wide bar is the 95 % interval of the mean. "
        "Up and to the left is better: the dashed line and the rings mark the Pareto front, which nothing "
        "beats in both. The accuracy axis need not start at zero."
    )
    return [Figure(tuple(panels), caption)]


def accuracy_point(x: float, mean: float, interval: Interval | None) -> Point:
    """A share in percent; what lies outside 0 to 100 of an interval is not drawn."""
    if interval is None:
        return Point(x, 100 * mean)
    return Point(x, 100 * mean, max(0.0, 100 * interval[0]), min(100.0, 100 * interval[1]))


def accuracy_limits(points: Sequence[Point]) -> tuple[float, float]:
    """Limits around all points and the whole of their intervals, from 0 to a little above 100: a bar that the
    axis cuts off looks like a short one.
    """
    low = min(p.y if p.low is None else p.low for p in points)
    high = max(p.y if p.high is None else p.high for p in points)
    margin = 0.08 * max(high - low, 1.0)
    return max(0.0, low - margin), min(101.0, high + margin)
