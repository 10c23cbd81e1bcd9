"""`neurofdfa compare | ablate`: many runs that answer a question."""

import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from neurofdfa.cli.options import AsJson, Quiet, emit, progress_bars, say, this_command
from neurofdfa.errors import UserError


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(compare)
    app.command()(ablate)


def compare(
    out: Annotated[Path, typer.Option(help="Folder of the comparison; the same command goes on with it.")],
    rules: Annotated[
        str, typer.Option(help="Learning rules, e.g. fdfa,dfa,bptt; the first is the reference.")
    ],
    seeds: Annotated[str, typer.Option(help="How many seeds, or a list, e.g. 3,7,11.")] = "5",
    config: Annotated[Path | None, typer.Option(help="A config.toml to start from.")] = None,
    data: Annotated[str | None, typer.Option(help="Name of a data set, or an .npz file.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data set's files.")] = None,
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
        list[str] | None,
        typer.Option(
            "--set", help="Any other setting, e.g. network.tau_mem=0.01; of one rule: dfa:training.lr=0.02."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; 1 for undisturbed times. Default: all cores.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The first of --seeds, when that is a number.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train rules side by side, each with the same seeds, and test their differences."""
    from neurofdfa.lab import comparison
    from neurofdfa.lab.config import RunConfig, load_config
    from neurofdfa.report import write

    given: dict[str, Any] = {
        "data.name": data,
        "data.root": None if data_root is None else str(data_root),
        "data.steps": steps,
        "data.encoder": encoder,
        "network.hidden": tuple(hidden) if hidden else None,
        "training.epochs": epochs,
        "training.batch": batch,
        "training.lr": lr,
    }
    shared = {key: value for key, value in given.items() if value is not None}
    own: dict[str, dict[str, Any]] = {}
    for rule, key, value in (_assignment(text) for text in settings or []):
        (shared if rule is None else own.setdefault(rule, {}))[key] = value
    start = RunConfig() if config is None else load_config(config)
    listed = [name.strip() for name in rules.split(",") if name.strip()]
    made = comparison.plan(start.with_settings(shared), listed, _seeds(seeds, seed), own)
    with progress_bars(quiet) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, epoch: Any, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, detail="")
            detail = f"val {epoch.validation_accuracy:.1%}"
            bars.update(tasks[name], completed=epoch.epoch, detail=detail, visible=epoch.epoch < total)
            if bars.disable and epoch.epoch == total:
                say(f"{name}: {total} epochs, {detail}", quiet)

        document = comparison.compare(made, out, command=this_command(), workers=workers, progress=show)
    say(_comparison_table(document), quiet)
    for row in document["rows"]:
        for failure in row["failed"]:
            say(f"{row['rule']} seed {failure['seed']} failed: {failure['reason']}", quiet)
    report = write(out)
    say(f"Report: {report}", quiet)
    emit(document | {"report": str(report)}, as_json)


def ablate(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="A study: see docs/lab.md.")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; the same command goes on with it.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data set's files.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time. Default: all cores.")] = None,
    engine: Annotated[str, typer.Option(help="local processes, or ray.")] = "local",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed runs again.")] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Accepted by every command; a study lists its own seeds.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run every setting that a TOML file spans; resumable whatever stops it."""
    from neurofdfa.io import write_text
    from neurofdfa.lab import ablation
    from neurofdfa.lab.markdown import sweep_tables
    from neurofdfa.report import write

    with _SweepProgress(quiet) as progress:
        result = ablation.ablate(
            file,
            out,
            workers_at_once=workers,
            engine=engine,
            retry_failed=retry_failed,
            command=this_command(),
            on_state=progress.show,
            data_root=data_root,
        )
    if result.done:
        say(_sweep_table(result.document), quiet)
    for reason, runs in _reasons(result.document).items():
        say(f"{runs} failed: {reason}", quiet)
    best = ablation.best_row(result.document)
    say(
        f"{result.done} done, {result.failed} failed"
        + ("" if best is None else f"; best on validation data: {_words(best['settings'])}")
        + f"\nLedger: {result.ledger}",
        quiet,
    )
    report, table = write(out), out / "table.md"
    write_text(table, sweep_tables(result.document)[1] + "\n")
    say(f"Report: {report}, as Markdown: {table}", quiet)
    emit(
        {
            "done": result.done,
            "failed": result.failed,
            "ledger": str(result.ledger),
            "fingerprint": result.fingerprint,
            "best": None
            if best is None
            else {key: best[key] for key in ("settings", "validation_mean", "mean", "n")},
            "report": str(report),
        },
        as_json,
    )


class _SweepProgress:
    """One bar with the time that is left on a terminal; elsewhere a line per trial that ends."""

    def __init__(self, quiet: bool) -> None:
        screen = Console(stderr=True)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            console=screen,
            disable=quiet or not screen.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, detail="")
        self._before: tuple[int, float] | None = None

    def __enter__(self) -> "_SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, state: Any, trial: Any) -> None:
        """Hear of a trial that ended, or that runs are about to start."""
        ended, now = state.done + state.failed, time.monotonic()
        if trial is None and self._before is None:
            self._before = ended, now
        left = ""
        if self._before is not None and self._before[0] < ended < state.total:
            per_trial = (now - self._before[1]) / (ended - self._before[0])
            left = f", about {_duration(per_trial * (state.total - ended))} left"
        detail = (f"{state.failed} failed" if state.failed else "") + left
        self._bar.update(self._task, completed=ended, total=state.total, detail=detail.lstrip(", "))
        if self._bar.disable and trial is not None:
            outcome = (
                f"validation {trial.result['validation_accuracy']:.2%}"
                if trial.result is not None
                else f"failed: {trial.reason}"
            )
            say(
                f"{ended} of {state.total}: {_words(trial.settings)} seed {trial.seed}: {outcome}{left}",
                self._quiet,
            )


def _comparison_table(document: dict[str, Any]) -> Table:
    seeds = len(document["seeds"])
    title = f"{document['data']}, {seeds} seed(s); ± is the 95 % interval of the mean; p after Holm"
    table = Table(
        "rule", "test %", "valid.", f"− {document['reference']}", "p", "training", "peak", "energy",
        "epochs to " + _number(document["level"], "{:.1%}"),
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False,
    )  # fmt: skip
    for row in document["rows"]:
        difference = row["difference"] or {"mean": None, "ci95": None, "p_holm": None}
        table.add_row(
            row["rule"],
            _interval(row["mean"], row["ci95"]),
            _interval(row["validation_mean"], None),
            _interval(difference["mean"], difference["ci95"], signed=True),
            _number(difference["p_holm"], "{:.3f}"),
            _number(row["seconds"], "{:.1f} s"),
            _number(row["peak_mib"], "{:.1f} MiB"),
            _number(None if row["energy"] is None else 1e6 * row["energy"], "{:.2g} µJ"),
            _number(row["epochs_to_level"], "{:.1f}"),
        )
    return table


def _sweep_table(document: dict[str, Any], most: int = 20) -> Table:
    rows = [row for row in document["rows"] if row["validation_mean"] is not None]
    ranked = sorted(rows, key=lambda row: (-row["validation_mean"], row["point"]))[:most]
    title = "best on validation data first" + (f", {most} of {len(rows)}" if len(rows) > most else "")
    table = Table(*document["varied"], "validation", "test", "seeds", title=title, title_justify="left")
    for row in ranked:
        values = [str(row["settings"].get(key, "")) for key in document["varied"]]
        table.add_row(
            *values,
            _interval(row["validation_mean"], row["validation_ci95"]),
            _interval(row["mean"], row["ci95"]),
            str(row["n"]),
        )
    return table


def _reasons(document: dict[str, Any]) -> dict[str, int]:
    """Why runs failed, and how many for each reason."""
    return dict(Counter(failure["reason"] for row in document["rows"] for failure in row["failed"]))


def _interval(mean: float | None, ends: list[float] | None, signed: bool = False) -> str:
    if mean is None:
        return "–"
    text = f"{100 * mean:+.2f}" if signed else f"{100 * mean:.2f}"
    return text if ends is None else f"{text} ± {50 * (ends[1] - ends[0]):.2f}"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "no varied setting"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _seeds(text: str, first: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or any(number < 0 for number in numbers) or numbers == [0]:
        raise UserError(f"--seeds takes a number of seeds, e.g. 5, or a list, e.g. 3,7,11, got '{text}'")
    if len(numbers) == 1 and "," not in text:
        return list(range(first, first + numbers[0]))
    return numbers


def _assignment(text: str) -> tuple[str | None, str, Any]:
    """One `[rule:]key=value`, the value as TOML, or as a plain string where it is none."""
    from neurofdfa.lab.study_file import check_key

    left, equals, value = text.partition("=")
    rule, colon, key = left.strip().rpartition(":")
    if not equals or not key:
        raise UserError(f"--set takes key=value, e.g. training.lr=0.002, got '{text}'")
    if key in ("seed", "rule.name"):
        raise UserError(f"--set {key}: a comparison takes --seeds and --rules")
    check_key(key, "--set")
    try:
        found: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        found = value
    return (rule if colon else None), key, found
