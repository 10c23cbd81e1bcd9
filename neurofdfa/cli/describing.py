"""`neurofdfa data describe`: what a data set or a folder of one's own holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofdfa.cli.options import AsJson, DataRoot, Quiet, Seed, emit, say
from neurofdfa.errors import UserError
from neurofdfa.lab.table import Column, table

if TYPE_CHECKING:
    from neurofdfa.data.describe import Description


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    data = typer.Typer(help="Look at data before training on them.", no_args_is_help=True)
    data.command()(describe)
    data.callback()(_data)
    app.add_typer(data, name="data")


def _data() -> None:
    """Look at data before training on them."""


def describe(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file, a folder, or a data set by name.")],
    data_root: DataRoot = None,
    steps: Annotated[int | None, typer.Option(help="Time steps T.", show_default="the data's own")] = None,
    encoder: Annotated[str, typer.Option(help="direct, poisson or latency.")] = "poisson",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the data, e.g. --set bands=20.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Training samples to measure.")] = 1000,
    picture: Annotated[Path | None, typer.Option(help="Rasters and a channel histogram, as PNG.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what PATH holds: samples, classes, lengths, density, events per channel; the test stays sealed."""
    from neurofdfa.data.describe import describe as measure
    from neurofdfa.data.describe import picture as draw
    from neurofdfa.data.load import load
    from neurofdfa.io import write_bytes

    given = dict(_setting(text) for text in settings or [])
    data = load(path, data_root=data_root, steps=steps, seed=seed, encoder=encoder, **given)
    found = measure(data, samples)
    _tell(found, quiet)
    if picture is not None:
        write_bytes(picture, draw(data, found))
        say(f"Picture: {picture}", quiet)
    emit(found.to_json() | {"picture": None if picture is None else str(picture)}, as_json)


def _tell(found: "Description", quiet: bool) -> None:
    shape = " x ".join(map(str, found.shape))
    low, middle, high = found.lengths
    fewest, median, most = found.events
    what = "events" if found.binary else "summed input"
    rows = [
        ("samples", ", ".join(f"{count} {part}" for part, count in found.samples.items())),
        ("input", f"{found.channels} channels ({shape}), {'spikes' if found.binary else 'values'}"),
        ("time steps", str(low) if low == high else f"{low} to {high}, median {middle}"),
        (
            "density",
            f"{found.density:.2%} of channels and steps" if found.binary else f"mean {found.density:.4g}",
        ),
        (f"{what} per sample", f"{fewest:.4g} to {most:.4g}, median {median:.4g}"),
        ("silent channels", f"{found.silent_channels} in the {found.measured} samples measured"),
    ]
    say(table(("", ""), rows, found.name), quiet)
    if found.classes:
        columns = ("class", Column("training samples"))
        say(table(columns, [(name, str(count)) for name, count in found.classes]), quiet)


def _setting(text: str) -> tuple[str, Any]:
    """One key=value, the value as TOML, or as a plain string where it is none."""
    from neurofdfa.io import parse_toml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set takes key=value, e.g. bands=20, got '{text}'")
    try:
        found: Any = parse_toml(f"value = {value}", "--set")["value"]
    except UserError:
        found = value
    return key.strip().removeprefix("data.options."), found
