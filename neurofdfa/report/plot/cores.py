# pyright: reportUnknownMemberType=false
"""The cores of a chip as squares, each filled as far as its fullest resource is used up."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from neurofdfa.report.plot.style import Draw, Margins, Palette, frame_of

_COLUMNS = 16
_LEGEND_ROW = 17
_SQUARE = 21.5


@dataclass(frozen=True)
class Core:
    """A core in use: the layer it holds, by place in the legend, and the share of its fullest resource."""

    layer: int
    share: float


def margins(layers: int) -> Margins:
    """Margins with room for the names of so many layers."""
    return Margins(left=3, right=3, top=3, bottom=8 + _LEGEND_ROW * layers)


def height(cores: int, layers: int) -> float:
    """Height of a panel of a chip of so many cores."""
    around = margins(layers)
    return around.top + around.bottom + _SQUARE * -(-cores // _COLUMNS)


def grid(used: Sequence[Core], total: int, legend: Sequence[tuple[str, int]]) -> Draw:
    """Cores from left to right and top to bottom; legend: name and colour of each layer."""

    def draw(axes: Axes, palette: Palette) -> None:
        axes.set_axis_off()
        axes.set_xlim(0, _COLUMNS)
        axes.set_ylim(-(-total // _COLUMNS), 0)
        for place in range(total):
            row, column = divmod(place, _COLUMNS)
            if place < len(used):
                colour = palette.series[legend[used[place].layer][1]]
                full = 0.84 * min(1.0, used[place].share)
                axes.add_patch(
                    Rectangle((column + 0.08, row + 0.92 - full), 0.84, full, facecolor=colour, linewidth=0)
                )
            edge = palette.series[legend[used[place].layer][1]] if place < len(used) else palette.grid
            axes.add_patch(
                Rectangle(
                    (column + 0.08, row + 0.08), 0.84, 0.84, facecolor="none", edgecolor=edge, linewidth=1
                )
            )
        height_in_pixels = frame_of(axes).height
        for place, (name, colour) in enumerate(legend):
            down = height_in_pixels + 14 + _LEGEND_ROW * place
            for text, x, ink in (("■", 0, palette.series[colour]), (name, 16, palette.ink)):
                axes.annotate(
                    text, (0, 1), xycoords="axes fraction", xytext=(x, -down), textcoords="offset points",
                    color=ink, fontsize=10.5, va="center", annotation_clip=False,
                )  # fmt: skip

    return draw
