"""The report of a sweep: what each varied setting does to accuracy, memory and time."""

import json
from collections.abc import Callable, Sequence
from typing import cast

from neurofdfa.lab.results import PointSummary, Sweep
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.costs import (
    COST_COLUMNS,
    COSTS_IN_WORDS,
    accuracy_limits,
    accuracy_point,
    cost_cells,
    on_front,
    trade_offs,
)
from neurofdfa.report.page import (
    Block,
    Code,
    Figure,
    KeyFigure,
    Page,
    Panel,
    Section,
    footer,
    provenance,
)
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.curves import NAMED
from neurofdfa.report.plot.scatter import Group, Point, Scale, scatter
from neurofdfa.report.plot.style import Draw, Stroke, rule_stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.studies import SweepFolder, failures, seeds_in_words

_LINES_AT_MOST = 8
_COLOURS = 8
_DRIFT = 1.25
"""Training times whose ratio is below this one are no effect: so much drifts with a machine's load."""
_WIDE = 20.0
"""From this ratio of largest to smallest value an axis is logarithmic."""


def ablation_page(sweep: SweepFolder) -> Page:
    """Compose the page; a part without data is left out."""
    record = sweep.found
    names = [_name(row, record.varied) for row in record.rows]
    strokes = [Stroke(k % _COLOURS) for k in range(len(record.rows))]
    study = [Code(sweep.study.rstrip(), "study.toml")] if sweep.study else []
    return Page(
        title=f"neurofdfa: {record.name}",
        kicker="neurofdfa ablation",
        headline=_headline(record),
        summary=(
            f"{len(record.rows)} points with {seeds_in_words(record.seeds)} each: {record.done} runs done, "
            f"{record.failed} failed. Settings are ranked on validation data; the test accuracy is only told."
        ),
        key_figures=tuple(_key_figures(record)),
        sections=(
            *(Section(f"Effect of {_short(key)}", tuple(_effects(record, key))) for key in record.varied),
            Section("All points", (_table(record),)),
            Section("What accuracy costs", tuple(trade_offs(record.rows, names, strokes))),
            Section("Failed runs", tuple(failures(record.rows, names))),
            Section(
                "How it was made", (*provenance(record.command, record.versions, [], folded=False), *study)
            ),
        ),
        footer=footer(sweep.folder),
    )


def ablation_picture(sweep: SweepFolder) -> bytes:
    """As `sweep_picture`."""
    return sweep_picture(sweep.found)


def sweep_picture(record: Sweep, plots: int = 2) -> bytes:
    """Validation accuracy against the first varied settings, one plot each, as PNG."""
    parts = [
        Part(
            f"{record.name}: {_short(key)}",
            printed(plot),
            named_lines=len(record.varied) > 1,
            room=_room([_line(row, _others(record, key)) for row in record.rows]),
        )
        for key in record.varied[:plots]
        if (plot := _plot(record, key, _accuracy_of, "validation accuracy, %")) is not None
    ]
    return compose(parts)


def _room(names: Sequence[str]) -> int:
    """Pixels for the names of lines."""
    return min(260, max(95, 16 + 6 * max(map(len, names), default=0)))


def _headline(record: Sweep) -> str:
    best = record.best_row
    title = record.name[:1].upper() + record.name[1:]
    if best is None:  # points of several tasks have no best either
        return title if any(row.n for row in record.rows) else f"{title}: no point is finished"
    named = _name(best, record.varied)
    alike, others = (
        record.not_distinguishable(),
        [row for row in record.rows if row.n == best.n and row.point != best.point],
    )
    if len(record.seeds) > 1 and alike and len(alike) == len(others):
        by = f"{seeds_in_words(record.seeds)} (paired t test)"
        said = f"the points are not distinguishable by {by}; the highest mean on validation data has {named}."
    else:
        said = f"best on validation data with {named}{_doubt(record)}."
    # a study may be named by its question
    return f"{title} {said[0].upper()}{said[1:]}" if title.endswith("?") else f"{title}: {said}"


