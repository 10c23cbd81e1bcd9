# pyright: reportUnknownMemberType=false
"""A square table of counts in which a field is filled the more, the larger its share of the row."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from neurofdfa.report.plot.style import WIDTH, Draw, Margins, Palette

_LETTER = 6.4
"""Pixels of a letter of a label."""
_LABEL = 11.0
_LINE = 13
_LONG = 14
"""Letters of a class's name that are shown."""
_COUNTED = 12
"""Up to so many classes a field has room for its count."""


def _short(name: str) -> str:
    return name if len(name) <= _LONG else name[: _LONG - 1] + "…"


def _upright(names: Sequence[str]) -> bool:
    """Whether the names of the columns are turned by 90°: they are wider than their fields."""
    return max(map(len, names)) * _LETTER > (WIDTH - 60) / len(names) - 2


def margins(names: Sequence[str]) -> Margins:
    """Room for the names of the classes on the left and above."""
    longest = max(len(_short(name)) for name in names) * _LETTER + 8
    return Margins(left=longest + 4, right=2, top=longest if _upright(names) else _LINE + 8, bottom=4)


def height(names: Sequence[str]) -> float:
    """Height of a panel whose fields are square."""
    around = margins(names)
    return around.top + around.bottom + WIDTH - around.left - around.right


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Draw:
    """Rows from top to bottom; the diagonal is right."""
    size = len(counts)
    every = -(-size * _LINE // (WIDTH - 60))  # of many classes every so many has its name

    def draw(axes: Axes, palette: Palette) -> None:
        axes.set_facecolor("none")
        axes.set_xlim(0, size)
        axes.set_ylim(size, 0)
        shown = range(0, size, every)
        axes.set_yticks([place + 0.5 for place in shown], [_short(names[place]) for place in shown])
        axes.set_xticks([place + 0.5 for place in shown], [_short(names[place]) for place in shown])
        axes.tick_params(
            colors=palette.ink, labelsize=_LABEL, length=0, pad=4, top=True, bottom=False, labeltop=True,
            labelbottom=False,
        )  # fmt: skip
        axes.tick_params(axis="x", labelrotation=90 if _upright(names) else 0)
        for spine in axes.spines.values():
            spine.set_color(palette.grid)
        for row, line in enumerate(counts):
            for column, number in enumerate(line):
                if number:
                    colour = palette.series[0] if row == column else palette.series[2]
                    _field(axes, palette, (row, column), number, number / sum(line), colour, size <= _COUNTED)

    return draw


def _field(
    axes: Axes, palette: Palette, at: tuple[int, int], number: int, share: float, colour: str, told: bool
) -> None:
    row, column = at
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.12 + 0.88 * share, linewidth=0))
    if told:
        axes.text(
            column + 0.5, row + 0.5, str(number), ha="center", va="center", fontsize=_LABEL,
            color=palette.paper if share > 0.5 else palette.ink,
        )  # fmt: skip
