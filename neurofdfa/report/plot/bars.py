# pyright: reportUnknownMemberType=false
"""What a few sums are made of: one bar per sum, its parts end to end, a legend of the parts below."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from neurofdfa.report.plot.style import Draw, Margins, Palette, dress, frame_of, round_ticks

MARGINS = Margins(left=3, right=10, top=2)
_ROW = 40
_LEGEND_ROW = 17


@dataclass(frozen=True)
class Bar:
    """One sum. parts: (index of the part in the legend, its size), in the legend's order."""

    name: str
    text: str
    parts: tuple[tuple[int, float], ...]


def margins(parts: int) -> Margins:
    """Margins with room for a legend of so many parts in two columns."""
    return MARGINS._replace(bottom=MARGINS.bottom + 6 + _LEGEND_ROW * -(-parts // 2))


def height(bars: int, parts: int) -> float:
    """Height of a panel of so many bars."""
    return MARGINS.top + margins(parts).bottom + _ROW * bars


def stacked(bars: Sequence[Bar], legend: Sequence[tuple[str, int]], *, across: str) -> Draw:
    """Bars from top to bottom, tied to zero; legend: name and colour of each part."""

    def draw(axes: Axes, palette: Palette) -> None:
        dress(axes, palette, across=across, grid="x")
        largest = max((sum(size for _, size in bar.parts) for bar in bars), default=0.0)
        axes.set_xlim(0, 1.02 * largest or 1.0)
        axes.set_ylim(len(bars), 0)
        axes.set_yticks([])
        round_ticks(axes.xaxis)
        for place, bar in enumerate(bars):
            for text, x, side in ((bar.name, 0.0, "left"), (bar.text, 1.0, "right")):
                axes.annotate(
                    text,
                    (x, place + 0.3),
                    xycoords=("axes fraction", "data"),
                    ha=side,
                    va="center",
                    color=palette.ink,
                    fontsize=11,
                    bbox={"boxstyle": "square,pad=0.15", "facecolor": palette.paper, "edgecolor": "none"},
                )
            start = 0.0
            for part, size in bar.parts:
                colour = palette.series[legend[part][1]]
                # a thin line of paper between neighbours: parts are told apart without their colours
                axes.add_patch(
                    Rectangle(
                        (start, place + 0.53), size, 0.36,
                        facecolor=colour, edgecolor=palette.paper, linewidth=0.8,
                    )
                )  # fmt: skip
                start += size
        _legend(axes, palette, legend)

    return draw


def _legend(axes: Axes, palette: Palette, legend: Sequence[tuple[str, int]]) -> None:
    frame = frame_of(axes)
    rows = -(-len(legend) // 2)
    for place, (name, colour) in enumerate(legend):
        column, row = divmod(place, rows)
        x, down = column * 0.5 * frame.width, MARGINS.bottom + 8 + _LEGEND_ROW * row
        axes.annotate(
            "■", (0, 0), xycoords="axes fraction", xytext=(x, -down), textcoords="offset points",
            color=palette.series[colour], fontsize=11, va="center", annotation_clip=False,
        )  # fmt: skip
        axes.annotate(
            name, (0, 0), xycoords="axes fraction", xytext=(x + 14, -down), textcoords="offset points",
            color=palette.ink, fontsize=10.5, va="center", annotation_clip=False,
        )  # fmt: skip
