# pyright: reportUnknownMemberType=false
"""Points in a plane, each with an interval and a name beside it: trade-offs, and settings against results."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from neurofdfa.report.plot.style import (
    Draw,
    Margins,
    Palette,
    Stroke,
    dress,
    frame_of,
    round_ticks,
    spread,
)

MARGINS = Margins(right=18)
_PIXELS_APART = 13.0
_NAMES_AT_MOST = 20
_WIDEST = 10
"""Letters of the name of a category; longer ones go on below."""


def height(groups: int) -> float:
    """Height of a panel in which so many names fit below each other."""
    rows = groups if groups <= _NAMES_AT_MOST else 0
    return max(250.0, MARGINS.top + MARGINS.bottom + 12 + _PIXELS_APART * rows)


@dataclass(frozen=True)
class Point:
    """low, high: an interval around y."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """Points of one name and stroke; joined by a line where the plot joins."""

    name: str
    points: tuple[Point, ...]
    stroke: Stroke


@dataclass(frozen=True)
class Scale:
    """One axis: its name, limits, whether it is logarithmic, and ticks with names where it has categories."""

    name: str
    limits: tuple[float, float]
    log: bool = False
    categories: tuple[str, ...] = ()


def scatter(
    groups: Sequence[Group],
    x: Scale,
    y: Scale,
    *,
    joined: bool = False,
    names_right: bool = False,
    front: Sequence[Point] = (),
) -> Draw:
    """All groups, their names beside their last points or in a margin to the right; `front`: corners of a
    step line behind the points, and ringed.
    """

    def draw(axes: Axes, palette: Palette) -> None:
        dress(axes, palette, across=x.name, up=y.name)
        if x.log:
            axes.set_xscale("log")
            at = log_ticks([p.x for group in groups for p in group.points], x.limits)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(at, [f"{value:g}" for value in at])
        elif x.categories:
            shown = [textwrap.fill(name, _WIDEST) for name in x.categories]
            axes.set_xticks(range(len(shown)), shown, rotation=0 if len(shown) < 5 else 30)
        else:
            round_ticks(axes.xaxis)
        axes.set_xlim(*x.limits)
        axes.set_ylim(*y.limits)
        round_ticks(axes.yaxis)
        if front:
            axes.step(
                [p.x for p in front], [p.y for p in front],
                where="post", color=palette.muted, linewidth=1, dashes=(3, 3),
            )  # fmt: skip
        for group in groups:
            _group(axes, palette, group, joined)
        axes.plot(
            [p.x for p in front], [p.y for p in front], linewidth=0, marker="o", markersize=11,
            markerfacecolor="none", markeredgecolor=palette.ink, markeredgewidth=1, clip_on=False,
        )  # fmt: skip
        if 1 < len(groups) <= _NAMES_AT_MOST:
            _names(axes, palette, groups, right=names_right)

    return draw


def log_ticks(values: Sequence[float], limits: tuple[float, float]) -> list[float]:
    """The values themselves, as far as their names fit beside each other on a logarithmic axis."""
    reach = math.log(limits[1] / limits[0])
    kept: list[float] = []
    for value in sorted(set(values)):
        if not kept or math.log(value / kept[-1]) > 0.13 * reach:
            kept.append(value)
    return kept


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both less x and more y, from left to right."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def _group(axes: Axes, palette: Palette, group: Group, joined: bool) -> None:
    colour = palette.series[group.stroke.colour]
    points = sorted(group.points, key=lambda p: p.x)
    for point in points:
        if point.low is not None and point.high is not None:
            axes.plot(
                (point.x, point.x), (point.low, point.high),
                color=colour, linewidth=4, alpha=0.26, solid_capstyle="round",
            )  # fmt: skip
    line = axes.plot(
        [p.x for p in points],
        [p.y for p in points],
        color=colour,
        linewidth=group.stroke.width if joined else 0,
        marker="o",
        markersize=6,
        markeredgecolor=palette.paper,
        markeredgewidth=1,
        clip_on=False,
    )[0]
    if joined and group.stroke.dashes:
        line.set_dashes([dash / group.stroke.width * 1.3 for dash in group.stroke.dashes])


def _names(axes: Axes, palette: Palette, groups: Sequence[Group], *, right: bool) -> None:
    """Each name beside its last point, moved apart where they would lie on each other."""
    frame = frame_of(axes)
    to_pixels = axes.transData.transform
    ends = [max(group.points, key=lambda p: p.x) for group in groups]
    across = [float(to_pixels((p.x, p.y))[0]) - frame.left for p in ends]
    wanted = [frame.down(min(max(p.y, frame.y[0]), frame.y[1])) for p in ends]
    at = spread(wanted, _PIXELS_APART, frame.top + 4, frame.top + frame.height - 4)
    for group, pixel, down in zip(groups, across, at, strict=True):
        left = pixel > 0.62 * frame.width and not right
        most = max(16, int((frame.figure - frame.left - frame.width - 10) / 5.9)) if right else 22
        axes.annotate(
            group.name if len(group.name) <= most else group.name[: most - 1] + "…",
            (1.0 if right else pixel / frame.width, 1 - (down - frame.top) / frame.height),
            xycoords="axes fraction",
            xytext=(-9 if left else 9, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=palette.series[group.stroke.colour],
            fontsize=10.5,
            fontweight="bold" if group.stroke.width > 2 else "normal",
            bbox={
                "boxstyle": "square,pad=0.05",
                "facecolor": palette.paper,
                "edgecolor": "none",
                "alpha": 0.75,
            },
            annotation_clip=False,
        )
