# pyright: reportUnknownMemberType=false
"""A few values side by side, one row each: name above, value to the right, dot and interval on a line."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from neurofdfa.report.plot.style import Draw, Margins, Palette, dress, round_ticks

MARGINS = Margins(left=3, right=10, top=2, bottom=36)
_ROW = 40


@dataclass(frozen=True)
class Dot:
    """One row. low, high: an interval around the value; strong: the row that the page is about."""

    name: str
    value: float
    text: str
    colour: int
    low: float | None = None
    high: float | None = None
    strong: bool = False


def height(rows: int) -> float:
    """Height of a panel of so many rows."""
    return MARGINS.top + MARGINS.bottom + _ROW * rows


def dots(rows: Sequence[Dot], *, across: str, limits: tuple[float, float], from_zero: bool = False) -> Draw:
    """Rows from top to bottom; `from_zero` ties each dot to the axis, where lengths mean something."""

    def draw(axes: Axes, palette: Palette) -> None:
        dress(axes, palette, across=across, grid="x")
        axes.set_xlim(*limits)
        axes.set_ylim(len(rows), 0)
        axes.set_yticks([])
        round_ticks(axes.xaxis)
        for place, row in enumerate(rows):
            _row(axes, palette, row, place, limits, from_zero)

    return draw


def accuracy_limits(rows: Sequence[Dot]) -> tuple[float, float]:
    """An axis in percent that ends at 100 and starts at a round number below all intervals."""
    lowest = min((row.value if row.low is None else row.low for row in rows), default=0.0)
    step = 2.0 if lowest > 92 else 5.0 if lowest > 80 else 10.0
    return max(0.0, step * ((lowest - 0.1 * step) // step)), 100.0


def _row(
    axes: Axes, palette: Palette, row: Dot, place: int, limits: tuple[float, float], from_zero: bool
) -> None:
    colour, y = palette.series[row.colour], place + 0.72
    weight = "bold" if row.strong else "normal"
    # The names sit on their own line, so that any length fits; a halo keeps the grid out of the letters.
    for text, x, side in ((row.name, 0.0, "left"), (row.text, 1.0, "right")):
        axes.annotate(
            text if len(text) <= 40 else text[:39] + "…",
            (x, place + 0.34),
            xycoords=("axes fraction", "data"),
            ha=side,
            va="center",
            color=palette.ink,
            fontsize=11,
            fontweight=weight,
            bbox={"boxstyle": "square,pad=0.15", "facecolor": palette.paper, "edgecolor": "none"},
        )
    axes.plot(limits, (y, y), color=palette.grid, linewidth=1)
    if from_zero:
        axes.plot((limits[0], row.value), (y, y), color=colour, linewidth=3, alpha=0.45)
    if row.low is not None and row.high is not None:
        axes.plot((row.low, row.high), (y, y), color=colour, linewidth=5, alpha=0.28, solid_capstyle="round")
    axes.plot(
        [row.value],
        [y],
        marker="o",
        markersize=8 if row.strong else 7,
        color=colour,
        markeredgecolor=palette.paper,
        markeredgewidth=1.2,
        clip_on=False,
    )
