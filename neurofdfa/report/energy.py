"""What a run costs per sample: energy by part, memory by kind, and all counts."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from neurofdfa.lab.energy import Cost, Energy
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Panel, Prose
from neurofdfa.report.plot.bars import Bar, height, margins, stacked
from neurofdfa.report.plot.svg import draw
from neurofdfa.rules import rule_title

MICRO = 1e6
_KIB_PER_WORD = 4 / 1024


def energy_blocks(energy: Energy | None) -> list[Block]:
    """Bars of energy and memory, and the table behind them."""
    if energy is None:
        return []
    costs = _costs(energy)
    joules = [
        (name, f"{words.figures(MICRO * sum(parts.values()))}{words.SPACE}µJ", _scaled(parts))
        for name, parts in ((name, cost.joules.cmos_45nm_parts) for name, cost in costs.items())
    ]
    memory = [
        (name, f"{words.figures(_KIB_PER_WORD * sum(kinds.values()))}{words.SPACE}KiB", kinds)
        for name, kinds in ((name, _memory(cost)) for name, cost in costs.items())
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
        _joules(costs),
        _counts(costs),
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


def _costs(energy: Energy) -> dict[str, Cost]:
    """Inference, learning with the run's rule, learning by the exact gradient, by what they are called."""
    learning = {f"learning, {rule_title(rule)}": cost for rule, cost in energy.learning.items()}
    return {"inference": energy.inference} | learning


def _memory(cost: Cost) -> dict[str, float]:
    return {kind.replace("_", " "): size for kind, size in cost.memory_words.items() if kind != "total"}


def _scaled(parts: Mapping[str, float]) -> dict[str, float]:
    return {part: MICRO * size for part, size in parts.items()}


def _kib(memory: Mapping[str, float]) -> dict[str, float]:
    return {kind: _KIB_PER_WORD * size for kind, size in memory.items()}


def _joules(costs: Mapping[str, Cost]) -> Table:
    named = (("arithmetic", "45 nm CMOS: arithmetic"), ("sram", "45 nm CMOS: words, 8 KB SRAM"),
             ("dram", "45 nm CMOS: words, DRAM"))  # fmt: skip
    rows = [
        (
            Cell(title, title),
            *(
                Cell(words.figures(v), v)
                for v in (MICRO * c.joules.cmos_45nm.get(key, 0.0) for c in costs.values())
            ),
        )
        for key, title in named
    ]
    chip = tuple(
        Cell("not possible") if joules is None else Cell(words.figures(MICRO * joules), MICRO * joules)
        for joules in (cost.joules.loihi1 for cost in costs.values())
    )
    first = Cell("Loihi 1, simulated lower bound", "Loihi 1")
    columns = (
        Column("Microjoules per sample", number=False),
        *(Column(_title(name)) for name in costs),
    )
    caption = (
        "Energy per sample. Loihi 1: Davies et al. 2018, pre-silicon simulation, which leaves out traces and "
        "broadcasts; not possible where a rule reads what the chip cannot give it."
    )
    return Table(columns, ((first, *chip), *rows), caption)


def _counts(costs: Mapping[str, Cost]) -> Table:
    known = dict.fromkeys(kind for cost in costs.values() for kind in cost.counts)
    kinds = [kind for kind in known if any(cost.counts.get(kind) for cost in costs.values())]
    rows = tuple(
        (
            Cell(kind.replace("_", " "), kind),
            *(Cell(words.count(c.counts.get(kind)), c.counts.get(kind)) for c in costs.values()),
        )
        for kind in kinds
    )
    columns = (Column("Operations per sample", number=False), *(Column(_title(name)) for name in costs))
    return Table(columns, rows, "Counts behind the figure; docs/energy.md says what each one is.")


def _title(name: str) -> str:
    return name[0].upper() + name[1:]
