"""From float to chip: accuracy of each stage, quantisation, and spike-for-spike parity with Lava."""

from collections.abc import Sequence

from neurofdfa.lab.results import Form, LavaRun, QuantisedLayer, SpikeParity
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Pair, Panel, Prose
from neurofdfa.report.plot.dots import MARGINS, Dot, accuracy_limits, dots, height
from neurofdfa.report.plot.svg import draw

HOW_TO_GET_LAVA = "`neurofdfa lava setup` (or `make lava`) installs it; then run the demo again."


def stage_dots(stages: Sequence[Form]) -> list[Dot]:
    """Rows of the plot of stages."""
    rows: list[Dot] = []
    for place, stage in enumerate(stages):
        if stage.accuracy is not None:
            interval = words.wilson(stage.accuracy, stage.samples)
            rows.append(
                Dot(
                    stage.stage,
                    100 * stage.accuracy,
                    words.percent(stage.accuracy),
                    (1, 0, 5)[place % 3],
                    low=100 * interval[0] if interval else None,
                    high=100 * interval[1] if interval else None,
                )
            )
    return rows


def stage_accuracy(stages: Sequence[Form]) -> list[Block]:
    """Table and plot of the stages."""
    rows = stage_dots(stages)
    if not rows:
        return []
    plot = dots(rows, across="accuracy, %", limits=accuracy_limits(rows))
    svg = draw(plot, key="stages", label="Accuracy of each stage", height=height(len(rows)), margins=MARGINS)
    caption = "The same trained network in each form it takes on the way to the chip; not from zero."
    if any(dot.low is not None for dot in rows):
        caption += (
            " The wide bar is the 95 % Wilson interval: a stage that ran on fewer samples has a wider one."
        )
    table = Table(
        (Column("Stage", number=False), Column("Accuracy"), Column("Samples")),
        tuple(_stage_cells(stage) for stage in stages),
        "Accuracy of each stage on the test split.",
    )
    return [Pair(Figure((Panel("", svg),), caption), table)]


def parity_verdict(parity: Sequence[SpikeParity]) -> tuple[bool, str] | None:
    """Whether every spike was equal, and the sentence that says so."""
    if not parity:
        return None
    wrong = next((row for row in parity if row.differences), None)
    spikes = sum(row.spikes_reference or 0 for row in parity)
    samples = max((row.samples or 0 for row in parity), default=0)
    if wrong is not None:
        total = sum(row.differences or 0 for row in parity)
        return False, (
            f"Lava and the integer reference differ in {words.count(total)} places; the first population "
            f"where they do is {wrong.population} ({words.count(wrong.differences)} differences)."
        )
    if any(row.differences is None for row in parity):
        return False, "Lava and the integer reference were not compared in every population."
    return True, (
        f"Every spike is equal: {words.count(spikes)} spikes in {len(parity)} populations over "
        f"{words.count(samples)} samples, no difference between Lava and the integer reference."
    )


def lava_missing(lava: LavaRun | None) -> str:
    """One line on why there is nothing from Lava and how to get it; empty when it ran."""
    if lava is None or lava.ok:
        return ""
    reason = lava.message.strip().rstrip(".") or "its environment is not there"
    remedy = "" if "lava setup" in reason else f" {HOW_TO_GET_LAVA}"
    return f"Lava did not run: {reason}.{remedy}"


def parity_section(parity: Sequence[SpikeParity], lava: LavaRun | None) -> list[Block]:
    """Verdict and table, or the line that says how to get Lava."""
    blocks: list[Block] = []
    if missing := lava_missing(lava):
        blocks.append(Prose(missing, "bad"))
    verdict = parity_verdict(parity)
    if verdict is not None:
        blocks.append(Prose(verdict[1], "good" if verdict[0] else "bad"))
        blocks.append(_parity_table(parity))
    if lava is not None and lava.ok and lava.seconds is not None:
        message = f" {lava.message.strip()}" if lava.message.strip() else ""
        blocks.append(Prose(f"Lava took {words.seconds(lava.seconds)} with its start-up.{message}"))
    return blocks


def quantisation_table(layers: Sequence[QuantisedLayer]) -> list[Block]:
    """How each layer was brought to integers."""
    if not layers:
        return []
    columns = ("Bits", "Scale", "Saturated weights", "Weight error", "Equal spikes")
    rows = tuple(
        (
            Cell(q.layer, q.layer),
            Cell(words.count(q.bits), q.bits),
            Cell(words.figures(q.scale), q.scale),
            Cell(words.count(q.saturated), q.saturated),
            Cell(words.figures(q.weight_error, 2), q.weight_error),
            Cell(words.percent(q.spike_agreement, 2), q.spike_agreement),
        )
        for q in layers
    )
    caption = (
        "Quantisation of each layer: integer weight units per float weight, weights cut off at the range's "
        "end, the weights' rms error over their rms, and the share of neurons and steps at which both "
        "networks fired or both did not."
    )
    return [Table((Column("Layer", number=False), *(Column(c) for c in columns)), rows, caption)]


def _stage_cells(stage: Form) -> tuple[Cell, ...]:
    return (
        Cell(stage.stage, stage.stage),
        Cell(words.percent(stage.accuracy, 2), stage.accuracy),
        Cell(words.count(stage.samples), stage.samples),
    )


def _parity_table(parity: Sequence[SpikeParity]) -> Table:
    columns = ("Samples", "Steps", "Spikes, reference", "Spikes, Lava", "Differences")
    rows = tuple(
        (
            Cell(row.population, row.population),
            *(
                Cell(words.count(value), value)
                for value in (row.samples, row.steps, row.spikes_reference, row.spikes_lava)
            ),
            Cell(words.count(row.differences), row.differences, "bad" if row.differences else "good"),
        )
        for row in parity
    )
    caption = (
        "Spikes of each population on the bit-exact integer reference and on Lava; a difference is one "
        "neuron at one time step where only one of the two fired."
    )
    return Table((Column("Population", number=False), *(Column(c) for c in columns)), rows, caption)
