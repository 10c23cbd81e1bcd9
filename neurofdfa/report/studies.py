"""Folders of comparisons and sweeps as their pages see them, and what both pages share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurofdfa.io import read_text
from neurofdfa.lab.record import RunFolder, is_run, read_run
from neurofdfa.lab.results import COMPARISON, SWEEP, Comparison, SeedSummary, Sweep
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report.page import Block


@dataclass(frozen=True)
class ComparisonFolder:
    """A comparison; runs: the run folders of each row that are still there."""

    folder: Path
    found: Comparison
    runs: tuple[tuple[RunFolder, ...], ...]


@dataclass(frozen=True)
class SweepFolder:
    """A sweep; study: its study.toml as it stands."""

    folder: Path
    found: Sweep
    study: str


def is_comparison(folder: Path) -> bool:
    """Whether `folder` looks like a comparison's."""
    return (folder / COMPARISON).is_file()


def is_ablation(folder: Path) -> bool:
    """Whether `folder` looks like a sweep's."""
    return (folder / SWEEP).is_file()


def read_comparison(folder: Path) -> ComparisonFolder:
    """Read a comparison's folder. Raises UserError when it is damaged."""
    found = Comparison.read(folder / COMPARISON)
    runs = tuple(
        tuple(read_run(folder / run.folder) for run in row.runs if is_run(folder / run.folder))
        for row in found.rows
    )
    return ComparisonFolder(folder, found, runs)


def read_ablation(folder: Path) -> SweepFolder:
    """Read a sweep's folder. Raises UserError when it is damaged."""
    study = folder / "study.toml"
    return SweepFolder(folder, Sweep.read(folder / SWEEP), read_text(study) if study.is_file() else "")


def seeds_in_words(seeds: Sequence[int]) -> str:
    """'3 seeds'."""
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"


def failures(rows: Sequence[SeedSummary], names: Sequence[str]) -> list[Block]:
    """Runs without a result, and why."""
    cells = tuple(
        (Cell(name, name), Cell(str(run.seed), run.seed), Cell(run.reason, run.reason))
        for row, name in zip(rows, names, strict=True)
        for run in row.failed
    )
    columns = (Column("Run", number=False), Column("Seed"), Column("Reason", number=False))
    return [Table(columns, cells, "Runs that failed; their rows have fewer seeds.")] if cells else []
