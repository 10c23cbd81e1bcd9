"""The one table behind the command line, Markdown and reports, and how a mean with its interval is written.

Nothing here needs torch or numpy: `neurofdfa --help` loads it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

DASH = "–"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Cell:
    """What a table shows and the value it is sorted by (None: always last). mark: "best", "good" or "bad"."""

    text: str
    value: float | str | None = None
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand to the right."""

    title: str
    number: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of cells below columns. In a report a click on a column's title sorts it."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    kind: str = "table"

    def markdown(self) -> str:
        """The table as GitHub's Markdown, without its caption."""
        lines = [[column.title for column in self.columns], ["---"] * len(self.columns)]
        lines += [[cell.text for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)

    def rich(self, *, lines: bool = False) -> "RichTable":
        """The table for a terminal; texts are shown letter by letter. lines: one between all rows."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(
            title=Text(printable(self.caption)) if self.caption else None,
            title_justify="left",
            box=box.SQUARE if lines else box.SIMPLE_HEAD,
            show_lines=lines,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            show_header=any(column.title for column in self.columns),
        )
        for column in self.columns:
            shown.add_column(Text(printable(column.title)), justify="right" if column.number else "left")
        for row in self.rows:
            shown.add_row(*(Text(printable(cell.text)) for cell in row))
        return shown


def table(columns: Sequence[str | Column], rows: Sequence[Sequence[str | Cell]], caption: str = "") -> Table:
    """A table from plain texts: a column is of words where a title is given alone."""
    return Table(
        tuple(Column(title, number=False) if isinstance(title, str) else title for title in columns),
        tuple(tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows),
        caption,
    )


def with_interval(mean: float | None, ends: Sequence[float] | None, *, signed: bool = False) -> str:
    """A mean share in percent ± half of its interval; a dash without one.

    Regression keeps its mean loss with a minus where others have an accuracy: it is written as a loss.
    signed: a difference of two shares in percentage points.
    """
    if mean is None:
        return DASH
    half = None if ends is None else (ends[1] - ends[0]) / 2
    if mean < 0 and not signed:
        return f"loss {-mean:.4g}" + ("" if half is None else f" ± {half:.2g}")
    text = f"{100 * mean:+.2f}" if signed else f"{100 * mean:.2f}"
    return text.replace("-", "−") + ("" if half is None else f" ± {100 * half:.2f}")


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates replaced: a terminal would obey them, and no font or
    HTML parser knows them.
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def _markdown(text: str) -> str:
    return " ".join(printable(text).split()).replace("|", "\\|")
