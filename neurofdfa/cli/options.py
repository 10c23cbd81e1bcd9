"""What all commands share: options, output for people and for scripts."""

import json
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
UnusedSeed = Annotated[
    int | None, typer.Option("--seed", help="Accepted by every command; nothing here is random.")
]
Bits = Annotated[int, typer.Option(help="Bits per weight on the chip, 1 to 8.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, the --out of `train`.")]

console = Console(highlight=False)


def emit(document: dict[str, Any], as_json: bool) -> None:
    """Print a command's result for scripts, as the last line of stdout."""
    if as_json:
        print(json.dumps(document, allow_nan=False), flush=True)


def say(text: Any, quiet: bool) -> None:
    """Print for people."""
    if not quiet:
        console.print(text, soft_wrap=isinstance(text, str))  # tables fit the screen, sentences stay whole


def this_command() -> str:
    """The command line as the user typed it, without the interpreter's path."""
    return shlex.join(["neurofdfa", *sys.argv[1:]])


@contextmanager
def progress_bars(quiet: bool) -> Generator[Progress]:
    """Bars on a terminal; nothing where there is none or it is not wanted."""
    screen = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16, table_column=Column(min_width=8)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        # on a narrow terminal the detail gives way, not the time
        TextColumn("{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        console=screen,
        disable=quiet or not screen.is_terminal,
    )
    with bars:
        yield bars
