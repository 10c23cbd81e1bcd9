"""What a run costs per sample: energy by part, memory by kind, and all counts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from neurofdfa.lab.energy import NAME
from neurofdfa.report import words
from neurofdfa.report.page import Block, Cell, Column, Figure, Panel, Prose, Table
from neurofdfa.report.plot.bars import Bar, height, margins, stacked
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.reading import Fields, read_object

MICRO = 1e6
_KIB_PER_WORD = 4 / 1024


class Cost(NamedTuple):
    """One way of using the network, per sample. joules: by CMOS figures; loihi1: None where impossible."""

    name: str
    counts: dict[str, float]
    memory: dict[str, float]
    parts: dict[str, float]
    joules: dict[str, float]
    loihi1: float | None


class Energy(NamedTuple):
    """energy.json. costs: inference, learning with the run's rule, learning with BPTT."""

    samples: int
    costs: tuple[Cost, ...]


def read_energy(folder: Path) -> Energy | None:
    """What a run folder holds of it, None when nothing. Raises UserError when the file is damaged."""
    if not (folder / NAME).is_file():
        return None
    fields = read_object(folder / NAME)
    learning = fields.entry("learning")
    rules = list(learning.plain())
    costs = [_cost("inference", fields.entry("inference"))]
    costs += [_cost(f"learning, {words.rule_name(rule)}", learning.entry(rule)) for rule in rules]
    return Energy(fields.count("samples") or 0, tuple(costs))


def energy_blocks(energy: Energy | None) -> list[Block]:
    """Bars of energy and memory, and the table behind them."""
    if energy is None:
        return []
    joules = [
        (cost.name, f"{words.figures(MICRO * sum(cost.parts.values()))}{words.SPACE}µJ", _scaled(cost.parts))
        for cost in energy.costs
    ]
    memory = [
        (
            cost.name,
            f"{words.figures(_KIB_PER_WORD * sum(cost.memory.values()))}{words.SPACE}KiB",
            cost.memory,
        )
        for cost in energy.costs
    ]
    caption = (
        f"Per sample, from spikes measured on {words.count(energy.samples)} validation samples; learning "
        "includes its own forward pass. Energy: 45 nm CMOS figures of the literature (Horowitz 2014), "
        "arithmetic in float32 and every word moved as if from an 8 KB SRAM; no control, wires or leakage. "
        "Memory: words of 32 bits that are live at once when one sample is learnt at a time."
    )
    figure = Figure(
        (
            Panel("Energy", _bars(joules, "energy", "microjoules per sample")),
            Panel("Memory", _bars([(n, t, _kib(m)) for n, t, m in memory], "words", "KiB")),
        ),
        caption,
    )
    return [
        figure,
        _joules(energy),
        _counts(energy),
        Prose("Loihi 2: no energy per operation is published; none is given."),
    ]


def _bars(rows: Sequence[tuple[str, str, Mapping[str, float]]], key: str, across: str) -> Markup:
    known = dict.fromkeys(kind for _, _, parts in rows for kind in parts)
    kinds = [kind for kind in known if any(parts.get(kind, 0.0) > 0 for _, _, parts in rows)]
    legend = [(kind, place % 8) for place, kind in enumerate(kinds)]
    bars = [
        Bar(name, text, tuple((kinds.index(kind), size) for kind, size in parts.items() if size > 0))
        for name, text, parts in rows
    ]
    return draw(
        stacked(bars, legend, across=across),
        key=f"cost-{key}", label=f"{across} by part", height=height(len(bars), len(kinds)),
        margins=margins(len(kinds)),
    )  # fmt: skip


def _cost(name: str, fields: Fields) -> Cost:
    joules = fields.entry("joules")
    memory = _numbers(fields.entry("memory_words"))
    memory.pop("total", None)
    return Cost(
        name,
        _numbers(fields.entry("counts")),
        {kind.replace("_", " "): size for kind, size in memory.items()},
        _numbers(joules.entry("cmos_45nm_parts")),
        _numbers(joules.entry("cmos_45nm")),
        joules.number("loihi1"),
    )


def _numbers(fields: Fields) -> dict[str, float]:
    return {key: fields.number(key) or 0.0 for key in fields.plain()}


def _scaled(parts: Mapping[str, float]) -> dict[str, float]:
    return {part: MICRO * size for part, size in parts.items()}


def _kib(memory: Mapping[str, float]) -> dict[str, float]:
    return {kind: _KIB_PER_WORD * size for kind, size in memory.items()}


def _joules(energy: Energy) -> Table:
    named = (("arithmetic", "45 nm CMOS: arithmetic"), ("sram", "45 nm CMOS: words, 8 KB SRAM"),
             ("dram", "45 nm CMOS: words, DRAM"))  # fmt: skip
    rows = [
        (
            Cell(title, title),
            *(Cell(words.figures(v), v) for v in (MICRO * c.joules.get(key, 0.0) for c in energy.costs)),
        )
        for key, title in named
    ]
    chip = tuple(
        Cell("not possible") if c.loihi1 is None else Cell(words.figures(MICRO * c.loihi1), MICRO * c.loihi1)
        for c in energy.costs
    )
    first = Cell("Loihi 1, simulated lower bound", "Loihi 1")
    columns = (
        Column("Microjoules per sample", number=False),
        *(Column(_title(c.name)) for c in energy.costs),
    )
    caption = (
        "Energy per sample. Loihi 1: Davies et al. 2018, pre-silicon simulation, which leaves out traces and "
        "broadcasts; not possible where a rule reads what the chip cannot give it."
    )
    return Table(columns, ((first, *chip), *rows), caption)


def _counts(energy: Energy) -> Table:
    kinds = [kind for kind in energy.costs[0].counts if any(c.counts.get(kind) for c in energy.costs)]
    rows = tuple(
        (
            Cell(kind.replace("_", " "), kind),
            *(Cell(words.count(c.counts.get(kind)), c.counts.get(kind)) for c in energy.costs),
        )
        for kind in kinds
    )
    columns = (Column("Operations per sample", number=False), *(Column(_title(c.name)) for c in energy.costs))
    return Table(columns, rows, "Counts behind the figure; docs/energy.md says what each one is.")


def _title(name: str) -> str:
    return name[0].upper() + name[1:]
