"""Paired differences between the rows of a sweep, as Markdown: what equal seeds say about two rules."""

import json
from collections.abc import Sequence
from itertools import combinations

from neurofdfa.lab.crosstable import Row, lines, setting, share
from neurofdfa.lab.statistics import paired


def pairs(rows: Sequence[Row], keys: Sequence[str], varied: Sequence[str]) -> str:
    """Of the rows that differ in `keys` alone each minus each that is listed before it, by seed.

    varied: settings that differ in the sweep; those that are not in `keys` name what two rows share, those
    in `keys` that are words, or true, the rows. Means ± half of the 95 % t interval of the difference, in
    points.
    """
    shared = [key for key in varied if key not in keys]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        held = json.dumps([row["settings"].get(key) for key in shared])
        groups.setdefault(held, []).append(row)
    found = [
        [*(setting(second, key) for key in shared), *_difference(first, second, keys)]
        for group in groups.values()
        for first, second in combinations(group, 2)
    ]
    return lines([[*shared, f"{keys[0]}, paired", "validation", "test", "seeds"], *found])


def _difference(first: Row, second: Row, keys: Sequence[str]) -> list[str]:
    found = [
        paired(_by_seed(second, f"{split}_accuracy"), _by_seed(first, f"{split}_accuracy"))
        for split in ("validation", "test")
    ]
    cells = ["–" if one is None else share(one.mean, one.ci95) for one in found]
    seeds = 0 if found[0] is None else found[0].n
    return [f"{_words(second, keys)} − {_words(first, keys)}", *cells, str(seeds)]


def _words(row: Row, keys: Sequence[str]) -> str:
    values = [(key.rpartition(".")[2], row["settings"].get(key)) for key in keys]
    said = [name if value is True else value for name, value in values]
    return " ".join(value for value in said if isinstance(value, str)) or setting(row, keys[0])


def _by_seed(row: Row, accuracy: str) -> dict[int, float]:
    return {run["seed"]: run["result"][accuracy] for run in row["runs"]}
