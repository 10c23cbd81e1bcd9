"""Which classes a network takes for which, on the test split."""

from neurofdfa.lab.record import Confusion
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Pair, Panel, Prose
from neurofdfa.report.plot.matrix import height, margins, matrix
from neurofdfa.report.plot.svg import draw

_DRAWN = 100
"""Up to so many classes there is a picture; the table is there for any number."""
_LISTED = 10


def confusion_blocks(found: Confusion | None) -> list[Block]:
    """The matrix, and the confusions that happen most often beside it."""
    if found is None or not any(map(sum, found.counts)):
        return []
    table = _most_frequent(found)
    if len(found.counts) > _DRAWN:
        return [table] if table.rows else [_nothing()]
    names = found.names
    svg = draw(
        matrix(found.counts, names), key="confusion", label="Confusion matrix of the test split",
        height=height(names), margins=margins(names),
    )  # fmt: skip
    caption = (
        "A row for each true class, a column for what its test samples were taken for. The diagonal is "
        "right; a field is filled the more, the larger its share of the row."
    )
    figure = Figure((Panel("", svg),), caption)
    return [Pair(figure, table)] if table.rows else [figure, _nothing()]


def _nothing() -> Prose:
    return Prose("No test sample was taken for another class.", "good")


def _most_frequent(found: Confusion) -> Table:
    wrong = [
        (number, row, column)
        for row, line in enumerate(found.counts)
        for column, number in enumerate(line)
        if number and row != column
    ]
    rows = tuple(
        (
            Cell(found.names[row], row),
            Cell(found.names[column], column),
            Cell(f"{words.count(number)} of {words.count(sum(found.counts[row]))}", number),
        )
        for number, row, column in sorted(wrong, key=lambda one: (-one[0], *one[1:]))[:_LISTED]
    )
    columns = (
        Column("Class", number=False),
        Column("Taken for", number=False),
        Column("Samples"),
    )
    return Table(columns, rows, "The most frequent confusions.")