def _doubt(record: Sweep) -> str:
    """What the seeds cannot tell from the best point, in words; empty where it stands alone."""
    alike = record.not_distinguishable()
    if len(alike) == 0:
        return ""
    if len(record.seeds) < 2:
        return ", of one seed, which tells no points apart"
    first, *rest = alike
    beside = f" and {len(rest)} other point{'' if len(rest) == 1 else 's'}" if rest else ""
    by = f"by {seeds_in_words(record.seeds)} (paired t test)"
    return f", but not distinguishable from {_name(first, record.varied)}{beside} {by}"


def _key_figures(record: Sweep) -> list[KeyFigure]:
    best = record.best_row
    if best is None:
        return []
    return [
        KeyFigure(
            words.with_interval(best.validation_mean, best.validation_ci95), "validation accuracy, best point"
        ),
        KeyFigure(words.with_interval(best.mean, best.ci95), "test accuracy of that point"),
        KeyFigure(
            words.count(record.failed), "failed runs" if record.failed != 1 else "failed run",
            "bad" if record.failed else "",
        ),
    ]  # fmt: skip


def _name(row: PointSummary, keys: Sequence[str]) -> str:
    return (
        ", ".join(f"{_short(k)} {_text(row.settings[k])}" for k in keys if k in row.settings)
        or "all defaults"
    )


def _short(key: str) -> str:
    """The last part of a dotted setting, and 'rule' for rule.name."""
    return "rule" if key == "rule.name" else key.rpartition(".")[2].replace("_", " ")


def _text(value: object) -> str:
    if isinstance(value, float):
        return words.figures(value)
    if isinstance(value, list) and value and all(isinstance(n, int) for n in cast(list[object], value)):
        return "-".join(map(str, cast(list[object], value)))  # layer sizes
    return value if isinstance(value, str) else json.dumps(value)


def _table(record: Sweep) -> Table:
    columns = (
        *(Column(key, number=_numeric(record.rows, key)) for key in record.varied),
        Column("Validation"),
        Column("Test accuracy"),
        Column("Seeds"),
        *COST_COLUMNS,
    )
    front = on_front(record.rows)
    rows = tuple(
        (
            *(_setting(row, key) for key in record.varied),
            Cell(
                words.with_interval(row.validation_mean, row.validation_ci95),
                row.validation_mean,
                "best" if row.point == record.best else "",
            ),
            Cell(words.with_interval(row.mean, row.ci95), row.mean),
            Cell(str(row.n), row.n),
            *cost_cells(row, place in front),
        )
        for place, row in enumerate(record.rows)
    )
    caption = (
        f"Mean ± half of the 95 % interval over {seeds_in_words(record.seeds)}. Bold: the best mean on "
        f"validation data among points whose seeds all ran. {COSTS_IN_WORDS}"
    )
    return Table(columns, rows, caption)


