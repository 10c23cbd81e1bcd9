"""`neurofdfa bench train | infer | memory | curves | epoch`: this machine beside other simulators."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurofdfa.cli.options import (
    AsJson,
    Quiet,
    Seed,
    emit,
    listed,
    numbers_from_one,
    say,
    this_command,
)
from neurofdfa.errors import UserError
from neurofdfa.lab.table import Column, table

if TYPE_CHECKING:
    from neurofdfa.bench.compare import Kind
    from neurofdfa.lab.results import Bench, Floor, StepCost, Timing

Against = Annotated[str, typer.Option(help="Simulators to compare with; those not installed are named.")]
Nets = Annotated[str, typer.Option(help="A: 700-256-256-20, B: 784-512-512-10, C: 700-1024-1024-20.")]
Batches = Annotated[str, typer.Option(help="Batch sizes.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; every task runs once in each.")]
Threads = Annotated[int, typer.Option(min=1, help="1: CPU time; more: wall time, and ours on one as well.")]
Out = Annotated[Path, typer.Option(help="Folder for the JSON and the plot.")]
PEERS = "snntorch,norse,spikingjelly"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    bench = typer.Typer(help="Measure beside other simulators and the floors.", no_args_is_help=True)
    bench.command()(train)
    bench.command()(infer)
    bench.command()(memory)
    bench.command()(curves)
    bench.command()(epoch)
    app.add_typer(bench, name="bench")


def train(
    against: Against = PEERS,
    nets: Nets = "A",
    batches: Batches = "128,8",
    rounds: Rounds = 7,
    threads: Threads = 1,
    out: Out = Path("runs/bench"),
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time a training step: ours, online and on events, beside the others' back through time."""
    _times("train", against, nets, batches, rounds, threads, out, seed, as_json, quiet)


