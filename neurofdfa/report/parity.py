"""Where spikes change on the way to the chip: agreement of each stage, and the first spike that differs."""

from pathlib import Path
from typing import NamedTuple

from neurofdfa.lab.chip import PARITY
from neurofdfa.report import words
from neurofdfa.report.deployment import stage_accuracy
from neurofdfa.report.page import Block, Cell, Column, Figure, Panel, Prose, Table
from neurofdfa.report.plot.curves import NAMED, Series, curves
from neurofdfa.report.plot.marks import nice_limits
from neurofdfa.report.plot.style import Stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.reading import Fields, read_object
from neurofdfa.report.records import Stage

_STAGES = {"float": "float", "quantised": "quantised", "integer": "integer reference", "lava": "Lava"}


class Divergence(NamedTuple):
    """The first differing spike, and the membrane of its neuron around it in both stages, in float units."""

    sample: int
    step: int
    layer: str
    neuron: int
    fired_before: bool
    steps: tuple[float, ...]
    before: tuple[float | None, ...]
    after: tuple[float | None, ...]
    thresholds: tuple[float | None, float | None]


class Agreement(NamedTuple):
    """One stage beside the one before it; shares from 0 to 1."""

    before: str
    after: str
    spikes: int
    different: int
    layers: dict[str, float]
    samples: int
    samples_equal: int
    same_class: float | None
    first: Divergence | None

    @property
    def title(self) -> str:
        """From where to where."""
        return f"{self.before} → {self.after}"


class ParityRecord(NamedTuple):
    """parity.json."""

    bits: int
    stages: tuple[Stage, ...]
    agreements: tuple[Agreement, ...]


def read_parity(folder: Path) -> ParityRecord | None:
    """What a run folder holds of it, None when nothing. Raises UserError when the file is damaged."""
    if not (folder / PARITY).is_file():
        return None
    fields = read_object(folder / PARITY)
    agreements = tuple(_agreement(row) for row in fields.entries("comparisons"))
    samples = max((row.samples for row in agreements), default=0)
    accuracy = fields.entry("accuracy")
    return ParityRecord(
        fields.count("bits") or 0,
        tuple(Stage(_stage(name), accuracy.share(name), samples) for name in accuracy.plain()),
        agreements,
    )


def parity_blocks(record: ParityRecord | None) -> list[Block]:
    """Verdicts, accuracy and agreement by stage, and both membranes around each first divergence."""
    if record is None or not record.agreements:
        return []
    blocks: list[Block] = [Prose(*_verdict(row)) for row in record.agreements]
    blocks += stage_accuracy(record.stages)
    blocks.append(_table(record))
    panels = [
        _panel(row, row.first) for row in record.agreements if row.first is not None and row.first.before
    ]
    if panels:
        caption = (
            "The membrane of the neuron of the first differing spike in both stages, in the float network's "
            "unit, as it met the threshold (dotted) before any reset. At the marked step only one of the two "
            "fired."
        )
        blocks.append(Figure(tuple(panels), caption))
    return blocks


def _verdict(row: Agreement) -> tuple[str, str]:
    if not row.different:
        where = f"{words.count(row.spikes)} neuron-steps of {words.count(row.samples)} samples"
        return f"{row.title}: no divergence. All {where} are equal.", "good"
    said = f"{row.title}: {words.count(row.different)} of {words.count(row.spikes)} neuron-steps differ"
    if row.first is not None:
        where = (
            f"sample {row.first.sample}, step {row.first.step}, {row.first.layer}, neuron {row.first.neuron}"
        )
        fired = row.before if row.first.fired_before else row.after
        said += f", the first at {where}, where only {fired} fired"
    # float and integers may differ by rounding; integers that differ from integers are an error
    return f"{said}.", "bad" if row.before == _STAGES["integer"] else ""


def _table(record: ParityRecord) -> Table:
    layers = list(dict.fromkeys(layer for row in record.agreements for layer in row.layers))
    columns = (
        Column("From → to", number=False),
        Column("Equal spikes"),
        *(Column(layer) for layer in layers),
        Column("Equal samples"),
        Column("Same class"),
        Column("First difference", number=False),
    )
    rows = tuple(
        (
            Cell(row.title, row.title),
            Cell(
                words.percent(1 - row.different / max(1, row.spikes), 3),
                1 - row.different / max(1, row.spikes),
            ),
            *(Cell(words.percent(row.layers.get(layer), 3), row.layers.get(layer)) for layer in layers),
            Cell(f"{row.samples_equal} of {row.samples}", row.samples_equal),
            Cell(words.percent(row.same_class), row.same_class),
            Cell(_where(row.first), None if row.first is None else row.first.step),
        )
        for row in record.agreements
    )
    caption = (
        f"Each stage beside the one before it, {record.bits}-bit weights, delays of the chip taken out: "
        "neurons and steps at which both fired or both did not."
    )
    return Table(columns, rows, caption)


def _where(first: Divergence | None) -> str:
    return (
        "none"
        if first is None
        else f"sample {first.sample}, step {first.step}, {first.layer}[{first.neuron}]"
    )


def _panel(row: Agreement, first: Divergence) -> Panel:
    series = [
        Series(row.before, first.steps, first.before, Stroke(1, (5.0, 2.5))),
        Series(row.after, first.steps, first.after, Stroke(0, width=2.4)),
    ]
    known = [v for s in series for v in s.y if v is not None]
    known += [v for v in first.thresholds if v is not None]
    low, high, _ = nice_limits(min(known), max(known))
    plot = curves(
        series, across="time step", up="membrane", limits=(low, high),
        rule_at=first.thresholds[1], mark_at=float(first.step),
    )  # fmt: skip
    key = f"divergence-{row.before}-{row.after}".replace(" ", "-").lower()
    title = f"{row.title}: {first.layer}, neuron {first.neuron}, sample {first.sample}"
    return Panel(title, draw(plot, key=key, label=title, height=220, margins=NAMED._replace(right=108)))


def _agreement(fields: Fields) -> Agreement:
    layers = fields.entry("agreement")
    spikes = fields.count("spikes") or 0
    return Agreement(
        _stage(fields.text("before")),
        _stage(fields.text("after")),
        spikes,
        spikes - (fields.count("spikes_equal") or 0),
        {layer: layers.number(layer) or 0.0 for layer in layers.plain()},
        fields.count("samples") or 0,
        fields.count("samples_equal") or 0,
        fields.share("same_prediction"),
        _divergence(fields.entry("divergence")) if "divergence" in fields else None,
    )


def _divergence(fields: Fields) -> Divergence:
    return Divergence(
        fields.count("sample") or 0,
        fields.count("step") or 0,
        fields.text("layer"),
        fields.count("neuron") or 0,
        bool(fields.count("spike_before")),
        tuple(step for step in fields.numbers("steps") if step is not None),
        fields.numbers("before"),
        fields.numbers("after"),
        (fields.number("threshold_before"), fields.number("threshold_after")),
    )


def _stage(name: str) -> str:
    return _STAGES.get(name, name)
