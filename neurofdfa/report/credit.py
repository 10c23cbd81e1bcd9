"""What an audit found about the hidden layers' learning: angle and size of updates, activity, utility."""

from neurofdfa.lab.credit import Credit
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Prose
from neurofdfa.rules import EXACT, rule_title


def credit_blocks(found: Credit | None) -> list[Block]:
    """A row per hidden layer, and what the controls reach."""
    if found is None or not found.layers:
        return []
    again = found.retrained
    columns = [
        Column("Layer", number=False),
        Column(f"Cosine to {EXACT.title}"),
        Column("Ratio of norms"),
        Column("Spikes per neuron and step"),
        Column("Silent neurons"),
        Column("Hot neurons"),
    ]
    rows = [
        [
            Cell(f"layer {index}", index),
            Cell(f"{layer.cosine:.2f} ± {layer.cosine_std:.2f}", layer.cosine),
            Cell(words.figures(layer.norm_ratio), layer.norm_ratio),
            Cell(words.layer_rates((layer.rate,)), layer.rate),
            *(Cell(words.percent(share), share) for share in (layer.silent, layer.hot)),
        ]
        for index, layer in enumerate(found.layers, 1)
    ]
    if again is not None:
        columns += [Column("Accuracy, frozen up to here"), Column("Utility, points")]
        for row, frozen, utility in zip(rows, again.frozen[1:], again.utility, strict=False):
            row += [Cell(words.percent(frozen), frozen), Cell(f"{100 * utility:+.1f}", utility)]
    caption = (
        f"Hidden layers on {words.count(found.samples)} validation samples; mean and standard deviation of "
        "the samples' cosines. A hot neuron fires in more than 30 % of the steps. Utility: validation "
        "accuracy that is lost when this layer, too, keeps its first weights."
    )
    blocks: list[Block] = [Table(tuple(columns), tuple(map(tuple, rows)), caption)]
    if again is not None:
        blocks.append(
            Prose(
                f"Trained again with the same settings {rule_title(found.rule)} reaches "
                f"{words.percent(again.frozen[0])} on validation data, {words.percent(again.shuffled)} when "
                "the steps of every sample are shuffled; a linear readout of the spike counts reaches "
                f"{words.percent(again.counts)}."
            )
        )
    return blocks
