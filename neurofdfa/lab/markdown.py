# pyright: reportUnknownMemberType=false
"""A sweep as a Markdown table and a picture: `python -m neurofdfa.lab.markdown DIR --choose training.lr`.

`--choose training.lr` keeps, of the points that differ in that setting alone, the one with the best
mean validation accuracy; a study with `[choose]` has done so already. Named tasks become columns. `--against
KEY` names the setting on the picture's axis, or is `energy`. `--paired rule.name` adds the differences
between rows that are alike but for that setting, seed by seed; given again, for others that go with it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

from neurofdfa.io import read_json, write_whole
from neurofdfa.lab.ablation import NAME
from neurofdfa.lab.crosstable import Row, crosstables, lines, setting, share
from neurofdfa.lab.pairs import pairs
from neurofdfa.lab.space import TASK
from neurofdfa.report.ablation_page import ablation_picture
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.scatter import Group, Point, Scale, scatter
from neurofdfa.report.plot.style import RC, Stroke
from neurofdfa.report.studies import read_ablation

_COLOURS = 8


def chosen(rows: Sequence[Row], keys: Sequence[str], seeds: int) -> list[Row]:
    """Of the rows that differ in `keys` alone the best on validation data, if all `seeds` ran."""
    best: dict[str, Row] = {}
    for row in rows:
        held = _held(row, keys)
        if (
            row["n"] == seeds
            and row["validation_mean"] > best.get(held, {"validation_mean": -1.0})["validation_mean"]
        ):
            best[held] = row
    return list(best.values())


def sweep_tables(document: Mapping[str, Any], choose: Sequence[str] = ()) -> tuple[list[Row], str]:
    """The rows of ablation.json that count, and their Markdown. choose: as on the command line."""
    varied, seeds = document["varied"], len(document["seeds"])
    if choose:
        rows, hidden = chosen(document["rows"], choose, seeds), list(choose)
    else:
        rows, hidden = kept(document["rows"], document.get("choose", ())), document.get("choose", [])
    if TASK in varied:
        return rows, crosstables(rows, varied, hidden, seeds)
    return rows, table(rows, varied)


def kept(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """Of the rows that differ in `keys` alone the one that the study kept; the first one where all failed."""
    groups: dict[str, Row] = {}
    for place, row in enumerate(rows):
        held = _held(row, keys) if keys else str(place)
        if held not in groups or row.get("chosen"):
            groups[held] = row
    return list(groups.values())


def _held(row: Row, keys: Sequence[str]) -> str:
    return json.dumps({key: value for key, value in row["settings"].items() if key not in keys})


def table(rows: Sequence[Row], varied: Sequence[str]) -> str:
    """A line per row: its settings, then means ± half of the 95 % interval; what no row has is left out."""
    columns = {
        **{key: [setting(row, key) for row in rows] for key in varied},
        "validation %": [share(row["validation_mean"], row["validation_ci95"]) for row in rows],
        "test %": [share(row["mean"], row["ci95"]) for row in rows],
        "cosine to BPTT": [_number(row["alignment"], 1.0, 2) for row in rows],
        "cosine of B to the gain": [_number(row.get("feedback_quality"), 1.0, 2) for row in rows],
        "µJ per sample": [_number(row.get("energy"), 1e6, 2) for row in rows],
        "seconds": [_number(row.get("seconds"), 1.0, 1) for row in rows],
        "CPU seconds": [_number(row.get("cpu_seconds"), 1.0, 1) for row in rows],
        "peak MiB": [_number(row.get("peak_mib"), 1.0, 1) for row in rows],
        "spikes per neuron and step, %": [_number(row["firing_rate"], 100.0, 1) for row in rows],
    }
    known = {name: cells for name, cells in columns.items() if any(cell != "–" for cell in cells)}
    return lines([list(known), *(list(line) for line in zip(*known.values(), strict=True))])


def picture(folder: Path, points: Sequence[int], without: Sequence[str], against: Sequence[str]) -> bytes:
    """Validation accuracy of some points against one or two settings as PNG."""
    record = read_ablation(folder)
    rows = tuple(row for row in record.rows if row.point in points)
    varied = [key for key in record.varied if key not in without]
    varied.sort(key=lambda key: key not in against)  # the picture has a plot for each of the first two
    with matplotlib.rc_context(RC):
        return ablation_picture(replace(record, rows=rows, varied=tuple(varied)), plots=len(against) or 2)


def energy_picture(title: str, rows: Sequence[Row], varied: Sequence[str]) -> bytes:
    """Validation accuracy against joules per learnt sample as PNG."""
    known = [row for row in rows if row.get("energy") is not None]
    groups = [
        Group(_words(row, varied), (_point(row),), Stroke(place % _COLOURS))
        for place, row in enumerate(known)
    ]
    x = [group.points[0].x for group in groups]
    y = [end for row in known for end in row["validation_ci95"] or [row["validation_mean"]]]
    across = Scale("µJ per learnt sample (CMOS)", (0.0, 1.15 * max(x)))
    up = Scale("validation accuracy, %", (100 * min(y) - 2, min(102.0, 100 * max(y) + 2)))
    with matplotlib.rc_context(RC):
        return compose(
            [Part(title, printed(scatter(groups, across, up, names_right=True)), named_lines=True)]
        )


def _point(row: Row) -> Point:
    low, high = (100 * float(end) for end in row["validation_ci95"] or [row["validation_mean"]] * 2)
    return Point(1e6 * row["energy"], 100 * row["validation_mean"], low, high)


def _words(row: Row, varied: Sequence[str]) -> str:
    """The rule and the values of whatever else is set but the learning rate."""
    values = [row["settings"][key] for key in varied if key != "training.lr" and key in row["settings"]]
    return " ".join(str(value) for value in values)


def _number(value: float | None, scale: float, digits: int) -> str:
    return "–" if value is None else f"{scale * value:.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, write the picture."""
    parser = argparse.ArgumentParser(prog="python -m neurofdfa.lab.markdown", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--choose", action="append", default=[], metavar="KEY")
    parser.add_argument("--against", action="append", default=[], metavar="KEY")
    parser.add_argument("--paired", action="append", default=[], metavar="KEY")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    given = parser.parse_args(arguments)
    if not (given.folder / NAME).is_file():
        parser.error(f"{given.folder} holds no finished sweep: give its `neurofdfa ablate` command again")
    document = read_json(given.folder / NAME)
    rows, text = sweep_tables(document, given.choose)
    print(text)
    if given.paired:
        chosen_keys = [*given.choose, *document.get("choose", ())]
        varied = [key for key in document["varied"] if key not in chosen_keys]
        print(f"\n{pairs(rows, given.paired, varied)}")
    if given.picture is not None:
        if given.against == ["energy"]:
            png = energy_picture(document["name"], rows, document["varied"])
        else:
            png = picture(given.folder, [row["point"] for row in rows], given.choose, given.against)

        def save(file: Path) -> None:
            file.write_bytes(png)

        write_whole(given.picture, save)


if __name__ == "__main__":
    main()
