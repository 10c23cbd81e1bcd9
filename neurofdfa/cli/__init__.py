"""The command line: parse, call, print. Every user error is one line on stderr and exit status 2."""

import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
import typer.main

from neurofdfa.cli import bench, chip, deploying, describing, doctor, measuring, studying, training
from neurofdfa.cli.options import Interrupted
from neurofdfa.distributed.launch import first_here, launched
from neurofdfa.errors import Diverged, UserError
from neurofdfa.lab.table import printable
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.signals import interruptible

HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="neurofdfa",
    help="Train spiking networks online with FDFA and other local rules; run them on Loihi's fixed point.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)
for module in (training, studying, measuring, describing, bench, deploying, chip, doctor):
    module.register(app)


INTERRUPTED = 130
DIVERGED = 1
COURTESY = 30.0
"""Seconds that the other processes wait for the one that tells of a mistake they all see."""
CHIP_COMMANDS = ("map", "parity", "evaluate")
COPIES = (
    "torchrun starts many processes of one training run, so it takes `train`; compare and ablate run "
    "side by side with --workers"
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"neurofdfa {version('neurofdfa')}")
        except PackageNotFoundError:
            from neurofdfa import __version__

            print(f"neurofdfa {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before any command."""


def main() -> None:
    """Entry point of `neurofdfa`; exits 2 on user errors, 1 when a training diverged, 130 if interrupted."""
    interruptible()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit status."""
    try:
        if launched() > 1 and arguments[:1] != ["train"]:
            return _fail(COPIES, alike=True)
        if _names_file(arguments):
            from neurofdfa_hardware import cli as chip_line

            return chip_line.run(arguments, "neurofdfa")
        command = typer.main.get_command(app)
        result = command(_spread(arguments) or ["--help"], prog_name="neurofdfa", standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except Diverged as error:
        _fail(str(error), alike=True)
        return DIVERGED
    except (UserError, HardwareError) as error:
        return _fail(str(error))
    except typer.TyperException as error:
        known = arguments[0] in typer.main.get_command(app).commands  # type: ignore[attr-defined]
        hint = f"(`neurofdfa {arguments[0]} --help` lists what it takes)"
        hint = hint if known else "(`neurofdfa --help` lists the commands)"
        return _fail(f"{error.format_message()} {hint}", alike=True)
    except OSError as error:  # the disk is full, a folder is gone, a name is too long
        named = f"{error.filename}: " if error.filename else ""
        return _fail(f"{named}{error.strerror or error}")
    except MemoryError as error:
        return _fail(
            f"there is not enough memory for this ({error}): take a smaller network, batch or data set"
        )
    except Interrupted as interrupted:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in doctor.NEEDED:
            raise
        return _fail(f"the package '{error.name}' is missing: `neurofdfa doctor` says what to install")
    if status == INTERRUPTED:  # typer turns Ctrl-C into this status itself
        print("interrupted", file=sys.stderr)
    return status


def _names_file(arguments: list[str]) -> bool:
    """Whether a command of the chip names a network file instead of a run: the chip's package reads those."""
    suffixes = (".nir", *deploying.NETX_SUFFIXES)
    named = any(argument.endswith(suffixes) for argument in arguments[1:])
    return named and arguments[0] in CHIP_COMMANDS


def _spread(arguments: list[str]) -> list[str]:
    """`--hidden 128 64` as `--hidden 128 --hidden 64`, the one form that the parser knows."""
    spread: list[str] = []
    within = False
    for argument in arguments:
        if within and argument.lstrip("-").isdigit():
            if spread[-1] != "--hidden":
                spread.append("--hidden")
        else:
            within = argument == "--hidden"
        spread.append(argument)
    return spread


def _fail(message: str, *, alike: bool = False) -> int:
    """alike: every process that torchrun started sees the same, and one of them says so."""
    if not alike or first_here():
        print("neurofdfa: " + printable(" ".join(message.split())), file=sys.stderr)
    else:
        time.sleep(COURTESY)  # torchrun ends everybody with the first who exits, the speaker too
    return 2
