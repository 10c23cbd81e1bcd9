"""A sweep over named tasks as Markdown: a line for what else is varied, a column for each task."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from neurofdfa.lab.space import TASK

Row = dict[str, Any]
"""A row of ablation.json."""
Cell = Callable[[Row], str]


def crosstables(rows: Sequence[Row], varied: Sequence[str], chosen: Sequence[str], seeds: int) -> str:
    """Accuracies, costs and the values chosen, a table each; of one row per task and line.

    A number of seeds in brackets says that the others failed.
    """
    beside = [key for key in varied if key != TASK and key not in chosen]
    parts: dict[str, Cell] = {
        "Test accuracy, %": lambda row: _share(row, "", seeds),
        "Validation accuracy, %": lambda row: _share(row, "validation_", seeds),
        "CPU seconds of training, MiB at the peak of a training step": _costs,
    }
    parts |= {f"Chosen {key}": lambda row, key=key: setting(row, key) for key in chosen}
    return "\n\n".join(f"{title}\n\n{_table(rows, beside, cell)}" for title, cell in parts.items())


def setting(row: Row, key: str) -> str:
    """A varied setting as a cell says it."""
    value = row["settings"].get(key, "–")
    return value if isinstance(value, str) else json.dumps(value)


def lines(cells: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    head, *rest = cells
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rest))


def share(mean: float | None, ends: Sequence[float] | None) -> str:
    """Per cent, with half of the interval."""
    if mean is None:
        return "–"
    return f"{100 * mean:.2f}" + ("" if ends is None else f" ± {50 * (ends[1] - ends[0]):.2f}")


def _table(rows: Sequence[Row], beside: Sequence[str], cell: Cell) -> str:
    tasks = list(dict.fromkeys(row["settings"][TASK] for row in rows))
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        line = tuple(setting(row, key) for key in beside)
        found.setdefault(line, {})[row["settings"][TASK]] = cell(row)
    body = [[*line, *(cells.get(task, "–") for task in tasks)] for line, cells in found.items()]
    return lines([[*beside, *tasks], *body])


def _share(row: Row, prefix: str, seeds: int) -> str:
    if not row["n"]:
        return "failed" if row["failed"] else "–"
    text = share(row[f"{prefix}mean"], row[f"{prefix}ci95"])
    return text if row["n"] == seeds else f"{text} ({row['n']} of {seeds})"


def _costs(row: Row) -> str:
    seconds, memory = row["cpu_seconds"], row["peak_mib"]
    return "–" if seconds is None or memory is None else f"{seconds:.1f} s, {memory:.1f}"
