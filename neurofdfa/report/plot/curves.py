# pyright: reportUnknownMemberType=false
"""Values over training: one line per series, its name at its end, a band where there is a spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

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

NAMED = Margins(right=84)
"""Margins that leave room for the names at the ends of the lines."""
_PIXELS_APART = 13.5


@dataclass(frozen=True)
class Series:
    """One line; None where nothing was measured. low, high: the band around it."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    stroke: Stroke
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    @property
    def last(self) -> tuple[float, float] | None:
        """The last point that was measured."""
        known = [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None]
        return known[-1] if known else None


def curves(
    series: Sequence[Series],
    *,
    across: str,
    up: str,
    limits: tuple[float, float],
    rule_at: float | None = None,
    mark_at: float | None = None,
    ticks: Sequence[float] | None = None,
    whole: bool = True,
) -> Draw:
    """Lines within `limits`; `rule_at` marks a value to compare with, `mark_at` a place across.

    whole: what is across are whole numbers.
    """

    def draw(axes: Axes, palette: Palette) -> None:
        dress(axes, palette, across=across, up=up)
        x = [value for s in series for value in s.x]
        least = min(x, default=0.0)
        axes.set_xlim(least, max(max(x, default=1.0), least + (1.0 if whole else 1e-6)))
        axes.set_ylim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=whole))
        if ticks is not None:
            axes.set_yticks(list(ticks))
        else:
            round_ticks(axes.yaxis)
        if rule_at is not None:
            axes.axhline(rule_at, color=palette.muted, linewidth=1, dashes=(2, 3))
        if mark_at is not None:
            axes.axvline(mark_at, color=palette.bad, linewidth=1.2, alpha=0.6)
        for s in series:
            _line(axes, palette, s)
        _names(axes, palette, series)

    return draw


def lower_limit(series: Sequence[Series], step: float) -> float:
    """A multiple of `step` below all but the first fifth of the training, where every curve is steep."""
    late = [y for s in series for y in s.y[len(s.y) // 5 :] if y is not None]
    return math.floor((min(late, default=0.0) - 0.2 * step) / step) * step


def _line(axes: Axes, palette: Palette, series: Series) -> None:
    colour = palette.series[series.stroke.colour]
    if series.low and series.high:
        low, high = np.array(series.low, dtype=float), np.array(series.high, dtype=float)
        axes.fill_between(series.x, low, high, color=colour, alpha=0.16, linewidth=0)
    known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
    if not known:
        return
    line = axes.plot(
        [x for x, _ in known],
        [y for _, y in known],
        color=colour,
        linewidth=series.stroke.width,
        solid_capstyle="round",
        marker="o" if len(known) == 1 else "",
        markersize=4,
    )[0]
    if series.stroke.dashes:
        line.set_dashes([dash / series.stroke.width * 1.3 for dash in series.stroke.dashes])


def _names(axes: Axes, palette: Palette, series: Sequence[Series]) -> None:
    """Each name beside the end of its line, moved apart where they would lie on each other."""
    frame = frame_of(axes)
    most = max(14, int((frame.figure - frame.left - frame.width - 4) / 5.7))
    named = [(s, s.last) for s in series]
    ends = [(s, last) for s, last in named if last is not None]
    at = spread(
        [frame.down(min(max(y, frame.y[0]), frame.y[1])) for _, (_, y) in ends],
        _PIXELS_APART,
        frame.top + 3,
        frame.top + frame.height - 3,
    )
    for (s, _), pixel in zip(ends, at, strict=True):
        axes.annotate(
            s.name if len(s.name) <= most else s.name[: most - 1] + "…",
            (1, 1 - (pixel - frame.top) / frame.height),
            xycoords="axes fraction",
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=palette.series[s.stroke.colour],
            fontsize=10.5,
            fontweight="bold" if s.stroke.width > 2 else "normal",
            annotation_clip=False,
        )
