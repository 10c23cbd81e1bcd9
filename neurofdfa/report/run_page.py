"""The report of one run folder."""

from neurofdfa.lab.chip import read_parity, read_placements
from neurofdfa.lab.credit import read_credit
from neurofdfa.lab.energy import read_energy
from neurofdfa.lab.record import RunFolder, Summary, read_confusion
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import learning, words
from neurofdfa.report.confusion import confusion_blocks
from neurofdfa.report.credit import credit_blocks
from neurofdfa.report.energy import energy_blocks
from neurofdfa.report.mapping import mapping_blocks
from neurofdfa.report.page import Block, KeyFigure, Page, Prose, Section, footer, provenance
from neurofdfa.report.parity import parity_blocks
from neurofdfa.report.raster import read_raster
from neurofdfa.report.viewer import viewer
from neurofdfa.rules import EXACT, rule_title


def run_page(run: RunFolder) -> Page:
    """Compose the page; a part without data is left out."""
    summary = run.summary
    return Page(
        title=f"neurofdfa: {run.rule} on {run.data}",
        kicker=f"neurofdfa run · seed {run.config.seed}",
        headline=_headline(run),
        summary=_interval(summary) if summary and not run.regression else "",
        key_figures=tuple(_key_figures(summary)) if summary else (),
        sections=(
            Section("Learning curves", tuple(learning.run_curves(run))),
            Section("Which classes are confused", tuple(confusion_blocks(read_confusion(run.folder)))),
            Section(f"Alignment with {EXACT.title}", tuple(_alignment(run))),
            Section("Credit assignment", tuple(credit_blocks(read_credit(run.folder)))),
            Section("Inside the network", tuple(_viewer(run))),
            Section("Firing", tuple(_firing(run))),
            Section("Energy and operations", tuple(energy_blocks(read_energy(run.folder)))),
            Section("From float to chip", tuple(parity_blocks(read_parity(run.folder)))),
            Section("On the cores of a chip", tuple(mapping_blocks(read_placements(run.folder)))),
            Section("How it was made", tuple(_provenance(run))),
        ),
        footer=footer(run.folder),
    )


def _headline(run: RunFolder) -> str:
    rule = rule_title(run.rule)
    if run.summary is None:
        done = len(run.epochs)
        if run.failure:
            return f"{rule} on {run.data} failed after {done} epoch{'' if done == 1 else 's'}: {run.failure}"
        return f"{rule} on {run.data}: not finished, {done} epoch{'' if done == 1 else 's'} so far"
    number, what = words.score(run.summary.test_accuracy, 2)
    return f"{rule} reaches {number} test {what} on {run.data} in {words.seconds(run.summary.seconds)}."


def _interval(summary: Summary) -> str:
    interval = words.wilson(summary.test_accuracy, summary.samples.get("test"))
    if interval is None:
        return ""
    low, high = (words.percent(end) for end in interval)
    samples = words.count(summary.samples.get("test"))
    return f"One seed; the 95{words.SPACE}% interval for {samples} test samples is {low} to {high}."


def _key_figures(summary: Summary) -> list[KeyFigure]:
    test, validation = words.score(summary.test_accuracy), words.score(summary.validation_accuracy)
    return [
        KeyFigure(test[0], f"test {test[1]}"),
        KeyFigure(validation[0], f"validation {validation[1]}, epoch {summary.best_epoch}"),
        KeyFigure(words.seconds(summary.seconds), "training time"),
        KeyFigure(words.mebibytes(summary.peak_mib), "peak memory of a training step"),
    ]


def _alignment(run: RunFolder) -> list[Block]:
    blocks, angles = learning.alignment([("", run)]), learning.last_angles(run)
    said = f"At the end of training the update of {rule_title(run.rule)} stands {angles} from the gradient."
    return [Prose(said), *blocks] if blocks and angles else blocks


def _viewer(run: RunFolder) -> list[Block]:
    raster = read_raster(run.folder)
    if raster is None:
        return []
    title = f"{rule_title(run.rule)} on {run.data}"
    return [
        viewer(
            raster, key="viewer", title=title, v_threshold=run.config.network.threshold, data_name=run.data
        )
    ]


def _firing(run: RunFolder) -> list[Block]:
    blocks = learning.layer_activity(run)
    summary = run.summary
    if summary is None or not summary.firing_rate:
        return blocks
    silent = summary.silent_neurons
    rows = tuple(
        (
            Cell(f"layer {k + 1}", k),
            Cell(words.layer_rates((rate,)), rate),
            Cell(words.count(silent[k] if k < len(silent) else None), silent[k] if k < len(silent) else None),
        )
        for k, rate in enumerate(summary.firing_rate)
    )
    columns = (Column("Layer", number=False), Column("Spikes per neuron and step"), Column("Silent neurons"))
    return [*blocks, Table(columns, rows, "Hidden layers on the test split; a silent neuron never fires.")]


def _provenance(run: RunFolder) -> list[Block]:
    command = run.summary.command if run.summary else ""
    versions = run.summary.versions if run.summary else {}
    blocks: list[Block] = []
    if run.summary and run.summary.samples:
        sizes = words.listed([f"{size} {split}" for split, size in run.summary.samples.items()])
        blocks.append(Prose(f"Samples: {sizes}."))
    return blocks + provenance(command, versions, [("", run)], folded=False)
