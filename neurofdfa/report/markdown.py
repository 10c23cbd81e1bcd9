# pyright: reportUnknownMemberType=false
"""A sweep as a Markdown table and a picture: `python -m neurofdfa.report.markdown DIR --choose training.lr`.

`--choose training.lr` keeps, of the points that differ in that setting alone, the one with the best
mean validation accuracy; a study with `[choose]` has done so already. Named tasks become columns. `--against
KEY` names the setting on the picture's axis, or is `energy`. `--paired rule.name` adds the differences
between rows that are alike but for that setting, seed by seed; given again, for others that go with it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from neurofdfa.io import write_bytes
from neurofdfa.lab.results import SWEEP, PointSummary, Sweep
from neurofdfa.lab.tables import counting, pairs, sweep_markdown
from neurofdfa.report.ablation_page import sweep_picture
from neurofdfa.report.costs import accuracy_limits, accuracy_point
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.scatter import Group, Scale, scatter
from neurofdfa.report.plot.style import RC, Stroke

_COLOURS = 8


def picture(
    found: Sweep, rows: Sequence[PointSummary], without: Sequence[str], against: Sequence[str]
) -> bytes:
    """Validation accuracy of some points against one or two settings as PNG."""
    varied = [key for key in found.varied if key not in without]
    varied.sort(key=lambda key: key not in against)  # the picture has a plot for each of the first two
    shown = found.model_copy(update={"rows": tuple(rows), "varied": tuple(varied)})
    with matplotlib.rc_context(RC):
        return sweep_picture(shown, plots=len(against) or 2)


def energy_picture(title: str, rows: Sequence[PointSummary], varied: Sequence[str]) -> bytes:
    """Validation accuracy against joules per learnt sample as PNG."""
    groups = [
        Group(
            _words(row, varied),
            (accuracy_point(1e6 * row.energy, row.validation_mean, row.validation_ci95),),
            Stroke(place % _COLOURS),
        )
        for place, row in enumerate(row for row in rows if row.energy is not None)
        if row.energy is not None and row.validation_mean is not None
    ]
    points = [group.points[0] for group in groups]
    across = Scale("µJ per learnt sample (CMOS)", (0.0, 1.15 * max((p.x for p in points), default=1.0)))
    up = Scale("validation accuracy, %", accuracy_limits(points))
    with matplotlib.rc_context(RC):
        return compose(
            [Part(title, printed(scatter(groups, across, up, names_right=True)), named_lines=True)]
        )


def _words(row: PointSummary, varied: Sequence[str]) -> str:
    """The rule and the values of whatever else is set but the learning rate."""
    values = [row.settings[key] for key in varied if key != "training.lr" and key in row.settings]
    return " ".join(str(value) for value in values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, write the picture."""
    parser = argparse.ArgumentParser(prog="python -m neurofdfa.report.markdown", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--choose", action="append", default=[], metavar="KEY")
    parser.add_argument("--against", action="append", default=[], metavar="KEY")
    parser.add_argument("--paired", action="append", default=[], metavar="KEY")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    given = parser.parse_args(arguments)
    if not (given.folder / SWEEP).is_file():
        parser.error(f"{given.folder} holds no finished sweep: give its `neurofdfa ablate` command again")
    found = Sweep.read(given.folder / SWEEP)
    rows = counting(found, given.choose)
    print(sweep_markdown(found, given.choose))
    if given.paired:
        hidden = [*given.choose, *found.choose]
        varied = [key for key in found.varied if key not in hidden]
        print(f"\n{pairs(rows, given.paired, varied).markdown()}")
    if given.picture is not None:
        energy = given.against == ["energy"]
        png = (
            energy_picture(found.name, rows, found.varied)
            if energy
            else picture(found, rows, given.choose, given.against)
        )
        write_bytes(given.picture, png)


if __name__ == "__main__":
    main()
