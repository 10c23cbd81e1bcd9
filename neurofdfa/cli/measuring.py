"""`neurofdfa audit | energy`: what a run's rule reads, and what it costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurofdfa.cli.options import AsJson, Quiet, Run, UnusedSeed, emit, say
from neurofdfa.lab.table import Column, Table, table

if TYPE_CHECKING:
    from neurofdfa.lab.credit import Credit
    from neurofdfa.lab.energy import Cost, Energy


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(audit)
    app.command()(energy)


def audit(
    run: Run,
    samples: Annotated[int, typer.Option(min=2, max=64, help="Validation samples in the batch.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="At most so many steps of each.")] = 12,
    out: Annotated[Path | None, typer.Option(help="Write the certificate as plain text, too.")] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train again with layers frozen, and with shuffled steps.")
    ] = False,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Certify by values what each layer's update is computed from, and measure how well it learns."""
    from neurofdfa.io import write_text
    from neurofdfa.lab import credit
    from neurofdfa.lab.build import build_data, build_trainer
    from neurofdfa.lab.load_run import load_run, trained_learner
    from neurofdfa.measure.locality.audit import certify_learner

    config, network = load_run(run)
    data = build_data(config.data, config.seed, run)
    x, target, lengths = data.validation.first(samples)
    steps = min(steps, int(lengths.min()))
    target = target[:steps] if target.dim() == 3 else target
    # the event engine gives the reference's numbers and has no parts that could be replaced one by one
    training = config.training.model_copy(update={"engine": "reference"})
    reference = config.model_copy(update={"training": training})
    certificate = certify_learner(
        lambda net: build_trainer(reference, net, data.answer_from), network, x[:steps], target
    )
    if out is not None:
        write_text(out, certificate.to_text())
    say(certificate.to_text().rstrip(), quiet)
    learner = trained_learner(run, config, network, data)
    again = credit.retrain(config, data, lambda what: say(f"training {what}", quiet)) if retrain else None
    found = credit.Credit(
        rule=config.rule.name,
        samples=min(credit.SAMPLES, len(data.validation)),
        layers=[] if learner is None else credit.layer_credit(learner, data),
        retrained=again,
    )
    found.write(run / credit.NAME)
    if found.layers:
        say(_layers(found), quiet)
    if again is not None:
        say(
            f"validation accuracy with spike counts alone {100 * again.counts:.1f} %, with shuffled steps "
            f"{100 * again.shuffled:.1f} %, as the run {100 * again.frozen[0]:.1f} %",
            quiet,
        )
    emit(certificate.to_json() | {"credit": found.tree()}, as_json)


def energy(
    run: Run,
    samples: Annotated[int, typer.Option(min=1, help="Validation samples to measure spikes on.")] = 64,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Operations, memory and joules per sample: learning, inference, and BPTT beside them."""
    from neurofdfa.lab.energy import keep, run_ledger
    from neurofdfa.lab.load_run import open_run

    found = keep(run, run_ledger(*open_run(run), samples))
    say(_counts(found), quiet)
    say(_joules(found), quiet)
    say("Constants: Davies et al. 2018 (simulated lower bound); Horowitz 2014 (45 nm CMOS).", quiet)
    say("No energy per operation is published for Loihi 2: none is printed.", quiet)
    emit(found.tree(), as_json)


def _layers(found: "Credit") -> Table:
    columns = [
        "hidden layer",
        "cosine to BPTT",
        "ratio of norms",
        "spikes per step, %",
        "silent, %",
        "hot, %",
    ]
    rows = [
        [
            f"{index}",
            f"{layer.cosine:.2f} ± {layer.cosine_std:.2f}",
            f"{layer.norm_ratio:.3g}",
            *(f"{100 * share:.1f}" for share in (layer.rate, layer.silent, layer.hot)),
        ]
        for index, layer in enumerate(found.layers, 1)
    ]
    again = found.retrained
    if again is not None:
        columns += ["accuracy frozen up to here, %", "utility, points"]
        for row, frozen, utility in zip(rows, again.frozen[1:], again.utility, strict=True):
            row += [f"{100 * frozen:.1f}", f"{100 * utility:+.1f}"]
    return table([columns[0], *map(Column, columns[1:])], rows)


def _columns(found: "Energy") -> "dict[str, Cost]":
    return {"inference": found.inference} | {f"learn, {name}": cost for name, cost in found.learning.items()}


def _counts(found: "Energy") -> Table:
    columns = _columns(found)
    rows: list[list[str]] = []
    for name in found.inference.counts:
        row = [cost.counts.get(name, 0.0) for cost in columns.values()]
        if any(row):
            rows.append([name.replace("_", " "), *(f"{value:,.0f}" for value in row)])
    kinds = dict.fromkeys(kind for cost in columns.values() for kind in cost.memory_words)
    for kind in sorted(kinds, key="total".__eq__):
        row = [cost.memory_words.get(kind, 0.0) for cost in columns.values()]
        rows.append([f"words: {kind.replace('_', ' ')}", *(f"{value:,.0f}" for value in row)])
    return table(["per sample", *map(Column, columns)], rows)


def _joules(found: "Energy") -> Table:
    columns = _columns(found)
    loihi = [cost.joules.loihi1 for cost in columns.values()]
    words = ["not possible" if value is None else f"{value * 1e6:.4g}" for value in loihi]
    rows = [["Loihi 1, simulated lower bound", *words]]
    for key, label in (("arithmetic", "arithmetic"), ("sram", "words, 8 KB SRAM"), ("dram", "words, DRAM")):
        micro = [f"{cost.joules.cmos_45nm.get(key, 0.0) * 1e6:.4g}" for cost in columns.values()]
        rows.append([f"45 nm CMOS: {label}", *micro])
    return table(["microjoules per sample", *map(Column, columns)], rows)
