"""`neurofdfa-hardware map | run | evaluate | parity`: somebody's .nir or .net file on the chip's integers.

The last line of `--json` is one JSON object; a user's error is one line on stderr and exit status 2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from neurofdfa_hardware import __version__
from neurofdfa_hardware.backends import DEFAULT, backend
from neurofdfa_hardware.chip.mapping import CHIPS
from neurofdfa_hardware.commands import (
    Outcome,
    describe_run,
    evaluate_file,
    map_file,
    parity_file,
    run_file,
)
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.files import Deployed, Inputs, Reading, deploy, open_network, read_inputs
from neurofdfa_hardware.nir.dynamics import RESETS, WRITERS
from neurofdfa_hardware.signals import interruptible

INTERRUPTED = 130


def main() -> None:
    """Entry point."""
    interruptible()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], program: str = "neurofdfa-hardware") -> int:
    """Run one command line of `program`; returns its exit status."""
    try:
        chosen = _parser(program).parse_args(arguments)
        outcome = _command(chosen)
    except HardwareError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    if not chosen.quiet:
        print(outcome.text)
    if chosen.json:
        print(json.dumps(outcome.document, allow_nan=False), flush=True)
    return 0


def _command(chosen: argparse.Namespace) -> Outcome:
    name = getattr(chosen, "backend", DEFAULT)
    backend(name)  # a wrong name is told before anything is computed
    reading = Reading(chosen.dt, chosen.reset, chosen.decode, chosen.writer)
    opened = open_network(chosen.file, reading)
    shape: tuple[int, ...] = getattr(opened, "input_shape", ())

    def inputs(path: Path | None, limit: int | None = None) -> Inputs | None:
        if path is None:
            return None
        return read_inputs(
            path, opened.input_size, shape, bin_width=chosen.bin, steps=chosen.steps, limit=limit
        )

    data = inputs(getattr(chosen, "data", None), getattr(chosen, "limit", None))
    deployed = deploy(opened, chosen.bits, inputs(chosen.calibrate), data)
    outcome = _outcome(chosen, name, deployed, data)
    warnings = () if deployed.report is None else deployed.report.warnings()
    notes = [f"note: {line}" for line in (*deployed.notes, *warnings)]
    return Outcome(outcome.document | {"notes": list(deployed.notes)}, "\n".join([*notes, outcome.text]))


def _outcome(chosen: argparse.Namespace, name: str, deployed: Deployed, data: Inputs | None) -> Outcome:
    if chosen.command == "map":
        return map_file(deployed, chosen.chip, chosen.bits)
    assert data is not None  # --data is required
    if chosen.command == "run":
        return describe_run(deployed, data, run_file(deployed, data, name), name, chosen.out)
    if chosen.command == "evaluate":
        return evaluate_file(deployed, data, name, chosen.bits)
    record = None
    if chosen.lava:
        record = backend("lava").compile(deployed.program).run(data.spikes, states=True)
    return parity_file(deployed, data, record, "loihi1" if chosen.loihi1 else "lava")


class _Parser(argparse.ArgumentParser):
    """Whose errors are one line, as all of ours."""

    def error(self, message: str) -> NoReturn:
        raise HardwareError(f"{message} (`{self.prog} --help` lists what it takes)")


def _parser(program: str) -> _Parser:
    shared = _Parser(add_help=False)
    shared.add_argument(
        "file", type=Path, help="a NIR graph (.nir) or one of lava-dl's files (.net, .hdf5, .h5)"
    )
    shared.add_argument("--bits", type=int, default=8, help="bits per weight of a NIR graph, 1 to 8")
    shared.add_argument("--calibrate", type=Path, metavar="FILE", help="training inputs to find scales on")
    shared.add_argument("--dt", type=float, help="step in the graph's unit of time, where it does not say it")
    shared.add_argument("--reset", choices=RESETS, help="where the graph does not say it")
    shared.add_argument("--decode", choices=("count", "last", "mean"), help="how the class is read out")
    shared.add_argument("--writer", choices=WRITERS, help="who wrote the graph")
    shared.add_argument("--bin", type=float, help="time per step of event files, in their unit")
    shared.add_argument("--steps", type=int, help="steps of a sample of event files")
    shared.add_argument("--seed", type=int, help="accepted by every command; nothing here is random")
    shared.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    shared.add_argument("--quiet", "-q", action="store_true", help="print nothing for people")
    data = _Parser(add_help=False)
    data.add_argument("--data", type=Path, required=True, metavar="FILE", help="spikes, .npy .npz .csv .bin")
    data.add_argument("--limit", type=int, help="only the first samples")
    where = _Parser(add_help=False)
    where.add_argument(
        "--backend", default=DEFAULT, help="fixed-point (default), lava, or another by its name"
    )
    parser = _Parser(program, description=__doc__)
    parser.add_argument("--version", action="version", version=f"neurofdfa-hardware {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    place = commands.add_parser("map", parents=[shared], help="place a network on a chip's cores")
    place.add_argument("--chip", choices=tuple(CHIPS), default="loihi1")
    go = commands.add_parser("run", parents=[shared, data, where], help="run a network, show its spikes")
    go.add_argument("--out", type=Path, metavar="FILE", help="write all spikes to an .npz file")
    commands.add_parser("evaluate", parents=[shared, data, where], help="accuracy on labelled inputs")
    follow = commands.add_parser(
        "parity", parents=[shared, data], help="float, quantised, integers (and Lava)"
    )
    follow.add_argument("--lava", action="store_true", help="include real Lava")
    follow.add_argument("--loihi1", action="store_true", help="include what Loihi 1's silicon does otherwise")
    return parser
