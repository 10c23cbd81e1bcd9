# pyright: reportUnknownMemberType=false
"""One composed picture of a result as PNG, for a README or a slide."""

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from neurofdfa.lab.record import RunFolder
from neurofdfa.report import learning
from neurofdfa.report.deployment import stage_dots
from neurofdfa.report.plot.curves import Series, curves
from neurofdfa.report.plot.dots import accuracy_limits, dots
from neurofdfa.report.plot.marks import step_ticks
from neurofdfa.report.plot.style import PRINTED, Draw, dress
from neurofdfa.report.raster import Raster, read_raster
from neurofdfa.report.tasks import DemoFolder
from neurofdfa.rules import DEFAULT

_WIDTH, _HEIGHT = 1000, 350


class Part(NamedTuple):
    """A plot of the picture; named_lines: with names to the right of its axes; room: for them, in pixels."""

    title: str
    draw: Callable[[Axes], None]
    named_lines: bool = False
    room: int = 95


def demo_picture(demo: DemoFolder) -> bytes:
    """Learning curves of the task that ranks the rules, a raster of it, the stages on the way to the chip."""
    parts: list[Part] = []
    task = demo.task("timing") or demo.task("digits")
    if task is not None:
        if series := learning.rule_series(task):
            parts.append(Part(f"{task.title}: learning online", _curves(series), named_lines=True))
        runs = [row.run for row in sorted(task.rows, key=lambda row: row.rule != DEFAULT.name) if row.run]
        parts += _raster_part(task.title, runs)
    if rows := stage_dots(demo.found.stages):
        plot = dots(rows, across="accuracy, %", limits=accuracy_limits(rows))
        parts.append(Part("Handwritten digits: from float to chip", printed(plot)))
    return compose(parts)


def run_picture(run: RunFolder) -> bytes:
    """Learning curve and raster of one run."""
    series = learning.validation_series(run)
    parts: list[Part] = [Part("Learning online", _curves([series]), named_lines=True)] if series.last else []
    return compose([*parts, *_raster_part(run.data, [run])])


def _curves(series: Sequence[Series]) -> Callable[[Axes], None]:
    plot = curves(
        series, across="epoch", up="validation accuracy, %", limits=learning.accuracy_window(series)
    )
    return printed(plot)


def printed(plot: Draw) -> Callable[[Axes], None]:
    """A plot of the page in print's colours."""
    return lambda axes: plot(axes, PRINTED)


def _raster_part(title: str, runs: Sequence[RunFolder]) -> list[Part]:
    for run in runs:
        raster = read_raster(run.folder)
        if raster is not None and raster.layers:
            return [Part(f"{title}: spikes of one test sample", _raster_of(raster))]
    return []


def _raster_of(raster: Raster) -> Callable[[Axes], None]:
    return lambda axes: _raster(axes, raster)


def _raster(axes: Axes, raster: Raster) -> None:
    """Hidden layers of sample 0 above each other, the input below."""
    dress(axes, PRINTED, across="time step", grid="")
    groups = [
        ("input", raster.inputs),
        *((layer.name.replace("layer", "layer "), layer.spikes) for layer in raster.layers),
    ]
    base, gap = 0.0, 0.06 * sum(values.shape[2] for _, values in groups)
    ticks: list[float] = []
    names: list[str] = []
    for k, (name, values) in enumerate(groups):
        t, i = np.nonzero(np.asarray(values[0]) != 0)
        colour = PRINTED.muted if k == 0 else PRINTED.series[(0, 2, 5)[(k - 1) % 3]]
        axes.vlines(t + 0.5, base + i - 0.7, base + i + 0.7, color=colour, linewidth=2)
        ticks.append(base + (values.shape[2] - 1) / 2)
        names.append(f"{name}\n{values.shape[2]}")
        base += values.shape[2] + gap
    axes.set_xlim(0, raster.steps)
    axes.set_ylim(-gap / 2, base - gap / 2)
    at = step_ticks(raster.steps)
    axes.set_xticks([t + 0.5 for t in at], [str(t) for t in at])
    axes.set_yticks(ticks, names)
    axes.spines["bottom"].set_visible(True)


def compose(parts: Sequence[Part]) -> bytes:
    """The parts as PNG, up to three side by side."""
    across, down = min(3, max(1, len(parts))), max(1, -(-len(parts) // 3))
    width, height = min(_WIDTH, 560 * across), _HEIGHT * down
    figure = Figure(figsize=(width / 72, height / 72), dpi=170, facecolor=PRINTED.paper)
    for k, part in enumerate(parts):
        x, y = (k % across) / across, 1 - (k // across + 1) / down
        right = (part.room if part.named_lines else 20) / width
        left = 50 / width
        axes = figure.add_axes((x + left, y + 0.13 / down, 1 / across - left - right, 0.69 / down))
        part.draw(axes)
        figure.text(
            x + 12 / width,
            y + 0.925 / down,
            part.title,
            fontsize=12,
            fontweight="bold",
            color=PRINTED.ink,
            va="center",
        )
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
