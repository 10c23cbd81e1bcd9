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

[random]                                   # drawn; the same draws at every combination
trials = 20
seed = 0
"training.lr" = { log = [1e-3, 1e-1] }     # or uniform, integer = [low, high], choice = [...]

[search]                                   # Optuna proposes what [random] spans, on validation accuracy
batch = 4                                  # points per proposal
"""

import difflib
import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from neurofdfa.errors import UserError
from neurofdfa.lab.config import RunConfig

Settings = dict[str, Any]
"""Dotted settings of a run, e.g. {"training.lr": 1e-3}."""

KINDS = ("uniform", "log", "integer", "choice")
_OPEN = ("rule.options", "data.options")


@dataclass(frozen=True)
class Distribution:
    """Where a setting is drawn from. kind: one of `KINDS`; values: low and high, or the choices."""

    kind: str
    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """One value; numbers keep six digits, so that tables and files show what was run."""
        if self.kind == "choice":
            return self.values[int(generator.integers(len(self.values)))]
        low, high = float(self.values[0]), float(self.values[1])
        if self.kind == "integer":
            return int(generator.integers(int(low), int(high) + 1))
        if self.kind == "uniform":
            return short(float(generator.uniform(low, high)))
        return short(math.exp(float(generator.uniform(math.log(low), math.log(high)))))


@dataclass(frozen=True)
class Search:
    """Optuna's settings. batch: points that are proposed together, then run, then told."""

    sampler: str = "tpe"
    batch: int = 4


@dataclass(frozen=True)
class Study:
    """What a TOML file asks for; `text` is the file."""

    name: str
    seeds: tuple[int, ...]
    base: Settings
    grid: dict[str, tuple[Any, ...]]
    cases: tuple[Settings, ...]
    random: dict[str, Distribution]
    trials: int = 0
    seed: int = 0
    search: Search | None = None
    text: str = field(default="", compare=False)

    @property
    def varied(self) -> tuple[str, ...]:
        """The settings that differ between points, in the file's order."""
        return tuple(dict.fromkeys([*(key for case in self.cases for key in case), *self.grid, *self.random]))

    def points(self) -> list[Settings]:
        """The settings of every point that is known beforehand; those of a search are not."""
        axes = [[(key, value) for value in values] for key, values in self.grid.items()]
        fixed = [case | dict(chosen) for case in self.cases or ({},) for chosen in itertools.product(*axes)]
        if not self.random:
            return fixed
        return [point | drawn for drawn in self._draws() for point in fixed]

    def _draws(self) -> list[Settings]:
        generator = np.random.default_rng(self.seed)
        return [
            {key: distribution.draw(generator) for key, distribution in self.random.items()}
            for _ in range(self.trials)
        ]


def short(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")


def read_study(path: Path) -> Study:
    """Read and check a study; raises `UserError` with the line that says what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    known = {"name", "seeds", "base", "grid", "cases", "random", "search"}
    if unknown := tree.keys() - known:
        raise UserError(f"{path}: unknown {sorted(unknown)}: a study takes {', '.join(sorted(known))}")
    random = flatten(_table(tree, "random", path))
    trials, seed = random.pop("trials", 0), random.pop("seed", 0)
    study = Study(
        name=str(tree.get("name", path.stem)),
        seeds=_seeds(tree.get("seeds", 1), path),
        base=flatten(_table(tree, "base", path)),
        grid={
            key: _choices(key, values, path) for key, values in flatten(_table(tree, "grid", path)).items()
        },
        cases=tuple(flatten(case) for case in _cases(tree, path)),
        random={key: _distribution(key, value, path) for key, value in random.items()},
        trials=_count(trials, f"{path}: [random] trials", least=1 if random else 0),
        seed=_count(seed, f"{path}: [random] seed"),
        search=_search(tree, path),
        text=text,
    )
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
    for key in (*study.base, *study.varied):
        if key == "seed":
            raise UserError(f"{path}: 'seed' is not a setting to vary: list the seeds in `seeds = [...]`")
        check_key(key, str(path))
    clashes = [key for key in study.varied if sum(key in axis for axis in (study.grid, study.random)) > 1] + [
        key for case in study.cases for key in case if key in study.grid or key in study.random
    ]
    if clashes:
        raise UserError(f"{path}: '{clashes[0]}' is varied twice")
    try:
        RunConfig().with_settings(study.base)
    except UserError as error:
        raise UserError(f"{path}: [base] {str(error).removeprefix('config: ')}") from error
    if study.search is not None and (not study.random or study.grid or study.cases):
        raise UserError(f"{path}: [search] proposes what [random] spans, without [grid] and [[cases]]")


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
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(seeds, list) or not seeds:
        raise UserError(f"{path}: seeds must be a number of seeds or a list of them, got {value!r}")
    listed = tuple(_count(seed, f"{path}: a seed") for seed in cast(list[Any], seeds))
    if len(set(listed)) < len(listed):
        raise UserError(f"{path}: a seed is listed twice: {list(listed)}")
    return listed


def _count(value: Any, what: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{what} must be a whole number of {least} or more, got {value!r}")
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
