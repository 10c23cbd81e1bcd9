"""A study as a TOML file: which settings of a run are held, which are varied, and how.

name = "feedback precision"
seeds = [0, 1, 2]                          # every point is run with each: paired

[base]                                     # settings of every run; the rest are the defaults
"data.name" = "digits"

[grid]                                     # every combination
"rule.options.fraction" = [0.1, 0.5, 1.0]

[[cases]]                                  # settings that change together
"rule.name" = "fdfa"
"training.lr" = 0.02

[tasks.timing]                             # named settings on top of [base]: every task with everything else
"data.name" = "randman"

[choose]                                   # every value with the first seed; the best on validation data goes
"training.lr" = [1e-3, 1e-2]               # on to the other seeds. [tasks.timing.choose]: a task's own values

[random]                                   # drawn; the same draws at every combination
trials = 20
seed = 0
"network.rate" = { log = [1e-2, 1e-1] }     # or uniform, integer = [low, high], choice = [...]

[search]                                   # Optuna proposes what [random] spans, on validation accuracy
batch = 4                                  # points per proposal
"""

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from neurofdfa.errors import UserError
from neurofdfa.io import parse_toml, read_text
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.space import KINDS, TASK, Axes, Distribution, Search, Settings, Study, Task

_OPEN = ("rule.options", "data.options")
MANY = 100_000
"""Points of a study, and seeds of each: more are a slip of the pen."""
MOST = 1 << 53
"""Largest whole number that is still exact as a float."""


