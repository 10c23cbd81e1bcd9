# pyright: reportUnknownMemberType=false
"""What lies on top of a raster or a trace: spikes, lines and ticks as short SVG paths.

Here and in `templates/script.js` the same few lines of geometry: the page shows sample 0 without a script,
and the script draws any other one in the same place.
"""

import math

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from neurofdfa.report.plot.style import Draw, Frame, Palette, dress

LEVELS = 4
"""Graded input is shown in so many shades."""


def empty(steps: int, rows: tuple[float, float], *, up: str, row_ticks: bool = True) -> Draw:
    """Axes without content: time steps across; rows get ticks only where they never change."""

    def draw(axes: Axes, palette: Palette) -> None:
        dress(axes, palette, across="time step", up=up, grid="")
        axes.set_xlim(0, steps)
        axes.set_ylim(*rows)
        at = step_ticks(steps)
        axes.set_xticks([t + 0.5 for t in at], [str(t) for t in at])
        axes.set_yticks(row_tick_values(rows) if row_ticks else [])

    return draw


def step_ticks(steps: int) -> list[int]:
    """A handful of round time steps."""
    step = next(s for k in range(9) for s in (10**k, 2 * 10**k, 5 * 10**k) if steps / s <= 6)
    return list(range(0, steps, step))


def row_tick_values(rows: tuple[float, float]) -> list[float]:
    """First and last neuron, and the middle."""
    last = int(rows[1] - 0.5)
    return [0, last] if last < 4 else [0, (last + 1) // 2, last]


def shades(values: NDArray[np.generic]) -> list[NDArray[np.bool_]]:
    """Which entries to draw in which shade: one for spikes, LEVELS for graded values."""
    size = np.abs(values.astype(np.float64))
    if set(np.unique(size)) <= {0.0, 1.0}:
        return [size > 0]
    level = np.ceil(LEVELS * size / size.max() - 0.02).astype(int)
    return [level == k for k in range(1, LEVELS + 1)]


def spike_path(spikes: NDArray[np.bool_], frame: Frame) -> str:
    """Marks of one sample [T, n] as path data."""
    tall = mark_height(frame)
    return "".join(
        f"M{frame.across(t + 0.5):.1f} {frame.down(float(i)) - tall / 2:.1f}v{tall:.1f}"
        for t, i in np.argwhere(spikes)
    )


def mark_height(frame: Frame) -> float:
    """Nearly the height of a row, but never too small to see."""
    return round(max(1.2, 0.8 * frame.height / (frame.y[1] - frame.y[0])), 1)


def mark_width(frame: Frame, *, cells: bool) -> float:
    """Spikes are thin; graded values fill their step."""
    step = frame.width / (frame.x[1] - frame.x[0])
    return round(0.94 * step if cells else min(2.2, max(0.8, 0.7 * step)), 1)


def line_path(values: NDArray[np.floating], frame: Frame) -> str:
    """One value per step, joined."""
    points = (f"{frame.across(t + 0.5):.1f} {frame.down(float(v)):.1f}" for t, v in enumerate(values))
    return "M" + "L".join(points)


def nice_limits(low: float, high: float) -> tuple[float, float, float]:
    """Limits around low … high at multiples of half a step, and the step of a few ticks between them."""
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    reach = high - low
    size = 10 ** math.floor(math.log10(reach / 4))
    step = next((m * size for m in (1, 2, 5) if reach / (m * size) <= 4), 10 * size)
    half = step / 2
    return math.floor(low / half + 1e-9) * half, math.ceil(high / half - 1e-9) * half, step


def ticks(frame: Frame, step: float) -> Markup:
    """Grid lines and numbers of the vertical axis, where they depend on what is chosen."""
    first, last = math.ceil(frame.y[0] / step - 1e-9), math.floor(frame.y[1] / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = Markup("")
    for k in range(first, last + 1):
        value = k * step
        y = f"{frame.down(value):.1f}"
        text = f"{value:.{digits}f}".replace("-", "−")
        marks += Markup('<path class="tick" d="M{} {}h{}"/><text x="{}" y="{}">{}</text>').format(
            f"{frame.left:.1f}", y, f"{frame.width:.1f}", f"{frame.left - 5:.1f}", y, text
        )
    return Markup('<g class="ticks">{}</g>').format(marks)
