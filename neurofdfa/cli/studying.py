"""`neurofdfa compare | ablate`: many runs that answer a question."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

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
    Steps,
    assignment,
    emit,
    interruptible,
    listed,
    progress_bars,
    rule_names,
    run_settings,
    say,
    this_command,
)
from neurofdfa.errors import UserError
from neurofdfa.lab.table import with_interval

if TYPE_CHECKING:
    from neurofdfa.lab.ablation import State
    from neurofdfa.lab.ledger import Trial
    from neurofdfa.lab.record import Epoch
    from neurofdfa.lab.results import Sweep

REPEAT = "the same command goes on where it stopped"
FAILED = 1
"""Exit status where some of the runs have no result."""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(compare)
    app.command()(ablate)


def compare(
    out: Annotated[Path, typer.Option(help="Folder of the comparison; the same command goes on with it.")],
    rules: Annotated[
        str,
        typer.Option(
            help="Learning rules, e.g. fdfa,dfa,bptt; the first is the reference. "
            f"There are {', '.join(rule_names())}.",
        ),
    ],
    seeds: Annotated[str, typer.Option(help="How many seeds, or a list, e.g. 3,7,11.")] = "5",
    config: Config = None,
    data: Data = None,
    data_root: DataRoot = None,
    hidden: Hidden = None,
    steps: Steps = None,
    encoder: Encoder = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: LearningRate = None,
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
    from neurofdfa.lab.tables import comparison_table
    from neurofdfa.report import write

    shared = run_settings(
        data=data,
        data_root=data_root,
        hidden=hidden,
        steps=steps,
        encoder=encoder,
        epochs=epochs,
        batch=batch,
        lr=lr,
    )
    own: dict[str, dict[str, Any]] = {}
    for rule, key, value in map(assignment, settings or []):
        if key in ("seed", "rule.name"):
            raise UserError(f"--set {key}: a comparison takes --seeds and --rules")
        (shared if rule is None else own.setdefault(rule, {}))[key] = value
    start = RunConfig() if config is None else load_config(config)
    made = comparison.plan(start.with_settings(shared), listed(rules), _seeds(seeds, seed), own)
    with interruptible(lambda: REPEAT), progress_bars(quiet) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, epoch: "Epoch", total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, detail="")
            detail = f"val {epoch.validation_accuracy:.1%}"
            bars.update(tasks[name], completed=epoch.epoch, detail=detail, visible=epoch.epoch < total)
            if bars.disable and epoch.epoch == total:
                say(f"{name}: {total} epochs, {detail}", quiet)

        document = comparison.compare(made, out, command=this_command(), workers=workers, progress=show)
    say(comparison_table(document), quiet)
    for row in document.rows:
        for failure in row.failed:
            say(f"{row.rule} seed {failure.seed} failed: {failure.reason}", quiet)
    report = write(out)
    say(f"Report: {report}", quiet)
    emit(document.tree() | {"report": str(report)}, as_json)
    if any(row.failed for row in document.rows):
        raise typer.Exit(FAILED)


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
    from neurofdfa.lab.tables import ranking, settings_in_words, sweep_markdown
    from neurofdfa.report import write

    with interruptible(lambda: REPEAT), _SweepProgress(quiet) as progress:
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
    found = result.document
    if found.done:
        say(ranking(found), quiet)
    for reason, runs in _reasons(found).items():
        say(f"{runs} failed: {reason}", quiet)
    best = found.best_row
    alike = found.not_distinguishable()
    ended = f"{found.done} done, {found.failed} failed"
    if best is not None:
        ended += f"; best on validation data: {settings_in_words(best.settings)}"
        seeds = "one seed" if len(found.seeds) == 1 else f"{len(found.seeds)} seeds"
        ended += f", not distinguishable from {len(alike)} other point(s) by {seeds}" if alike else ""
    say(f"{ended}\nLedger: {result.ledger}", quiet)
    report, table = write(out), out / "table.md"
    write_text(table, sweep_markdown(found) + "\n")
    say(f"Report: {report}, as Markdown: {table}", quiet)
    keys = {"settings", "validation_mean", "mean", "n"}
    emit(
        {
            "done": found.done,
            "failed": found.failed,
            "ledger": str(result.ledger),
            "fingerprint": result.fingerprint,
            "best": None if best is None else {key: best.tree()[key] for key in sorted(keys)},
            "not_distinguishable": [row.tree()["settings"] for row in alike],
            "report": str(report),
        },
        as_json,
    )
    if found.failed:
        raise typer.Exit(FAILED)


class _SweepProgress:
    """One bar with the time that is left on a terminal; elsewhere a line per trial that ends."""

    def __init__(self, quiet: bool) -> None:
        screen = Console(stderr=True, markup=False, emoji=False)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
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

    def show(self, state: "State", trial: "Trial | None") -> None:
        """Hear of a trial that ended, or that runs are about to start."""
        from neurofdfa.lab.tables import settings_in_words

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
                f"validation {with_interval(trial.result.validation_accuracy, None)}"
                if trial.result is not None
                else f"failed: {trial.reason}"
            )
            which = f"{settings_in_words(trial.settings)} seed {trial.seed}"
            say(f"{ended} of {state.total}: {which}: {outcome}{left}", self._quiet)


def _reasons(found: "Sweep") -> dict[str, int]:
    """Why runs failed, and how many for each reason."""
    return dict(Counter(failure.reason for row in found.rows for failure in row.failed))


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
