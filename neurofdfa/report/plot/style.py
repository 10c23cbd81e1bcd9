# pyright: reportUnknownMemberType=false
# (matplotlib passes its keyword arguments on untyped)
"""How every plot looks: one palette by role, one panel size, axes with little ink.

In the page a colour is a CSS variable, so that the same plot is right in light, dark and print. Matplotlib
knows no variables: it draws with stand-in colours that `svg.py` replaces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurofdfa.rules import CONTROL, DEFAULT, EXACT, RANDOM

RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "neurofdfa",
    "text.parse_math": False,  # a rule called $x$ is a name, not a formula
    "path.simplify": False,
    "font.size": 11.0,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout on every machine
    "axes.unicode_minus": True,
}

WIDTH = 352
"""Width of a panel in CSS pixels: a phone's column."""


class Palette(NamedTuple):
    """Colours by role. series: for rules and layers, told apart without colour vision."""

    ink: str
    muted: str
    grid: str
    paper: str
    good: str
    bad: str
    series: tuple[str, ...]


PRINTED = Palette(
    ink="#1d2127",
    muted="#666c75",
    grid="#e3e5e8",
    paper="#ffffff",
    good="#0d7a5f",
    bad="#b3261e",
    series=("#1b5fc1", "#34302c", "#c2570c", "#8a3ffc", "#6b7079", "#0f8a6d", "#8a6200", "#c0356b"),
)

STAND_IN = Palette(
    "#000001", "#000002", "#000003", "#000004", "#000005", "#000006", tuple(f"#00010{k}" for k in range(8))
)
"""Replaced by `var(--ink)`, …, `var(--series-0)`, … when a plot becomes part of the page."""


class Stroke(NamedTuple):
    """How a series is drawn: index of its colour, dash pattern, width."""

    colour: int
    dashes: tuple[float, ...] = ()
    width: float = 1.6


ROLES = {
    DEFAULT.name: Stroke(0, width=2.4),
    EXACT.name: Stroke(1, (5.0, 2.5)),
    RANDOM.name: Stroke(2),
    CONTROL.name: Stroke(4, (1.5, 2.0)),
}
"""Strokes of the rules that the others are seen against."""
_SPARE = (Stroke(3, (7.0, 2.0, 1.5, 2.0)), *(Stroke(colour) for colour in (5, 6, 7, 2, 4)))


def rule_stroke(rule: str, others: Sequence[str]) -> Stroke:
    """The stroke of a rule, the same in every plot of a page; rules without a role take the spare ones."""
    unknown = [name for name in dict.fromkeys(others) if name not in ROLES]
    return ROLES.get(rule) or _SPARE[unknown.index(rule) % len(_SPARE)]


def layer_stroke(layer: int) -> Stroke:
    """The stroke of hidden layer `layer`, counted from 0."""
    return (Stroke(0, width=2.0), Stroke(2, (6.0, 2.0)), Stroke(5, (2.0, 2.0)), Stroke(3))[layer % 4]


@dataclass(frozen=True)
class Frame:
    """Where the axes of a panel lie, in CSS pixels, the values at their edges, and the figure's width."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    figure: float

    def across(self, value: float) -> float:
        """Pixel of a value on the horizontal axis."""
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * self.width

    def down(self, value: float) -> float:
        """Pixel of a value on the vertical axis; SVG counts from the top."""
        return self.top + (self.y[1] - value) / (self.y[1] - self.y[0]) * self.height


class Margins(NamedTuple):
    """Room around the axes, in CSS pixels."""

    left: float = 40
    right: float = 10
    top: float = 24
    bottom: float = 36


def panel(height: float, margins: Margins) -> tuple[Figure, Axes]:
    """An empty panel: one SVG unit is one CSS pixel."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0)
    axes = figure.add_axes(
        (
            margins.left / WIDTH,
            margins.bottom / height,
            (WIDTH - margins.left - margins.right) / WIDTH,
            (height - margins.top - margins.bottom) / height,
        )
    )
    return figure, axes


def frame_of(axes: Axes) -> Frame:
    """Where the axes lie in their figure."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    box, (wide, high) = axes.get_position(), figure.get_size_inches() * 72
    return Frame(
        round(float(box.x0 * wide), 3),
        round(float((1 - box.y1) * high), 3),
        round(float(box.width * wide), 3),
        round(float(box.height * high), 3),
        axes.get_xlim(),
        axes.get_ylim(),
        float(wide),
    )


def dress(axes: Axes, palette: Palette, *, across: str = "", up: str = "", grid: str = "y") -> None:
    """Little ink: no box, light grid, the name of the vertical axis lying flat above it."""
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(palette.muted)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=palette.muted, labelsize=10.5, length=3, width=0.8, pad=3)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis="y" if grid == "y" else "x", color=palette.grid, linewidth=1)
    axes.set_xlabel(across, color=palette.muted, fontsize=10.5, labelpad=3)
    if up:
        axes.annotate(
            up,
            (0, 1),
            xycoords="axes fraction",
            xytext=(-min(frame_of(axes).left, Margins().left), 9),
            textcoords="offset points",
            color=palette.muted,
            fontsize=10.5,
        )


def round_ticks(axis: Axis) -> None:
    """A handful of ticks at multiples of 1, 2, 5, 10, …"""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to the wanted ones as a minimal gap allows, within low … high where they fit."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [0.0] * len(wanted)
    below = low - gap
    for k in order:
        below = placed[k] = max(wanted[k], below + gap)
    above = high + gap
    for k in reversed(order):
        above = placed[k] = min(placed[k], above - gap)
    return placed


Draw = Callable[[Axes, Palette], None]
