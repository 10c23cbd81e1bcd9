"""`neurofdfa demo | train | report`: making runs."""

from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID
from rich.table import Table

from neurofdfa.cli.options import AsJson, Quiet, Seed, UnusedSeed, emit, progress_bars, say, this_command
from neurofdfa.errors import UserError

if TYPE_CHECKING:
    from neurofdfa.distributed.group import ProcessGroup
    from neurofdfa.lab.config import RunConfig


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
    from neurofdfa.lab.demo import DemoResult
    from neurofdfa.lab.demo import demo as run_demo
    from neurofdfa.lab.record import Epoch

    folder = out if out is not None else Path("runs") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    with progress_bars(quiet) as bars:
        show = _epoch_bars(bars, quiet)

        def on_epoch(name: str, epoch: Epoch, epochs: int) -> None:
            show(name, epoch, epochs)

        lava: list[TaskID] = []

        def on_lava(fraction: float) -> None:
            if not lava:
                lava.append(bars.add_task("real Lava", total=100, detail=""))
            bars.update(lava[0], completed=int(100 * fraction))

        result: DemoResult = run_demo(
            folder, seed=seed, command=this_command(), epochs=epochs, on_epoch=on_epoch, on_lava=on_lava
        )
    fdfa, bptt = result.digits["fdfa"], result.digits["bptt"]
    for title, rows in (("digits", result.digits), ("spike timing", result.timing)):
        table = Table("rule", "test accuracy", "training", "peak memory", title=title, title_justify="left")
        for rule, row in rows.items():
            table.add_row(rule, f"{row.test_accuracy:.2%}", f"{row.seconds:.1f} s", f"{row.peak_mib:.1f} MiB")
        say(table, quiet)
    table = Table("the FDFA network on test digits", "accuracy", "samples")
    for stage in result.stages:
        table.add_row(stage.stage, f"{stage.accuracy:.2%}", str(stage.samples))
    say(table, quiet)
    lava_row = result.lava
    spikes = sum(row.spikes_lava for row in lava_row.parity)
    say(f"Lava: {lava_row.message}" + (f" ({spikes} spikes compared)" if lava_row.ok else ""), quiet)
    say(f"Report: {result.report}", quiet)
    emit(
        {
            "fdfa_accuracy": fdfa.test_accuracy,
            "bptt_accuracy": bptt.test_accuracy,
            "fixed_point_accuracy": result.stages[1].accuracy,
            "lava_spikes_equal": lava_row.spikes_equal,
            "report": str(result.report),
        },
        as_json,
    )


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run; must not exist, or be empty.")],
    config: Annotated[
        Path | None, typer.Option(help="A config.toml to start from, e.g. of another run.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Name of a data set, or an .npz file.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data set's files.")] = None,
    rule: Annotated[str | None, typer.Option(help="Learning rule.")] = None,
    hidden: Annotated[
        list[int] | None,
        typer.Option(help="Sizes of the hidden layers, bottom up: 128 64; others by --set network.layers=…."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Time steps T of static images.")] = None,
    encoder: Annotated[str | None, typer.Option(help="direct, poisson or latency.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, e.g. --set network.tau_mem=0.01.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="reference or events.")] = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", help="A run whose weights to start from, e.g. to fine-tune.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
    live: Annotated[
        bool, typer.Option("--tensorboard", help="Write events for TensorBoard into --out/tensorboard.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train one network with one rule into a run folder; with torchrun, in several processes."""
    from neurofdfa.distributed.torchrun import joined
    from neurofdfa.lab import run as lab
    from neurofdfa.lab.live import tensorboard
    from neurofdfa.lab.record import Epoch

    given: dict[str, Any] = {
        "data.name": data,
        "data.root": None if data_root is None else str(data_root),
        "data.steps": steps,
        "data.encoder": encoder,
        "network.hidden": tuple(hidden) if hidden else None,
        "rule.name": rule,
        "training.epochs": epochs,
        "training.batch": batch,
        "training.lr": lr,
        "training.engine": engine,
        "training.start_from": None if start_from is None else str(start_from),
        "seed": seed,
    }
    changed = {key: value for key, value in given.items() if value is not None}
    changed |= dict(_setting(text) for text in settings or [])
    with ExitStack() as stack:
        team = stack.enter_context(joined())
        quiet = quiet or not team.leads
        chosen = _start(config, out if resume else None, team).with_settings(changed)
        tell = stack.enter_context(tensorboard(out)) if live and team.leads else None
        show = _epoch_bars(stack.enter_context(progress_bars(quiet)), quiet)

        def on_epoch(epoch: Epoch, total: int) -> None:
            show(chosen.rule.name, epoch, total)
            if tell is not None:
                tell(epoch)

        summary = lab.train(chosen, out, command=this_command(), resume=resume, progress=on_epoch, team=team)
    say(
        f"test {_score(summary.test_accuracy)}, validation {_score(summary.validation_accuracy)} at epoch "
        f"{summary.best_epoch}, {summary.seconds:.1f} s of training, "
        f"rates {', '.join(f'{rate:.1%}' for rate in summary.firing_rate)}\nRun: {out}",
        quiet,
    )
    emit(asdict(summary) | {"run": str(out)}, as_json and team.leads)


def _start(config: Path | None, resumed: Path | None, team: "ProcessGroup") -> "RunConfig":
    """The settings to start from, as rank 0 reads them."""
    from neurofdfa.lab.config import RunConfig, load_config

    start = RunConfig()
    if team.leads and config is not None:
        start = load_config(config)
    elif team.leads and resumed is not None:
        start = load_config(resumed / "config.toml")
    return RunConfig.model_validate_json(team.tell(start.model_dump_json().encode()))


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


def _epoch_bars(bars: Progress, quiet: bool) -> Any:
    """A function (name, epoch, epochs) that keeps one bar per name."""
    tasks: dict[str, TaskID] = {}

    def show(name: str, epoch: Any, epochs: int) -> None:
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
    return f"{accuracy:.2%}" if accuracy >= 0 else f"loss {-accuracy:.4g}"


def _setting(text: str) -> tuple[str, Any]:
    """One `key=value`, the value as TOML, or as a plain string where it is none."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set takes key=value, e.g. training.lr=0.002, got '{text}'")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value
