"""`neurofdfa lava setup | lava check | doctor`: the installation."""

from typing import Annotated, Any

import typer

from neurofdfa.cli.options import AsJson, Quiet, UnusedSeed, emit, say


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    lava = typer.Typer(help="Lava's own environment.", no_args_is_help=True)
    lava.command()(setup)
    lava.command()(check)
    app.add_typer(lava, name="lava")
    app.command()(doctor)


def setup(seed: UnusedSeed = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Build the environment that Intel Lava runs in (about 300 MB), unless it is there."""
    from neurofdfa_hardware.lava import setup as build

    environment = build(lambda line: say(line, quiet))
    emit({"python": str(environment.python), "version": environment.version, "ok": True}, as_json)


def check(seed: UnusedSeed = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Run a small network on real Lava and compare it with known numbers."""
    from neurofdfa_hardware.lava import check as run_check

    environment = run_check()
    say(
        f"Lava {environment.version} on Python {environment.python_version} works: {environment.python}",
        quiet,
    )
    emit({"python": str(environment.python), "version": environment.version, "ok": True}, as_json)


def doctor(
    compile_engine: Annotated[
        bool, typer.Option("--compile", help="Compile the event engine now rather than at its first use.")
    ] = False,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, what is missing and what that costs."""
    from importlib.util import find_spec

    import torch

    from neurofdfa.events.kept import why_not_kept
    from neurofdfa.events.warm import warm
    from neurofdfa.lab.document import versions
    from neurofdfa_hardware.errors import HardwareError
    from neurofdfa_hardware.lava import locate

    problems: list[str] = []
    if compile_engine:
        warm()
    reason = why_not_kept()
    if reason is not None:
        problems.append(reason)
    for name, found in versions().items():
        say(f"{name:<14}{found}", quiet)
    say(
        f"{'threads':<14}{torch.get_num_threads()}, CUDA {'yes' if torch.cuda.is_available() else 'no'}",
        quiet,
    )
    try:
        environment = locate()
        if environment is None:
            problems.append("Lava is not set up: run `neurofdfa lava setup`; all else works without it")
        else:
            say(f"{'lava-nc':<14}{environment.version} on Python {environment.python_version}", quiet)
    except HardwareError as error:
        problems.append(str(error))
    for name, purpose in (("snntorch", "comparison"), ("norse", "comparison"), ("tonic", "event data sets")):
        if find_spec(name) is None:
            say(f"{name:<14}not installed (optional: {purpose})", quiet)
    for problem in problems:
        say(f"problem: {problem}", quiet)
    say("all is well" if not problems else f"{len(problems)} problem(s)", quiet)
    result: dict[str, Any] = {"ok": not problems, "problems": problems}
    emit(result, as_json)
