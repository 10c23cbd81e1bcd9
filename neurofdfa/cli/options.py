"""What all commands share: options, output for people and for scripts."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from neurofdfa.errors import UserError
from neurofdfa.lab.table import Table, printable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
UnusedSeed = Annotated[
    int | None, typer.Option("--seed", help="Accepted by every command; nothing here is random.")
]
Bits = Annotated[int, typer.Option(help="Bits per weight on the chip, 1 to 8.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, the --out of `train`.")]

# Settings of a run, for `train` and `compare`; what is not given is the config's, else the default.
Config = Annotated[Path | None, typer.Option(help="A config.toml to start from, e.g. of another run.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="A data set by name, or a .npz or .csv file or a folder of your own.", show_default="digits"
    ),
]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data set's files.")]
Hidden = Annotated[
    list[int] | None,
    typer.Option(
        help="Sizes of the hidden layers, bottom up: 128 64; others by --set network.layers=….",
        show_default="128 128",
    ),
]
Steps = Annotated[
    int | None, typer.Option(help="Time steps T of static images.", show_default="the data's own")
]
Encoder = Annotated[
    str | None,
    typer.Option(help="How images become input: poisson, latency or direct.", show_default="poisson"),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training split.", show_default="20")]
Batch = Annotated[int | None, typer.Option(help="Samples per batch.", show_default="32")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate.", show_default="0.003")]

_NAME = re.compile(r'^    name: ClassVar\[str\] = "([^"]+)"', re.MULTILINE)


class Interrupted(Exception):
    """Ctrl-C, with what the user may do next."""


console = Console(highlight=False, markup=False, emoji=False)
"""Names and paths are printed letter by letter: nothing in them is markup."""


def emit(document: Mapping[str, Any], as_json: bool) -> None:
    """Print a command's result for scripts, as the last line of stdout."""
    if as_json:
        print(json.dumps(document, allow_nan=False), flush=True)


def say(text: str | Table | RenderableType, quiet: bool) -> None:
    """Print for people. Control characters of a text, wherever it comes from, do not reach the terminal."""
    if quiet:
        return
    if isinstance(text, str):
        console.print(printable(text), soft_wrap=True)  # sentences stay whole
    else:
        console.print(text.rich() if isinstance(text, Table) else text)  # tables fit the screen


def this_command() -> str:
    """The command line as the user typed it, without the interpreter's path."""
    return shlex.join(["neurofdfa", *sys.argv[1:]])


@contextmanager
def interruptible(next_step: Callable[[], str]) -> Generator[None]:
    """Turn Ctrl-C into `Interrupted` with the words that `next_step` finds then."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(next_step()) from error


@contextmanager
def progress_bars(quiet: bool) -> Generator[Progress]:
    """Bars on a terminal; nothing where there is none or it is not wanted."""
    screen = Console(stderr=True, markup=False, emoji=False)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16, table_column=Column(min_width=8)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        # on a narrow terminal the detail gives way, not the time
        TextColumn(
            "{task.fields[detail]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=screen,
        disable=quiet or not screen.is_terminal,
    )
    with bars:
        yield bars


def run_settings(
    *,
    data: str | None,
    data_root: Path | None,
    hidden: Sequence[int] | None,
    steps: int | None,
    encoder: str | None,
    epochs: int | None,
    batch: int | None,
    lr: float | None,
) -> dict[str, Any]:
    """The settings that the options above give, dotted."""
    given: dict[str, Any] = {
        "data.name": None if data is None else _found_from_anywhere(data),
        "data.root": None if data_root is None else str(data_root.expanduser().absolute()),
        "data.steps": steps,
        "data.encoder": encoder,
        "network.hidden": tuple(hidden) if hidden else None,
        "training.epochs": epochs,
        "training.batch": batch,
        "training.lr": lr,
    }
    return {key: value for key, value in given.items() if value is not None}


def _found_from_anywhere(data: str) -> str:
    """A file or folder by its whole path, so that a run is read back from anywhere; else a name."""
    path = Path(data)
    return str(path.absolute()) if os.sep in data or (path.suffix and path.exists()) else data


def assignment(text: str) -> tuple[str | None, str, Any]:
    """One `[rule:]key=value` of --set, the value as TOML, or as a plain string where it is none. Raises
    `UserError` where no run has such a setting.
    """
    from neurofdfa.io import parse_toml
    from neurofdfa.lab.study_file import check_key

    left, equals, value = text.partition("=")
    rule, colon, key = left.strip().rpartition(":")
    if not equals or not key:
        raise UserError(f"--set takes key=value, e.g. training.lr=0.002, got '{text}'")
    check_key(key, "--set")
    try:
        found: Any = parse_toml(f"value = {value}", "--set")["value"]
    except UserError:
        found = value
    return (rule if colon else None), key, found


def numbers_from_one(text: str, option: str) -> list[int]:
    """Whole numbers, separated by commas."""
    try:
        numbers = [int(word) for word in listed(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"{option} takes whole numbers from 1, separated by commas, got '{text}'")
    return numbers


def rule_names() -> list[str]:
    """The names of all learning rules, read from their files: the registry would load torch, and help and
    completion must not wait for that. A test holds both against each other.
    """
    folder = Path(__file__).parents[1] / "rules"
    found = (re.search(_NAME, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.py")))
    return [match[1] for match in found if match is not None]


def listed(text: str) -> list[str]:
    """Words separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
