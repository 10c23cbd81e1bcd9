"""Tables of comparisons and sweeps, for the command line and as Markdown."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from neurofdfa.lab.results import Comparison, PointSummary, Sweep
from neurofdfa.lab.space import TASK
from neurofdfa.lab.statistics import paired
from neurofdfa.lab.table import DASH, Column, Table, table, with_interval
from neurofdfa.rules import EXACT

COSTS = "CPU seconds of training, MiB at the peak of a training step"
RANKED = 20


def comparison_table(found: Comparison) -> Table:
    """Rules side by side: accuracies, the paired difference from the reference, costs."""
    titles = ("test %", "valid.", f"− {found.reference}", "p", "training", "peak", "energy")
    columns = [Column(title) for title in (*titles, "epochs to " + number(found.level, 100.0, 1, " %"))]
    rows: list[list[str]] = []
    for row in found.rows:
        far = row.difference
        rows.append(
            [
                row.rule,
                with_interval(row.mean, row.ci95),
                with_interval(row.validation_mean, None),
                DASH if far is None else with_interval(far.mean, far.ci95, signed=True),
                DASH if far is None else number(far.p_holm, 1.0, 3),
                number(row.seconds, 1.0, 1, " s"),
                number(row.peak_mib, 1.0, 1, " MiB"),
                DASH if row.energy is None else f"{1e6 * row.energy:.2g} µJ",
                number(row.epochs_to_level, 1.0, 1),
            ]
        )
    caption = f"{found.data}, {len(found.seeds)} seed(s); ± is the 95 % interval of the mean; p after Holm"
    return table(["rule", *columns], rows, caption)


def ranking(found: Sweep) -> Table:
    """The points of a sweep, best on validation data first."""
    rows = [row for row in found.rows if row.validation_mean is not None]
    rows.sort(key=lambda row: (-(row.validation_mean or 0.0), row.point))
    caption = "best on validation data first" + (f", {RANKED} of {len(rows)}" if len(rows) > RANKED else "")
    cells = [
        [
            *(str(row.settings.get(key, "")) for key in found.varied),
            with_interval(row.validation_mean, row.validation_ci95),
            with_interval(row.mean, row.ci95),
            str(row.n),
        ]
        for row in rows[:RANKED]
    ]
    numbers = (Column("validation"), Column("test"), Column("seeds"))
    return table([*found.varied, *numbers], cells, caption)


def sweep_markdown(found: Sweep, choose: Sequence[str] = ()) -> str:
    """A sweep as Markdown: a line per point that counts, or with tasks a column for each."""
    rows, hidden = counting(found, choose), choose or found.choose
    if TASK in found.varied:
        return crosstables(rows, found.varied, hidden, len(found.seeds))
    return points_table(rows, found.varied).markdown()


def counting(found: Sweep, choose: Sequence[str] = ()) -> list[PointSummary]:
    """The points that count. choose: settings of which the best on validation data is taken, where the
    study has not done so itself.
    """
    return chosen(found.rows, choose, len(found.seeds)) if choose else kept(found.rows, found.choose)


def chosen(rows: Sequence[PointSummary], keys: Sequence[str], seeds: int) -> list[PointSummary]:
    """Of the rows that differ in `keys` alone the best on validation data, if all `seeds` ran."""
    best: dict[str, PointSummary] = {}
    for row in rows:
        if row.n != seeds or row.validation_mean is None:
            continue
        held = _held(row, keys)
        if held not in best or row.validation_mean > (best[held].validation_mean or 0.0):
            best[held] = row
    return list(best.values())


def kept(rows: Sequence[PointSummary], keys: Sequence[str]) -> list[PointSummary]:
    """Of the rows that differ in `keys` alone the one that the study kept; the first one where all failed."""
    groups: dict[str, PointSummary] = {}
    for place, row in enumerate(rows):
        held = _held(row, keys) if keys else str(place)
        if held not in groups or row.chosen:
            groups[held] = row
    return list(groups.values())


def _held(row: PointSummary, keys: Sequence[str]) -> str:
    return json.dumps({key: value for key, value in row.settings.items() if key not in keys})


def points_table(rows: Sequence[PointSummary], varied: Sequence[str]) -> Table:
    """A line per row: its settings, then means ± half of the 95 % interval; what no row has is left out."""
    columns = {
        **{key: [setting(row, key) for row in rows] for key in varied},
        "validation %": [with_interval(row.validation_mean, row.validation_ci95) for row in rows],
        "test %": [with_interval(row.mean, row.ci95) for row in rows],
        f"cosine to {EXACT.title}": [number(row.alignment, 1.0, 2) for row in rows],
        "cosine of B to the gain": [number(row.feedback_quality, 1.0, 2) for row in rows],
        "µJ per sample": [number(row.energy, 1e6, 2) for row in rows],
        "seconds": [number(row.seconds, 1.0, 1) for row in rows],
        "CPU seconds": [number(row.cpu_seconds, 1.0, 1) for row in rows],
        "peak MiB": [number(row.peak_mib, 1.0, 1) for row in rows],
        "spikes per neuron and step, %": [number(row.firing_rate, 100.0, 1) for row in rows],
    }
    known = {name: cells for name, cells in columns.items() if any(cell != DASH for cell in cells)}
    return table(list(known), list(zip(*known.values(), strict=True)))


def crosstables(
    rows: Sequence[PointSummary], varied: Sequence[str], hidden: Sequence[str], seeds: int
) -> str:
    """A sweep over named tasks: accuracies, costs and the values chosen, a table each, with a line for what
    else is varied and a column for each task. A number of seeds in brackets says that the others failed.
    """
    beside = [key for key in varied if key != TASK and key not in hidden]
    parts: dict[str, Callable[[PointSummary], str]] = {
        "Test accuracy, %": lambda row: _share(row, row.mean, row.ci95, seeds),
        "Validation accuracy, %": lambda row: _share(row, row.validation_mean, row.validation_ci95, seeds),
        COSTS: _costs,
    }
    parts |= {f"Chosen {key}": lambda row, key=key: setting(row, key) for key in hidden}
    return "\n\n".join(f"{title}\n\n{_crosstable(rows, beside, cell)}" for title, cell in parts.items())


def _crosstable(
    rows: Sequence[PointSummary], beside: Sequence[str], cell: Callable[[PointSummary], str]
) -> str:
    tasks = list(dict.fromkeys(setting(row, TASK) for row in rows))
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        line = tuple(setting(row, key) for key in beside)
        found.setdefault(line, {})[setting(row, TASK)] = cell(row)
    body = [[*line, *(cells.get(task, DASH) for task in tasks)] for line, cells in found.items()]
    return table([*beside, *tasks], body).markdown()


def _share(row: PointSummary, mean: float | None, ends: Sequence[float] | None, seeds: int) -> str:
    if not row.n:
        return "failed" if row.failed else DASH
    text = with_interval(mean, ends)
    return text if row.n == seeds else f"{text} ({row.n} of {seeds})"


def _costs(row: PointSummary) -> str:
    if row.cpu_seconds is None or row.peak_mib is None:
        return DASH
    return f"{row.cpu_seconds:.1f} s, {row.peak_mib:.1f}"


def pairs(rows: Sequence[PointSummary], keys: Sequence[str], varied: Sequence[str]) -> Table:
    """Of the rows that differ in `keys` alone each minus each that is listed before it, by seed.

    varied: settings that differ in the sweep; those that are not in `keys` name what two rows share, those
    in `keys` that are words, or true, the rows. Means ± half of the 95 % t interval of the difference, in
    points.
    """
    shared = [key for key in varied if key not in keys]
    groups: dict[str, list[PointSummary]] = {}
    for row in rows:
        held = json.dumps([row.settings.get(key) for key in shared])
        groups.setdefault(held, []).append(row)
    found = [
        [*(setting(second, key) for key in shared), *_difference(first, second, keys)]
        for group in groups.values()
        for first, second in combinations(group, 2)
    ]
    return table([*shared, f"{keys[0]}, paired", "validation", "test", "seeds"], found)


def _difference(first: PointSummary, second: PointSummary, keys: Sequence[str]) -> list[str]:
    found = [
        paired(second.by_seed(accuracy), first.by_seed(accuracy))
        for accuracy in ("validation_accuracy", "test_accuracy")
    ]
    cells = [DASH if one is None else with_interval(one.mean, one.ci95, signed=True) for one in found]
    seeds = 0 if found[0] is None else found[0].n
    return [f"{_words(second, keys)} − {_words(first, keys)}", *cells, str(seeds)]


def _words(row: PointSummary, keys: Sequence[str]) -> str:
    values = [(key.rpartition(".")[2], row.settings.get(key)) for key in keys]
    said = [name if value is True else value for name, value in values]
    return " ".join(value for value in said if isinstance(value, str)) or setting(row, keys[0])


def setting(row: PointSummary, key: str) -> str:
    """A varied setting as a cell says it."""
    value = row.settings.get(key, DASH)
    return value if isinstance(value, str) else json.dumps(value)


def settings_in_words(settings: Mapping[str, object]) -> str:
    """'rule.name=fdfa, training.lr=0.01'."""
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "no varied setting"


def number(value: float | None, scale: float, digits: int, unit: str = "") -> str:
    """A measured number, or a dash."""
    return DASH if value is None else f"{scale * value:.{digits}f}{unit}"