def _setting(row: PointSummary, key: str) -> Cell:
    if key not in row.settings:
        return Cell(words.DASH)
    value = row.settings[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(_text(value), value if number else _text(value))  # type: ignore[arg-type]


Pick = Callable[[PointSummary, float], Point | None]


def _effects(record: Sweep, key: str) -> list[Block]:
    kinds: tuple[tuple[str, str, Pick], ...] = (
        ("accuracy", "validation accuracy, %", _accuracy_of),
        ("memory", "peak memory of a step, MiB", _memory_of),
        ("energy", "energy to learn from a sample, µJ", _energy_of),
        ("time", "training time, s of the processor", _time_of),
    )
    panels: list[Panel] = []
    times = [point.y for row in record.rows if (point := _time_of(row, 0.0)) is not None]
    drift = bool(times) and max(times) < _DRIFT * min(times)
    for kind, up, pick in kinds[:-1] if drift else kinds:
        plot = _plot(record, key, pick, up)
        if plot is not None:
            title = up.partition(",")[0]
            svg = draw(
                plot, key=f"{kind}-{record.varied.index(key)}", label=f"{title} against {key}",
                height=250, margins=NAMED,
            )  # fmt: skip
            panels.append(Panel(title[0].upper() + title[1:], svg))
    others = [_short(k) for k in _others(record, key)]
    caption = (
        f"Against {key}: mean over seeds, the bar is its 95 % interval. Lines join points that differ in "
        "nothing else" + (f"; they are called by {' · '.join(others)}." if len(others) > 1 else ".")
    )
    if drift:
        caption += " Training times differ by less than a quarter, as they do between equal runs: no effect."
    return [Figure(tuple(panels), caption)] if panels else []


def _accuracy_of(row: PointSummary, x: float) -> Point | None:
    if row.validation_mean is None:
        return None
    return accuracy_point(x, row.validation_mean, row.validation_ci95)


def _memory_of(row: PointSummary, x: float) -> Point | None:
    return None if row.peak_mib is None else Point(x, row.peak_mib)


def _energy_of(row: PointSummary, x: float) -> Point | None:
    return None if row.energy is None else Point(x, 1e6 * row.energy)


def _time_of(row: PointSummary, x: float) -> Point | None:
    """Of the processor where that was measured: time that drifts with the machine's load is no effect."""
    seconds = row.seconds if row.cpu_seconds is None else row.cpu_seconds
    return None if seconds is None else Point(x, seconds)


def _plot(record: Sweep, key: str, pick: Pick, up: str) -> Draw | None:
    rows = [row for row in record.rows if key in row.settings]
    texts = list(dict.fromkeys(_text(row.settings[key]) for row in rows))
    if len(texts) < 2:
        return None
    numeric = _numeric(rows, key)
    lines: dict[str, list[Point]] = {}
    for row in rows:
        value = row.settings[key]
        x = float(value) if numeric else float(texts.index(_text(value)))  # type: ignore[arg-type]
        point = pick(row, x)
        if point is not None:
            lines.setdefault(_line(row, _others(record, key)), []).append(point)
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    y = (
        Scale(up, accuracy_limits(points))
        if pick is _accuracy_of
        else Scale(up, (0.0, 1.1 * max(p.y for p in points) or 1.0))
    )
    across = _across([p.x for p in points], key, () if numeric else tuple(texts))
    if len(lines) > _LINES_AT_MOST or all(len(line) == 1 for line in lines.values()):
        return scatter([Group("", tuple(points), Stroke(0))], across, y)
    groups = [
        Group(name, tuple(line), _stroke(name, place, list(lines)))
        for place, (name, line) in enumerate(lines.items())
    ]
    return scatter(groups, across, y, joined=_ordered(rows, key), names_right=True)


def _others(record: Sweep, key: str) -> list[str]:
    return [k for k in record.varied if k != key]


def _line(row: PointSummary, keys: Sequence[str]) -> str:
    """What a line is called: there is room for little, so of several settings their values alone."""
    present = [k for k in keys if k in row.settings]
    if len(present) < 2:
        return _name(row, present) if keys else ""
    return " · ".join(_short(k) if row.settings[k] is True else _text(row.settings[k]) for k in present)


def _stroke(name: str, place: int, names: Sequence[str]) -> Stroke:
    rules = [other.removeprefix("rule ") for other in names]
    if all(other.startswith("rule ") and "," not in other for other in names):
        return rule_stroke(name.removeprefix("rule "), rules)
    return Stroke(place % _COLOURS)


def _numeric(rows: Sequence[PointSummary], key: str) -> bool:
    values = [row.settings[key] for row in rows if key in row.settings]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _ordered(rows: Sequence[PointSummary], key: str) -> bool:
    """Whether there is something between two values: numbers, "none" for no limit, layer sizes; not names."""
    values = [row.settings[key] for row in rows]
    return not any(isinstance(v, bool) or (isinstance(v, str) and v != "none") for v in values)


def _across(values: Sequence[float], key: str, categories: tuple[str, ...]) -> Scale:
    low, high = min(values), max(values)
    if categories:
        return Scale(key, (-0.5, len(categories) - 0.5), categories=categories)
    if low > 0 and high / low >= _WIDE:
        return Scale(key, (low / 1.3, high * 1.3), log=True)
    margin = 0.06 * (high - low) or 0.5
    return Scale(key, (low - margin, high + margin))
