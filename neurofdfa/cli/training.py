"""`neurofdfa demo | train | report`: making runs."""

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TaskID

from neurofdfa.cli.options import (
    AsJson,
    Batch,
    Config,
    Data,
    DataRoot,
    Encoder,
    Epochs,
    Hidden,
    LearningRate,
    Quiet,
    Seed,
    Steps,
    UnusedSeed,
    assignment,
    emit,
    interruptible,
    progress_bars,
    rule_names,
    run_settings,
    say,
    this_command,
)
from neurofdfa.errors import UserError
from neurofdfa.lab.table import Column, table, with_interval

if TYPE_CHECKING:
    from neurofdfa.distributed.group import ProcessGroup
    from neurofdfa.lab.config import RunConfig
    from neurofdfa.lab.record import Epoch, Summary


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(demo)
    app.command()(train)
    app.command()(report)


def demo(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default runs/demo-<time>.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer epochs, for a quick look.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn digits online with FDFA, compare with BPTT, quantise, run on Lava, write a report."""
    from neurofdfa.lab.demo import demo as run_demo
    from neurofdfa.report import write
    from neurofdfa.rules import DEFAULT, EXACT

    folder = out if out is not None else _new_folder("demo")
    with progress_bars(quiet) as bars:
        lava: list[TaskID] = []

        def on_lava(fraction: float) -> None:
            if not lava:
                lava.append(bars.add_task("real Lava", total=100, detail=""))
            bars.update(lava[0], completed=int(100 * fraction))

        result = run_demo(
            folder,
            seed=seed,
            command=this_command(),
            epochs=epochs,
            on_epoch=_epoch_bars(bars, quiet),
            on_lava=on_lava,
        )
    written = write(folder)
    for title, rows in (("digits", result.digits), ("spike timing", result.timing)):
        cells = [
            [rule, f"{row.test_accuracy:.2%}", f"{row.seconds:.1f} s", f"{row.peak_mib:.1f} MiB"]
            for rule, row in rows.items()
        ]
        columns = ["rule", Column("test accuracy"), Column("training"), Column("peak memory")]
        say(table(columns, cells, title), quiet)
    cells = [[f.stage, with_interval(f.accuracy, None), str(f.samples)] for f in result.stages]
    say(
        table(
            [f"the {DEFAULT.title} network on test digits", Column("accuracy, %"), Column("samples")], cells
        ),
        quiet,
    )
    lava_row = result.lava
    spikes = sum(row.spikes_lava or 0 for row in lava_row.parity)
    say(f"Lava: {lava_row.message}" + (f" ({spikes} spikes compared)" if lava_row.ok else ""), quiet)
    say(f"Report: {written}", quiet)
    emit(
        {
            f"{DEFAULT.name}_accuracy": result.digits[DEFAULT.name].test_accuracy,
            f"{EXACT.name}_accuracy": result.digits[EXACT.name].test_accuracy,
            "fixed_point_accuracy": result.stages[1].accuracy,
            "lava_spikes_equal": lava_row.spikes_equal,
            "report": str(written),
        },
        as_json,
    )


def train(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; must not exist, or be empty.", show_default="runs/<data>-<rule>-<time>"
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    data_root: DataRoot = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help=f"Learning rule: {', '.join(rule_names())}.", show_default="fdfa", autocompletion=rule_names
        ),
    ] = None,
    hidden: Hidden = None,
    steps: Steps = None,
    encoder: Encoder = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: LearningRate = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, e.g. --set network.tau_mem=0.01.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What computes the training: auto, events or reference.", show_default="auto"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads; their number changes the last digits.", show_default="1"),
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="A run whose weights to start from, e.g. to fine-tune.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an interrupted run in --out, or, for more --epochs in all, with a finished one.",
        ),
    ] = False,
    live: Annotated[
        bool, typer.Option("--tensorboard", help="Write events for TensorBoard into --out/tensorboard.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of everything random.", show_default="0")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train one network with one rule into a run folder; with torchrun, in several processes."""
    from neurofdfa.distributed.torchrun import joined
    from neurofdfa.lab import run as lab
    from neurofdfa.train.fit import Callback, TensorBoardLog

    changed = run_settings(
        data=data,
        data_root=data_root,
        hidden=hidden,
        steps=steps,
        encoder=encoder,
        epochs=epochs,
        batch=batch,
        lr=lr,
    )
    own = {
        "rule.name": rule,
        "training.engine": engine,
        "training.threads": threads,
        "training.start_from": None if start_from is None else str(start_from),
        "seed": seed,
    }
    changed |= {key: value for key, value in own.items() if value is not None}
    for of_rule, key, value in map(assignment, settings or []):
        if of_rule is not None:
            raise UserError(f"--set {of_rule}:{key}: one run has one rule: leave out '{of_rule}:'")
        changed[key] = value
    if resume and out is None:
        raise UserError("--resume needs --out: the folder of the run to go on with")
    with interruptible(lambda: _goes_on(out)), ExitStack() as stack:
        group = stack.enter_context(joined())
        quiet = quiet or not group.leads
        chosen = _start(config, out if resume else None, group).with_settings(changed)
        if out is None:
            source = Path(chosen.data.name).stem or "data"
            out = Path(group.tell(str(_new_folder(f"{source}-{chosen.rule.name}")).encode()).decode())
        callbacks: list[Callback] = [TensorBoardLog(out / "tensorboard")] if live and group.leads else []
        show = _epoch_bars(stack.enter_context(progress_bars(quiet)), quiet)

        def on_epoch(epoch: "Epoch", total: int) -> None:
            show(chosen.rule.name, epoch, total)

        summary = lab.train(
            chosen,
            out,
            command=this_command(),
            resume=resume,
            progress=on_epoch,
            callbacks=callbacks,
            group=group,
        )
    say(
        f"test {_score(summary.test_accuracy)}, validation {_score(summary.validation_accuracy)} at epoch "
        f"{summary.best_epoch}, {summary.seconds:.1f} s of training{_warm_up(summary)}, "
        f"rates {', '.join(f'{rate:.1%}' for rate in summary.firing_rate)}{_remedied(out)}\nRun: {out}",
        quiet,
    )
    emit(summary.tree() | {"run": str(out)}, as_json and group.leads)


def _remedied(folder: Path) -> str:
    """What was done about numbers that were not finite, as `training.diverged` says."""
    from neurofdfa.lab.record import read_epochs

    epochs = read_epochs(folder)
    skipped, halved = sum(epoch.skipped for epoch in epochs), sum(epoch.halved for epoch in epochs)
    said = [f"{skipped} batches left out"] if skipped else []
    said += [f"the learning rate halved {halved} times"] if halved else []
    return f"; numbers were not finite: {', '.join(said)}" if said else ""


def _goes_on(out: Path | None) -> str:
    """How an interrupted training goes on, where there is anything to go on with."""
    if out is None or not (out / "state.safetensors").is_file():
        return "before the first epoch was done: nothing is kept; the same command starts again"
    return f"`neurofdfa train --out {shlex.quote(str(out))} --resume` goes on"


def _warm_up(summary: "Summary") -> str:
    """What the engine took to be ready, where that was worth a word."""
    seconds = summary.warm_up_seconds or 0.0
    return f" (and {seconds:.0f} s to make the event engine ready, not counted)" if seconds >= 1 else ""


def _new_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _start(config: Path | None, resumed: Path | None, group: "ProcessGroup") -> "RunConfig":
    """The settings to start from, as rank 0 reads them."""
    from neurofdfa.lab.config import RunConfig, load_config

    start = RunConfig()
    if group.leads and config is not None:
        start = load_config(config)
    elif group.leads and resumed is not None:
        if not (resumed / "config.toml").is_file():
            raise UserError(f"{resumed} holds no run to go on with: leave out --resume to start one there")
        start = load_config(resumed / "config.toml")
    return RunConfig.model_validate_json(group.tell(start.model_dump_json().encode()))


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a run, demo, comparison, sweep or bench.")
    ],
    picture: Annotated[Path | None, typer.Option(help="Also one picture of the result, as PNG.")] = None,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a folder's results as one self-contained HTML file."""
    from neurofdfa.io import write_bytes
    from neurofdfa.report import figure, write

    path = write(folder)
    say(f"Report: {path}", quiet)
    if picture is not None:
        write_bytes(picture, figure(folder))
        say(f"Picture: {picture}", quiet)
    emit({"report": str(path), "picture": None if picture is None else str(picture)}, as_json)


def _epoch_bars(bars: Progress, quiet: bool) -> "Callable[[str, Epoch, int], None]":
    """A function (name, epoch, epochs) that keeps one bar per name."""
    tasks: dict[str, TaskID] = {}

    def show(name: str, epoch: "Epoch", epochs: int) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=epochs, detail="", completed=epoch.epoch - 1)
        rates = " ".join(f"{100 * rate:.1f}" for rate in epoch.rates)
        aligned = "" if not epoch.alignment else " align " + " ".join(f"{c:.2f}" for c in epoch.alignment)
        detail = f"val {_score(epoch.validation_accuracy)} rates {rates}%{aligned}"
        bars.update(tasks[name], completed=epoch.epoch, detail=detail)
        if bars.disable and epoch.epoch == epochs:  # no terminal: a line per finished run instead of bars
            say(f"{name}: {epochs} epochs, {detail}", quiet)

    return show


def _score(accuracy: float) -> str:
    """An accuracy, or the loss that regression keeps with a minus."""
    return with_interval(accuracy, None) + (" %" if accuracy >= 0 else "")
