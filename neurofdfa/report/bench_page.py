"""The report of `neurofdfa bench`: memory and cost against one number, speed beside other simulators."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neurofdfa.lab.results import BENCHES, CurveBench, EpochBench, EpochTime, MemoryBench, Timing
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Page, Panel, Section, footer, provenance
from neurofdfa.report.picture import Part, compose, printed
from neurofdfa.report.plot.curves import NAMED, Series, curves
from neurofdfa.report.plot.dots import MARGINS, Dot, dots, height
from neurofdfa.report.plot.style import ROLES, Draw, Stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.scaling import Cost, by_axis, cost_blocks, cost_parts
from neurofdfa.rules import DEFAULT, EXACT, rule_title

OURS = "neurofdfa"
_MIB = float(1 << 20)
_TIMED = {"train": "Training", "infer": "Inference"}


class Line(NamedTuple):
    """MiB that a training step adds, by number of steps."""

    peer: str
    rule: str
    mib: dict[int, float]

    @property
    def name(self) -> str:
        """How the line is called: the rule, and whose it is where that is not us."""
        rule = rule_title(self.rule)
        return rule if self.peer == OURS else f"{rule}, {self.peer}"


class BenchFolder(NamedTuple):
    """What a folder of measurements holds. ratios: by train, infer; costs: by what was varied."""

    folder: Path
    batch: int
    lines: tuple[Line, ...]
    ratios: dict[str, tuple[Timing, ...]]
    costs: dict[str, tuple[Cost, ...]]
    epochs: tuple[EpochTime, ...]
    commands: tuple[str, ...]
    versions: dict[str, str]


def is_bench(folder: Path) -> bool:
    """Whether `folder` looks like the --out of `bench`."""
    return any((folder / f"{kind}.json").is_file() for kind in BENCHES)


def read_bench(folder: Path) -> BenchFolder:
    """Read what is there. Raises UserError when a file is damaged."""
    lines: dict[tuple[str, str], dict[int, float]] = {}
    ratios: dict[str, tuple[Timing, ...]] = {}
    costs: dict[str, tuple[Cost, ...]] = {}
    epochs: tuple[EpochTime, ...] = ()
    versions: dict[str, str] = {}
    commands: list[str] = []
    batch = 0
    for kind, model in BENCHES.items():
        if not (folder / f"{kind}.json").is_file():
            continue
        found = model.read(folder / f"{kind}.json")
        versions |= found.versions
        commands += [found.command] if found.command else []
        if isinstance(found, MemoryBench):
            for row in found.rows:
                lines.setdefault((row.peer, row.rule), {})[row.T] = row.bytes / _MIB
                batch = row.batch
        elif isinstance(found, CurveBench):
            costs = by_axis(found.rows)
        elif isinstance(found, EpochBench):
            epochs = found.rows
        else:
            ratios[kind] = found.rows
    kept = tuple(Line(peer, rule, mib) for (peer, rule), mib in lines.items())
    return BenchFolder(folder, batch, kept, ratios, costs, epochs, tuple(commands), versions)


def bench_page(bench: BenchFolder) -> Page:
    """Compose the page; a part without data is left out."""
    commands = "\n".join(bench.commands)
    parts = (
        ("Memory and the length of the sequence", _memory(bench)),
        *((_TIMED[kind], _times(kind, rows)) for kind, rows in bench.ratios.items()),
        ("What a training step costs", cost_blocks(bench.costs) if bench.costs else []),
        ("One epoch of MNIST", _epochs(bench.epochs)),
    )
    return Page(
        title="neurofdfa: measurements",
        kicker="neurofdfa bench",
        headline=_headline(bench),
        summary="Figures of this machine. Compare what was measured in the same command only.",
        sections=(
            *(Section(title, tuple(blocks)) for title, blocks in parts if blocks),
            Section(
                "How it was made",
                tuple(provenance(commands, bench.versions, [], folded=False)),
            ),
        ),
        footer=footer(bench.folder),
    )


def bench_picture(bench: BenchFolder) -> bytes:
    """Memory against time steps, else the ratios, else the costs, as PNG."""
    if bench.lines:
        return compose([Part("Memory that a training step adds", printed(_plot(bench)), named_lines=True)])
    parts = [Part(_TIMED[kind], printed(_ratios(rows))) for kind, rows in bench.ratios.items() if rows]
    return compose(parts or cost_parts(bench.costs))


def growth(line: Line) -> float | None:
    """Memory at the longest sequence ÷ memory at the shortest."""
    first, last = line.mib[min(line.mib)], line.mib[max(line.mib)]
    return last / first if len(line.mib) > 1 and first > 0 else None


def _headline(bench: BenchFolder) -> str:
    ours = next((line for line in bench.lines if line.rule == DEFAULT.name), None)
    exact = next((line for line in bench.lines if line.rule == EXACT.name), None)
    if ours is None or exact is None or growth(ours) is None or growth(exact) is None:
        return "Measurements beside other simulators"
    times = max(ours.mib) / min(ours.mib)
    return (
        f"With {times:.0f} times as many time steps a training step of {DEFAULT.title} takes "
        f"{growth(ours):.1f} times the memory, one of {EXACT.title} {growth(exact):.1f} times."
    )


def _memory(bench: BenchFolder) -> list[Block]:
    if not bench.lines:
        return []
    svg = draw(_plot(bench), key="memory", label="Memory against time steps", height=300, margins=_WIDE)
    steps = sorted({step for line in bench.lines for step in line.mib})
    columns = (
        Column("Rule", number=False),
        *(Column(f"T = {step}") for step in steps),
        Column("Last ÷ first"),
    )
    rows = tuple(
        (
            Cell(line.name, line.name),
            *(Cell(words.mebibytes(line.mib.get(step)), line.mib.get(step)) for step in steps),
            Cell(words.figures(growth(line), 3), growth(line)),
        )
        for line in bench.lines
    )
    caption = (
        f"Peak memory that one training step adds, batch {bench.batch}, the input excluded, each point in a "
        f"process of its own. {EXACT.title} stores every time step; an online rule carries its traces along."
    )
    return [Figure((Panel("", svg),), caption), Table(columns, rows, "The same in numbers.")]


_WIDE = NAMED._replace(right=104)


def _plot(bench: BenchFolder) -> Draw:
    series = [_series(line, place) for place, line in enumerate(bench.lines)]
    top = max((y for s in series for y in s.y if y is not None), default=1.0)
    return curves(series, across="time steps T", up="MiB", limits=(0.0, 1.05 * top or 1.0))


def _series(line: Line, place: int) -> Series:
    steps = sorted(line.mib)
    stroke = ROLES.get(line.rule) if line.peer == OURS else None
    return Series(
        line.name,
        tuple(float(step) for step in steps),
        tuple(line.mib[step] for step in steps),
        stroke or Stroke((2, 3, 5, 6, 7, 4)[place % 6]),
    )


def _times(kind: str, rows: Sequence[Timing]) -> list[Block]:
    if not rows:
        return []
    svg = draw(
        _ratios(rows), key=f"ratios-{kind}", label=f"{_TIMED[kind]}, time of others ÷ ours",
        height=height(len(rows)), margins=MARGINS,
    )  # fmt: skip
    columns = (
        Column("Network", number=False), Column("Batch"), Column("Simulator", number=False),
        Column("Its time ÷ ours"), Column("Quartiles"), Column("Ours"), Column("Its"),
    )  # fmt: skip
    cells = tuple(
        (
            Cell(row.net, row.net),
            Cell(words.count(row.batch), row.batch),
            Cell(row.peer, row.peer),
            Cell(f"{row.ratio:.2f}", row.ratio),
            Cell(f"{row.spread[0]:.2f} to {row.spread[1]:.2f}", row.spread[0]),
            Cell(f"{1e3 * row.seconds:.1f}{words.SPACE}ms", row.seconds),
            Cell(f"{1e3 * row.peer_seconds:.1f}{words.SPACE}ms", row.peer_seconds),
        )
        for row in rows
    )
    caption = "Time of a step of the other simulator ÷ ours, median over interleaved rounds; bar: quartiles."
    return [Figure((Panel("", svg),), caption), Table(columns, cells, "The same in numbers.")]


def _epochs(rows: Sequence[EpochTime]) -> list[Block]:
    if not rows:
        return []
    columns = (
        Column("Simulator", number=False), Column("Seconds of an epoch"), Column("Its time ÷ ours"),
        Column("Batches timed"),
    )  # fmt: skip
    ours = rows[0].seconds
    cells = tuple(
        (
            Cell(row.peer, row.peer),
            Cell(words.seconds(row.seconds), row.seconds),
            Cell(f"{row.seconds / ours:.2f}" if ours > 0 else words.DASH, row.seconds),
            Cell(words.count(row.batches), row.batches),
        )
        for row in rows
    )
    return [Table(columns, cells, "784-800-10, 16 steps, batch 128; wall time, scaled to a whole epoch.")]


def _ratios(rows: Sequence[Timing]) -> Draw:
    made = [
        Dot(
            f"net {row.net}, batch {row.batch}, {row.peer}", row.ratio, f"{row.ratio:.1f}×", 0,
            low=row.spread[0], high=row.spread[1],
        )
        for row in rows
    ]  # fmt: skip
    top = max(max(row.ratio, row.spread[1]) for row in rows)
    return dots(made, across="its time ÷ ours", limits=(0.0, 1.08 * top), from_zero=True)
