"""What comparison.json and ablation.json hold, read into frozen records, and what their pages share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurofdfa.report import words
from neurofdfa.report.page import Block, Cell, Column, Table
from neurofdfa.report.reading import Fields, read_object
from neurofdfa.report.records import Run, is_run, read_run

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """Of a rule from the reference, over paired seeds, in shares."""

    mean: float | None
    interval: Interval
    p_t: float | None
    p_wilcoxon: float | None
    p_holm: float | None


@dataclass(frozen=True)
class StudyRow:
    """Runs that differ in their seed only. settings: the varied ones, as text and as value for sorting."""

    rule: str
    point: int
    settings: dict[str, object]
    n: int
    test: float | None
    test_interval: Interval
    validation: float | None
    validation_interval: Interval
    seconds: float | None
    peak_mib: float | None
    firing_rate: float | None
    alignment: float | None
    joules: float | None
    difference: Difference | None
    failed: tuple[tuple[str, str], ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class StudyRecord:
    """A comparison's or a sweep's folder. title: its data or its name; best: point chosen on validation."""

    folder: Path
    title: str
    reference: str
    command: str
    versions: dict[str, str]
    seeds: tuple[int, ...]
    varied: tuple[str, ...]
    best: int | None
    done: int
    failed: int
    rows: tuple[StudyRow, ...]
    study: str


def is_comparison(folder: Path) -> bool:
    """Whether `folder` looks like a comparison's."""
    return (folder / "comparison.json").is_file()


def is_ablation(folder: Path) -> bool:
    """Whether `folder` looks like a sweep's."""
    return (folder / "ablation.json").is_file()


def read_comparison(folder: Path) -> StudyRecord:
    """Read a comparison's folder. Raises UserError when it is damaged."""
    return _read(folder, "comparison.json", with_runs=True)


def read_ablation(folder: Path) -> StudyRecord:
    """Read a sweep's folder. Raises UserError when it is damaged."""
    return _read(folder, "ablation.json", with_runs=False)


def _read(folder: Path, name: str, *, with_runs: bool) -> StudyRecord:
    fields = read_object(folder / name)
    study = folder / "study.toml"
    rows = tuple(
        _row(folder, row, place, with_runs=with_runs) for place, row in enumerate(fields.entries("rows"))
    )
    return StudyRecord(
        folder=folder,
        title=fields.text("name") or fields.text("data", "unknown data"),
        reference=fields.text("reference"),
        command=fields.text("command"),
        versions=fields.entry("versions").texts(),
        seeds=tuple(int(seed) for seed in fields.numbers("seeds") if seed is not None),
        varied=fields.strings("varied"),
        best=fields.count("best"),
        done=fields.count("done") or sum(row.n for row in rows),
        failed=fields.count("failed") or sum(len(row.failed) for row in rows),
        rows=rows,
        study=study.read_text(encoding="utf-8") if study.is_file() else "",
    )


def _row(folder: Path, fields: Fields, place: int, *, with_runs: bool) -> StudyRow:
    folders = [folder / run.text("folder") for run in fields.entries("runs")]
    point = fields.count("point")
    difference = fields.entry("difference")
    return StudyRow(
        rule=fields.text("rule"),
        point=place if point is None else point,
        settings=fields.entry("settings").plain(),
        n=fields.count("n") or 0,
        test=fields.number("mean"),
        test_interval=_interval(fields, "ci95"),
        validation=fields.number("validation_mean"),
        validation_interval=_interval(fields, "validation_ci95"),
        seconds=fields.number("seconds"),
        peak_mib=fields.number("peak_mib"),
        firing_rate=fields.number("firing_rate"),
        alignment=fields.number("alignment"),
        joules=fields.number("energy"),
        difference=Difference(
            difference.number("mean"),
            _interval(difference, "ci95"),
            difference.number("p_t"),
            difference.number("p_wilcoxon"),
            difference.number("p_holm"),
        )
        if "difference" in fields
        else None,
        failed=tuple((str(f.count("seed")), f.text("reason")) for f in fields.entries("failed")),
        runs=tuple(read_run(f) for f in folders if with_runs and is_run(f)),
    )


def _interval(fields: Fields, key: str) -> Interval:
    ends = fields.numbers(key)
    return None if len(ends) != 2 or ends[0] is None or ends[1] is None else (ends[0], ends[1])


def with_interval(mean: float | None, interval: Interval, *, signed: bool = False) -> str:
    """A share as "97.1 ± 0.4 %"."""
    if mean is None:
        return words.DASH
    text = f"{100 * mean:+.2f}" if signed else f"{100 * mean:.2f}"
    text = text.replace("-", "−")
    half = "" if interval is None else f"{words.SPACE}±{words.SPACE}{50 * (interval[1] - interval[0]):.2f}"
    return f"{text}{half}{words.SPACE}%" if not signed else f"{text}{half}"


def seeds_in_words(record: StudyRecord) -> str:
    """'3 seeds'."""
    return f"{len(record.seeds)} seed{'' if len(record.seeds) == 1 else 's'}"


def failures(record: StudyRecord, names: Sequence[str]) -> list[Block]:
    """Runs without a result, and why."""
    rows = tuple(
        (Cell(name, name), Cell(seed, seed), Cell(reason, reason))
        for row, name in zip(record.rows, names, strict=True)
        for seed, reason in row.failed
    )
    columns = (Column("Run", number=False), Column("Seed"), Column("Reason", number=False))
    return [Table(columns, rows, "Runs that failed; their rows have fewer seeds.")] if rows else []