def infer(
    against: Against = PEERS,
    nets: Nets = "A",
    batches: Batches = "128,32,1",
    rounds: Rounds = 7,
    threads: Threads = 1,
    out: Out = Path("runs/bench"),
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time inference: the outputs of every step."""
    _times("infer", against, nets, batches, rounds, threads, out, seed, as_json, quiet)


def memory(
    against: Against = PEERS,
    rules: Annotated[str, typer.Option(help="Rules of ours.")] = "fdfa",
    steps: Annotated[str, typer.Option(help="Steps per sequence.")] = "100,400,1600",
    net: Annotated[str, typer.Option(help="A, B or C.")] = "A",
    batch: Annotated[int, typer.Option(min=2, help="Samples per batch.")] = 64,
    out: Out = Path("runs/bench"),
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure the memory that a training step adds, against the number of time steps."""
    from neurofdfa.bench.footprint import footprints
    from neurofdfa.bench.peers import sort_out
    from neurofdfa.lab.document import versions
    from neurofdfa.lab.results import MemoryBench

    installed, missing = sort_out(listed(against))
    _name_missing(missing, quiet)
    rows = list(
        footprints(
            installed, listed(rules), numbers_from_one(steps, "--steps"), net=net, batch=batch, seed=seed
        )
    )
    cells = [[row.peer, row.rule, str(row.T), f"{row.bytes / 2**20:.1f}"] for row in rows]
    say(table(["peer", "rule", Column("T"), Column("MiB")], cells), quiet)
    found = MemoryBench(
        kind="memory",
        command=this_command(),
        versions=versions(),
        missing=tuple(missing),
        rows=tuple(rows),
    )
    _save(out, found, as_json, quiet)


def curves(
    axes: Annotated[str, typer.Option(help="What is varied.")] = "steps,batch,width,depth,density,stream",
    rounds: Rounds = 5,
    out: Out = Path("runs/bench"),
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time our training step against length, batch, width, depth and density, and a stream's step."""
    from neurofdfa.bench.curves import AXES
    from neurofdfa.bench.curves import curves as measure
    from neurofdfa.lab.document import versions
    from neurofdfa.lab.results import CurveBench

    if not listed(axes) or not set(listed(axes)) <= AXES.keys():
        raise UserError(f"--axes takes some of {', '.join(AXES)}, got '{axes}'")
    points: list[StepCost] = []
    for point in measure(rounds, listed(axes), seed):
        points.append(point)
        say(f"{point.axis} {point.value:g}: {1e3 * point.seconds:.2f} ms", quiet)
    found = CurveBench(kind="curves", command=this_command(), versions=versions(), rows=tuple(points))
    _save(out, found, as_json, quiet)


def epoch(
    data_root: Annotated[Path, typer.Option(help="Folder of MNIST's IDX files.")],
    against: Against = PEERS,
    peer_batches: Annotated[int, typer.Option(min=1, help="Batches that peers are timed on, of 470.")] = 100,
    threads: Threads = 2,
    out: Out = Path("runs/bench"),
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time one epoch of MNIST, 784-800-10, 16 steps, batch 128."""
    from neurofdfa.bench.curves import mnist_epoch
    from neurofdfa.bench.peers import sort_out
    from neurofdfa.lab.document import versions
    from neurofdfa.lab.results import EpochBench

    installed, missing = sort_out(listed(against))
    _name_missing(missing, quiet)
    rows = list(mnist_epoch(data_root, installed, peer_batches=peer_batches, threads=threads, seed=seed))
    for row in rows:
        times = f"{row.seconds / rows[0].seconds:.1f}x, " if row.peer != rows[0].peer else ""
        say(f"{row.peer} {row.version}: {row.seconds:.1f} s ({times}{row.batches} batches timed)", quiet)
    found = EpochBench(
        kind="epoch",
        command=this_command(),
        versions=versions(),
        missing=tuple(missing),
        rows=tuple(rows),
    )
    _save(out, found, as_json, quiet)


def _times(
    kind: "Kind",
    against: str,
    nets: str,
    batches: str,
    rounds: int,
    threads: int,
    out: Path,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    from neurofdfa.bench.compare import compare
    from neurofdfa.bench.peers import sort_out
    from neurofdfa.lab.document import versions
    from neurofdfa.lab.results import TimingBench

    installed, missing = sort_out(listed(against))
    _name_missing(missing, quiet)
    rows: list[Timing] = []
    floors: list[Floor] = []
    sizes = numbers_from_one(batches, "--batches")
    for part, floor in compare(
        kind, installed, nets=listed(nets), batches=sizes, rounds=rounds, threads=threads, seed=seed
    ):
        rows += part
        floors += [] if floor is None else [floor]
        for row in part:
            say(_sentence(row), quiet)
        if floor is not None:
            say(_floor_sentence(floor), quiet)
    found = TimingBench(
        kind=kind,
        command=this_command(),
        versions=versions(),
        missing=tuple(missing),
        rows=tuple(rows),
        floor_ratio=tuple(floors),
        threads=threads,
        clock="cpu" if threads == 1 else "wall",
        rounds=rounds,
        seed=seed,
    )
    _save(out, found, as_json, quiet)


def _sentence(row: "Timing") -> str:
    low, high = row.spread
    return (
        f"net {row.net}, batch {row.batch}, {row.peer} {row.version}: {row.ratio:.1f}x "
        f"({low:.1f} to {high:.1f}); {1e3 * row.seconds:.1f} ms against {1e3 * row.peer_seconds:.1f} ms; "
        f"rates {_rates(row.rates)} against {_rates(row.peer_rates)}"
    )


def _rates(rates: Sequence[float]) -> str:
    return "/".join(f"{rate:.3f}" for rate in rates)


def _floor_sentence(floor: "Floor") -> str:
    low, high = floor.events_spread
    text = (
        f"net {floor.net}, batch {floor.batch}: {floor.dense_products:.2f} of the time of the dense products "
        f"of a step back through time; {floor.events:.1f} ({low:.1f} to {high:.1f}) times the least work on "
        "events"
    )
    if floor.threads is not None and floor.threads_spread is not None:
        low, high = floor.threads_spread
        text += f"; {floor.threads:.2f}x ({low:.2f} to {high:.2f}) our time on one thread"
    return text


def _name_missing(missing: list[str], quiet: bool) -> None:
    for name in missing:
        say(
            f"{name} is not installed and left out; norse and spikingjelly: pip install --no-deps {name}",
            quiet,
        )


def _save(out: Path, found: "Bench", as_json: bool, quiet: bool) -> None:
    """Write the figures, and the report of what the folder holds."""
    from neurofdfa.io import make_folder
    from neurofdfa.report import write

    make_folder(out)
    file = out / f"{found.kind}.json"
    found.write(file)
    say(f"Figures: {file}\nReport: {write(out)}", quiet)
    emit(found.tree(), as_json)
