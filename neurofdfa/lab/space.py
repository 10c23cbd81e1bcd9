"""What a study spans: its points, and the settings of each. Files of them: `neurofdfa.lab.study_file`."""

import itertools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Settings = dict[str, Any]
"""Dotted settings of a run, e.g. {"training.lr": 1e-3}."""

Axes = dict[str, tuple[Any, ...]]
"""Values of each dotted setting."""

TASK = "task"
"""Under this key a point names its task."""

KINDS = ("uniform", "log", "integer", "choice")


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


class Task(NamedTuple):
    """Settings that make a task, and its own values of what is chosen."""

    settings: Settings
    choose: Axes


@dataclass(frozen=True)
class Study:
    """What a TOML file asks for; `text` is the file."""

    name: str
    seeds: tuple[int, ...]
    base: Settings
    grid: Axes
    cases: tuple[Settings, ...]
    random: dict[str, Distribution]
    trials: int = 0
    seed: int = 0
    search: Search | None = None
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    choose: Axes = field(default_factory=dict[str, tuple[Any, ...]])
    text: str = field(default="", compare=False)

    @property
    def varied(self) -> tuple[str, ...]:
        """What differs between points, in the file's order."""
        named = [TASK] if self.tasks else []
        cases = [key for case in self.cases for key in case]
        return tuple(dict.fromkeys([*named, *cases, *self.grid, *self.random, *self.chosen]))

    @property
    def chosen(self) -> tuple[str, ...]:
        """The settings of which the first seed decides."""
        of_tasks = [key for task in self.tasks.values() for key in task.choose]
        return tuple(dict.fromkeys([*self.choose, *of_tasks]))

    @property
    def size(self) -> int:
        """How many points there are, without making them; those of a search count, too."""
        axes = [self.grid | choose for _, choose in self._tasks()]
        fixed = max(1, len(self.cases)) * sum(math.prod(map(len, axis.values())) for axis in axes)
        return fixed * (self.trials if self.random else 1)

    def points(self) -> list[Settings]:
        """What differs, for every point that is known beforehand; the points of a search are not."""
        fixed = [
            point | case | chosen
            for point, choose in self._tasks()
            for case in self.cases or ({},)
            for chosen in _combinations(self.grid | choose)
        ]
        if not self.random:
            return fixed
        return [point | drawn for drawn in self._draws() for point in fixed]

    def settings(self, point: Settings) -> Settings:
        """All settings of a point's runs but the seed."""
        own = {key: value for key, value in point.items() if key != TASK}
        return self.base | (self.tasks[point[TASK]].settings if TASK in point else {}) | own

    def rooted(self, data_root: Path | None) -> "Study":
        """The same study with the place of its data on this machine, if that is given."""
        if data_root is None:
            return self
        tasks = {
            name: task._replace(settings={k: v for k, v in task.settings.items() if k != "data.root"})
            for name, task in self.tasks.items()
        }
        return replace(self, base=self.base | {"data.root": str(data_root)}, tasks=tasks)

    def _tasks(self) -> list[tuple[Settings, Axes]]:
        if not self.tasks:
            return [({}, self.choose)]
        return [({TASK: name}, self.choose | task.choose) for name, task in self.tasks.items()]

    def _draws(self) -> list[Settings]:
        generator = np.random.default_rng(self.seed)
        return [
            {key: distribution.draw(generator) for key, distribution in self.random.items()}
            for _ in range(self.trials)
        ]


def _combinations(axes: Axes) -> list[Settings]:
    pairs = [[(key, value) for value in values] for key, values in axes.items()]
    return [dict(combination) for combination in itertools.product(*pairs)]


def short(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")
