"""Pictures of measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from neurofdfa.bench.compare import Row
from neurofdfa.bench.footprint import Footprint

plt: Any = pyplot
MIB = 1 << 20


def plot_rows(rows: Sequence[Row], path: Path) -> None:
    """Bars of the ratios with their quartiles."""
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.2))
    labels = [f"net {row.net}, batch {row.batch}, {row.peer}" for row in rows]
    low = [max(0.0, row.ratio - row.spread[0]) for row in rows]
    high = [max(0.0, row.spread[1] - row.ratio) for row in rows]
    axes.barh(labels, [row.ratio for row in rows], xerr=[low, high], color="tab:blue", ecolor="black")
    axes.invert_yaxis()
    axes.axvline(1.0, color="grey", linewidth=1)
    axes.set_xlabel("time of the peer ÷ ours, median over rounds (bars: quartiles)")
    _save(figure, path)


def plot_footprints(rows: Sequence[Footprint], path: Path) -> None:
    """Memory against steps, both logarithmic."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for peer, rule in dict.fromkeys((row.peer, row.rule) for row in rows):
        points = [(row.T, row.bytes / MIB) for row in rows if (row.peer, row.rule) == (peer, rule)]
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{peer}, {rule}")
    axes.set_xscale("log")
    if all(row.bytes > 0 for row in rows):
        axes.set_yscale("log")
    axes.set_xlabel("steps per sequence")
    axes.set_ylabel("MiB that a training step adds")
    axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, format="svg")
    plt.close(figure)
