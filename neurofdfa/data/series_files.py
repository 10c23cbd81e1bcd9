"""Reading labelled time series from text: CSV in long or wide form, and blocks of frames."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.level_crossing import Series
from neurofdfa.errors import UserError

LABEL_NAMES = ("label", "class")
TIME_NAMES = ("time", "t", "timestamp")
FORM = (
    "give a header with `label` (or `class`) and either one series per row, or a column `series` that "
    "numbers the series and one time step per row"
)


class Labelled(NamedTuple):
    """Series of any length, each [L, c], the class of each, [N], and what the classes are called."""

    series: list[Series]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()

    def select(self, index: NDArray[np.int64]) -> Labelled:
        """Return the series at `index`, in that order."""
        return Labelled([self.series[i] for i in index], self.labels[index], self.classes)


def read_csv(path: Path, channels: int = 1) -> Labelled:
    """Read a CSV file in one of two forms; labels may be numbers or words and are numbered in sorted order.

    Wide: a row is a series, its values in order of time, `channels` interleaved; the label is in the column
    `label` or `class`, or the last one when there is no header. Unnamed columns (row numbers) are ignored.
    Long: a row is a time step; the column `series` says of which series; a column `time` (`t`, `timestamp`)
    puts the rows in order; all other columns are channels.
    Values are separated by commas, semicolons or tabs.
    Raises UserError, with the line, for anything else.
    """
    rows = _rows(path)
    header = [cell.strip() for cell in rows[0][1]]
    if all(_is_number(cell) for cell in header):
        header = [*(f"value{i}" for i in range(1, len(header))), "label"]
    else:
        rows = rows[1:]
    label = next((i for i, name in enumerate(header) if name.lower() in LABEL_NAMES), None)
    if label is None or not rows:
        raise UserError(f"{path} has {'no rows' if label is not None else 'no label column'}; {FORM}")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {line}: {len(row)} values where the first line has {len(header)}")
    group = next((i for i, name in enumerate(header) if name.lower() == "series"), None)
    clock = None if group is None else _clock(header)
    columns = [i for i, name in enumerate(header) if name and i not in (label, group, clock)]
    if not columns:
        raise UserError(f"{path} has no column of values; {FORM}")
    values = [[_number(path, line, row[i]) for i in columns] for line, row in rows]
    words = [row[label].strip() for _, row in rows]
    if group is None:
        return _wide(path, values, words, channels)
    if clock is not None:  # rows may come in any order
        when = [_number(path, line, row[clock]) for line, row in rows]
        order = sorted(range(len(rows)), key=when.__getitem__)
        rows, values = [rows[i] for i in order], [values[i] for i in order]
        words = [words[i] for i in order]
    return _long(path, values, words, [row[group].strip() for _, row in rows])


def read_blocks(path: Path) -> list[Series]:
    """Read series as blocks of lines of numbers, each block ended by an empty line or by a line of ones.

    This is the format of the Japanese vowels. Returns one array [L, c] per block.
    Raises UserError for words, for lines of unequal length and for files without a block.
    """
    blocks: list[Series] = []
    frames: list[list[float]] = []
    width = 0
    for line, text in enumerate([*_text(path).splitlines(), ""], start=1):
        frame = [_number(path, line, cell) for cell in text.split()]
        if not frame or all(value == 1.0 for value in frame):
            if frames:
                blocks.append(np.array(frames, dtype=np.float64))
            frames = []
            continue
        width = width or len(frame)
        if len(frame) != width:
            raise UserError(f"{path}, line {line}: {len(frame)} values where the first line has {width}")
        frames.append(frame)
    if not blocks:
        raise UserError(f"{path} holds no series")
    return blocks


def read_series(path: Path) -> Series:
    """Read one series from a CSV file of its own: a row is a time step, a column a channel, [L, c].

    A header is optional; a column named `time` (`t`, `timestamp`) puts the rows in order and is no channel.
    Raises UserError, with the line, for anything else.
    """
    rows = _rows(path)
    header = [cell.strip() for cell in rows[0][1]]
    named = not all(_is_number(cell) for cell in header)
    clock = _clock(header) if named else None
    values: list[list[float]] = []
    for line, row in rows[1:] if named else rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {line}: {len(row)} values where the first line has {len(header)}")
        values.append([_number(path, line, cell) for cell in row])
    if not values:
        raise UserError(f"{path} has a header and no rows")
    series = np.array(values, dtype=np.float64)
    if clock is not None:
        series = np.delete(series[np.argsort(series[:, clock], kind="stable")], clock, axis=1)
    if not series.shape[1]:
        raise UserError(f"{path} has no column of values")
    return series


def _clock(header: Sequence[str]) -> int | None:
    return next((i for i, name in enumerate(header) if name.lower() in TIME_NAMES), None)


def _wide(path: Path, values: Sequence[Sequence[float]], words: Sequence[str], channels: int) -> Labelled:
    if channels < 1 or len(values[0]) % channels:
        raise UserError(f"{path}: {len(values[0])} values per row are no whole points of {channels} channels")
    series = [np.array(row, dtype=np.float64).reshape(-1, channels) for row in values]
    if len(series[0]) < 2:
        raise UserError(f"{path}: a row holds a single point in time; {FORM}")
    return labelled(series, words)


def _long(
    path: Path, values: Sequence[Sequence[float]], words: Sequence[str], groups: Sequence[str]
) -> Labelled:
    members: dict[str, list[int]] = {}
    for row, name in enumerate(groups):
        members.setdefault(name, []).append(row)
    for name, rows in members.items():
        if len({words[row] for row in rows}) > 1:
            raise UserError(f"{path}: series {name} has more than one label; give each series one")
    series = [np.array([values[row] for row in rows], dtype=np.float64) for rows in members.values()]
    return labelled(series, [words[rows[0]] for rows in members.values()])


def labelled(series: list[Series], words: Sequence[str]) -> Labelled:
    """Number the classes, see `in_class_order`."""
    classes = in_class_order(words)
    rank = {word: i for i, word in enumerate(classes)}
    return Labelled(series, np.array([rank[word] for word in words], dtype=np.int64), classes)


def in_class_order(words: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels in the order of their class numbers: numbers by value, words by alphabet."""
    distinct = set(words)
    numeric = all(_is_number(word) for word in distinct)
    return tuple(
        sorted(distinct, key=(lambda word: (float(word), word)) if numeric else (lambda word: (0.0, word)))
    )


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Non-empty rows with their line numbers."""
    text = _text(path).splitlines()
    first = next((line for line in text if line.strip()), "")
    reader = csv.reader(text, delimiter=max(",;\t", key=first.count))
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if not rows:
        raise UserError(f"{path} is empty")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise UserError(f"cannot read {path}: {reason}") from error


def _number(path: Path, line: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise UserError(f"{path}, line {line}: '{cell.strip()}' is not a number") from error
    if not math.isfinite(value):
        raise UserError(f"{path}, line {line}: {cell.strip()} is not a finite number")
    return value


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
