"""Where spikes change on the way to the chip: agreement of each stage, and the first spike that differs."""

from neurofdfa.lab.chip import Parity
from neurofdfa.lab.results import Form
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.deployment import stage_accuracy
from neurofdfa.report.page import Block, Figure, Panel, Prose
from neurofdfa.report.plot.curves import NAMED, Series, curves
from neurofdfa.report.plot.marks import nice_limits
from neurofdfa.report.plot.style import Stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa_hardware.quantization.parity import Comparison, Divergence

_STAGES = {"float": "float", "quantised": "quantised", "integer": "integer reference", "lava": "Lava"}


def parity_blocks(found: Parity | None) -> list[Block]:
    """Verdicts, accuracy and agreement by stage, and both membranes around each first divergence."""
    if found is None or not found.comparisons:
        return []
    blocks: list[Block] = [Prose(*_verdict(row)) for row in found.comparisons]
    samples = max(row.samples for row in found.comparisons)
    blocks += stage_accuracy(
        [Form(stage=_stage(name), accuracy=share, samples=samples) for name, share in found.accuracy.items()]
    )
    blocks.append(_table(found))
    panels = [
        _panel(row, row.divergence)
        for row in found.comparisons
        if row.divergence is not None and row.divergence.before
    ]
    if panels:
        caption = (
            "The membrane of the neuron of the first differing spike in both stages, in the float network's "
            "unit, as it met the threshold (dotted) before any reset. At the marked step only one of the two "
            "fired."
        )
        blocks.append(Figure(tuple(panels), caption))
    return blocks


def _verdict(row: Comparison) -> tuple[str, str]:
    if not _different(row):
        where = f"{words.count(row.spikes)} neuron-steps of {words.count(row.samples)} samples"
        return f"{_title(row)}: no divergence. All {where} are equal.", "good"
    said = f"{_title(row)}: {words.count(_different(row))} of {words.count(row.spikes)} neuron-steps differ"
    if (first := row.divergence) is not None:
        fired = _stage(row.before if first.spike_before else row.after)
        where = f"sample {first.sample}, step {first.step}, {first.layer}, neuron {first.neuron}"
        said += f", the first at {where}, where only {fired} fired"
    # float and integers may differ by rounding; integers that differ from integers are an error
    return f"{said}.", "bad" if row.before == "integer" else ""


def _table(found: Parity) -> Table:
    layers = list(dict.fromkeys(layer for row in found.comparisons for layer in row.agreement))
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
            Cell(_title(row), _title(row)),
            Cell(
                words.percent(1 - _different(row) / max(1, row.spikes), 3),
                1 - _different(row) / max(1, row.spikes),
            ),
            *(Cell(words.percent(row.agreement.get(layer), 3), row.agreement.get(layer)) for layer in layers),
            Cell(f"{row.samples_equal} of {row.samples}", row.samples_equal),
            Cell(words.percent(row.same_prediction), row.same_prediction),
            Cell(_where(row.divergence), None if row.divergence is None else row.divergence.step),
        )
        for row in found.comparisons
    )
    caption = (
        f"Each stage beside the one before it, {found.bits}-bit weights, delays of the chip taken out: "
        "neurons and steps at which both fired or both did not."
    )
    return Table(columns, rows, caption)


def _where(first: Divergence | None) -> str:
    return (
        "none"
        if first is None
        else f"sample {first.sample}, step {first.step}, {first.layer}[{first.neuron}]"
    )


def _panel(row: Comparison, first: Divergence) -> Panel:
    series = [
        Series(_stage(row.before), tuple(map(float, first.steps)), first.before, Stroke(1, (5.0, 2.5))),
        Series(_stage(row.after), tuple(map(float, first.steps)), first.after, Stroke(0, width=2.4)),
    ]
    known = [v for s in series for v in s.y if v is not None]
    known += [first.threshold_before, first.threshold_after]
    low, high, _ = nice_limits(min(known), max(known))
    plot = curves(
        series, across="time step", up="membrane", limits=(low, high),
        rule_at=first.threshold_after, mark_at=float(first.step),
    )  # fmt: skip
    key = f"divergence-{_stage(row.before)}-{_stage(row.after)}".replace(" ", "-").lower()
    title = f"{_title(row)}: {first.layer}, neuron {first.neuron}, sample {first.sample}"
    return Panel(title, draw(plot, key=key, label=title, height=220, margins=NAMED._replace(right=108)))


def _stage(name: str) -> str:
    return _STAGES.get(name, name)


def _title(row: Comparison) -> str:
    """From where to where."""
    return f"{_stage(row.before)} → {_stage(row.after)}"


def _different(row: Comparison) -> int:
    return row.spikes - row.spikes_equal