def read_study(path: Path) -> Study:
    """Read and check a study; raises `UserError` with the line that says what is wrong."""
    text = read_text(path)
    tree = parse_toml(text, str(path))
    known = {"name", "seeds", "base", "tasks", "choose", "grid", "cases", "random", "search"}
    if unknown := tree.keys() - known:
        raise UserError(f"{path}: unknown {sorted(unknown)}: a study takes {', '.join(sorted(known))}")
    random = flatten(_table(tree, "random", path))
    trials, seed = random.pop("trials", 0), random.pop("seed", 0)
    study = Study(
        name=str(tree.get("name", path.stem)),
        seeds=_seeds(tree.get("seeds", 1), path),
        base=flatten(_table(tree, "base", path)),
        tasks=_tasks(_table(tree, "tasks", path), path),
        choose=_axes(_table(tree, "choose", path), path),
        grid=_axes(_table(tree, "grid", path), path),
        cases=tuple(flatten(case) for case in _cases(tree, path)),
        random={key: _distribution(key, value, path) for key, value in random.items()},
        trials=_count(trials, f"{path}: [random] trials", least=1 if random else 0),
        seed=_count(seed, f"{path}: [random] seed"),
        search=_search(tree, path),
        text=text,
    )
    if study.size > MANY:
        raise UserError(f"{path}: it spans more than {MANY} points: vary less, or draw some with [random]")
    _check(study, path)
    return study


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested tables as dotted settings; the table of a distribution stays whole."""
    flat: Settings = {}
    for key, value in tree.items():
        if isinstance(value, dict) and not set(cast(dict[str, Any], value)) & set(KINDS):
            flat |= flatten(cast(dict[str, Any], value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def check_key(key: str, where: str) -> None:
    """Refuse a dotted setting that no run has."""
    if any(key.startswith(f"{table}.") for table in _OPEN):
        return
    known = flatten(RunConfig().model_dump())
    if key in known or key in _OPEN:
        return
    table, _, last = key.rpartition(".")
    beside = [name for name in known if table and name.startswith(f"{table}.")]
    if beside:
        near = [f"{table}.{x}" for x in _near(last, [name.rpartition(".")[2] for name in beside])]
        there = f"{table} has {', '.join(beside)}"
    else:
        settings = [name for name in known if "." in name] + [f"{name}.{last}" for name in _OPEN]
        near = _near(key, settings)
        tables = dict.fromkeys(name.rpartition(".")[0] for name in settings)
        there = f"the tables are {', '.join(tables)}"
    found = f"did you mean {' or '.join(near)}?" if near else there
    raise UserError(f"{where}: no setting '{key}': {found}")


def _near(word: str, words: list[str]) -> list[str]:
    return difflib.get_close_matches(word, words, n=2, cutoff=0.7)


def _check(study: Study, path: Path) -> None:
    of_tasks = [key for task in study.tasks.values() for key in task.settings]
    for key in (*study.base, *of_tasks, *study.varied):
        if key == "seed":
            raise UserError(f"{path}: 'seed' is not a setting to vary: list the seeds in `seeds = [...]`")
        if key != TASK:
            check_key(key, str(path))
    places = [set(of_tasks), {key for case in study.cases for key in case}]
    places += [set(study.grid), set(study.random), set(study.chosen)]
    clashes = [key for key in (*study.varied, *of_tasks) if sum(key in place for place in places) > 1]
    if clashes:
        raise UserError(f"{path}: '{clashes[0]}' is varied twice")
    tables = {"base": {}} | {f"tasks.{name}": task.settings for name, task in study.tasks.items()}
    for where, settings in tables.items():
        try:
            RunConfig().with_settings(study.base | settings)
        except UserError as error:
            raise UserError(f"{path}: [{where}] {str(error).removeprefix('config: ')}") from error
    others = (study.grid, study.cases, study.tasks, study.choose)
    if study.search is not None and (not study.random or any(others)):
        raise UserError(f"{path}: [search] proposes what [random] spans, and nothing else is varied")


def _tasks(tree: dict[str, Any], path: Path) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for name in tree:
        table = _table(tree, name, path)
        settings = {key: value for key, value in table.items() if key != "choose"}
        tasks[name] = Task(flatten(settings), _axes(_table(table, "choose", path), path))
    return tasks


def _axes(table: dict[str, Any], path: Path) -> Axes:
    return {key: _choices(key, values, path) for key, values in flatten(table).items()}


def _table(tree: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = tree.get(name, {})
    if not isinstance(table, dict):
        raise UserError(f"{path}: '{name}' must be a table, [{name}]")
    return cast(dict[str, Any], table)


def _cases(tree: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    cases: Any = tree.get("cases", [])
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cast(list[Any], cases)):
        raise UserError(f"{path}: 'cases' must be a list of tables, [[cases]]")
    return cast(list[dict[str, Any]], cases)


def _seeds(value: Any, path: Path) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and value > MANY:
        raise UserError(f"{path}: seeds: at most {MANY} for each point")
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(seeds, list) or not seeds:
        raise UserError(f"{path}: seeds must be a number of seeds or a list of them, got {value!r}")
    listed = tuple(_count(seed, f"{path}: a seed") for seed in cast(list[Any], seeds))
    if len(set(listed)) < len(listed):
        raise UserError(f"{path}: a seed is listed twice: {list(listed)}")
    return listed


def _count(value: Any, what: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        shown = value if not isinstance(value, int) or value <= MOST else "a larger one"
        raise UserError(f"{what} must be a whole number of {least} or more, at most {MOST}, got {shown!r}")
    return value


def _choices(key: str, values: Any, path: Path) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise UserError(f"{path}: '{key}' needs a list of values, e.g. [1, 2], got {values!r}")
    return tuple(cast(list[Any], values))


def _distribution(key: str, value: Any, path: Path) -> Distribution:
    if not isinstance(value, dict) or len(cast(dict[str, Any], value)) != 1:
        raise UserError(f"{path}: [random] '{key}' needs one of {{ {', '.join(KINDS)} = [...] }}")
    (kind, listed), *_ = cast(dict[str, Any], value).items()
    values = _choices(key, listed, path)
    if kind == "choice":
        return Distribution(kind, values)
    number = (int,) if kind == "integer" else (int, float)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, number) for v in values):
        raise UserError(f"{path}: [random] '{key}' needs {kind} = [low, high], got {list(values)}")
    if any(abs(v) > MOST if isinstance(v, int) else not math.isfinite(v) for v in values):
        raise UserError(f"{path}: [random] '{key}': {kind} needs finite bounds of at most {MOST}")
    if not values[0] < values[1] or (kind == "log" and values[0] <= 0):
        raise UserError(
            f"{path}: [random] '{key}': {kind} = {list(values)} spans nothing (low < high, log > 0)"
        )
    return Distribution(kind, values)


def _search(tree: dict[str, Any], path: Path) -> Search | None:
    if "search" not in tree:
        return None
    table = _table(tree, "search", path)
    if unknown := table.keys() - {"sampler", "batch"}:
        raise UserError(f"{path}: [search] takes sampler and batch, not {sorted(unknown)}")
    sampler = table.get("sampler", "tpe")
    if sampler not in ("tpe", "random"):
        raise UserError(f"{path}: [search] unknown sampler {sampler!r}: choose tpe or random")
    return Search(sampler, _count(table.get("batch", 4), f"{path}: [search] batch", least=1))
