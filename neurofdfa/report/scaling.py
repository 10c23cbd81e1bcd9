"""What a training step costs against one number of the network, and beside it the work on events."""

from collections.abc import Sequence
from typing import NamedTuple

from neurofdfa.lab.results import StepCost
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Panel
from neurofdfa.report.picture import Part, printed
from neurofdfa.report.plot.curves import Series, curves
from neurofdfa.report.plot.style import Draw, Margins, Stroke
from neurofdfa.report.plot.svg import draw

_TITLES = {
    "steps": ("Length of the sequence", "time steps T"),
    "batch": ("Batch", "samples"),
    "width": ("Width of two hidden layers", "neurons"),
    "depth": ("Depth, 256 neurons each", "hidden layers"),
    "density": ("Density of the input", "share of active inputs"),
    "stream": ("One step of a stream", "samples side by side"),
}
_MARGINS = Margins(right=96)
_LISTED = 0.4  # denser inputs are multiplied
_WORK, _TIME = Stroke(4, (1.5, 2.0)), Stroke(0, width=2.4)


class Cost(NamedTuple):
    """A point of an axis: milliseconds with quartiles, and thousands of multiply-adds on events."""

    value: float
    ms: float
    low: float
    high: float
    work: float


def by_axis(rows: Sequence[StepCost]) -> dict[str, tuple[Cost, ...]]:
    """Points by axis, in the order of their values."""
    found: dict[str, list[Cost]] = {}
    for row in rows:
        low, high = row.spread
        found.setdefault(row.axis, []).append(
            Cost(row.value, 1e3 * row.seconds, 1e3 * low, 1e3 * high, row.work)
        )
    return {axis: tuple(sorted(costs)) for axis, costs in found.items()}


def cost_blocks(costs: dict[str, tuple[Cost, ...]]) -> list[Block]:
    """A plot per axis, and everything in numbers."""
    panels = tuple(
        Panel(
            _titles(axis)[0],
            draw(
                _plot(axis, points), key=f"cost-{axis}", label=f"Cost against {axis}", height=220,
                margins=_MARGINS,
            ),
        )
        for axis, points in costs.items()
    )  # fmt: skip
    columns = (
        Column("Varied", number=False), Column("Value"), Column("Time"), Column("Quartiles"),
        Column("Thousand multiply-adds on events"), Column("ns per thousand"),
    )  # fmt: skip
    rows = tuple(
        (
            Cell(_titles(axis)[1], axis),
            Cell(f"{point.value:g}", point.value),
            Cell(f"{point.ms:.2f}{words.SPACE}ms", point.ms),
            Cell(f"{point.low:.2f} to {point.high:.2f}", point.low),
            Cell(words.count(point.work), point.work),
            Cell(words.figures(1e6 * point.ms / point.work), point.ms / point.work),
        )
        for axis, points in costs.items()
        for point in points
        if point.work > 0
    )
    caption = (
        "Processor time of a training step (of a stream: of one time step that also learns) on one thread; "
        "band: quartiles. Dotted: what it would be if time followed the least multiply-adds on events, drawn "
        "through the point that has the most of them (up to a density of 0.4, where products take over)."
    )
    return [Figure(panels, caption), Table(columns, rows, "The same in numbers.")]


def cost_parts(costs: dict[str, tuple[Cost, ...]]) -> list[Part]:
    """The plots for a picture."""
    return [
        Part(_titles(axis)[0], printed(_plot(axis, points)), named_lines=True)
        for axis, points in costs.items()
    ]


def _titles(axis: str) -> tuple[str, str]:
    return _TITLES.get(axis, (axis, axis))


def _plot(axis: str, points: Sequence[Cost]) -> Draw:
    on_events = [p for p in points if axis != "density" or p.value <= _LISTED] or points
    most = max(on_events, key=lambda point: point.work)
    each = most.ms / most.work if most.work > 0 else 0.0
    x = tuple(point.value for point in points)
    lines = [
        Series("as events", x, tuple(each * point.work for point in points), _WORK),
        Series(
            "measured", x, tuple(point.ms for point in points), _TIME,
            low=tuple(point.low for point in points), high=tuple(point.high for point in points),
        ),
    ]  # fmt: skip
    top = max(max(point.high, each * point.work) for point in points)
    return curves(
        lines, across=_titles(axis)[1], up="ms", limits=(0.0, 1.05 * top or 1.0), whole=axis != "density"
    )
