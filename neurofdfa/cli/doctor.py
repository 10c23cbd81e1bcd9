"""`neurofdfa lava setup | lava check | doctor`: the installation."""

import platform
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
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


TORCH = (
    "install PyTorch with the command that https://pytorch.org/get-started/locally/ shows; the one for CPU "
    "spares gigabytes of CUDA"
)
NEEDED = {
    "torch": TORCH,
    "numpy": "pip install numpy",
    "scipy": "pip install scipy",
    "sklearn": "pip install scikit-learn",
    "nir": "pip install nir",
    "h5py": "pip install h5py",
    "safetensors": "pip install safetensors",
    "numba": "pip install --upgrade numba numpy",
    "pydantic": "pip install pydantic",
    "matplotlib": "pip install matplotlib",
    "jinja2": "pip install jinja2",
    "tqdm": "pip install tqdm",
    "tomli_w": "pip install tomli-w",
}
"""What nothing works without, by the name that Python imports, and what mends it."""
OPTIONAL = {"snntorch": "comparison", "norse": "comparison", "tonic": "event data sets"}


def doctor(
    compile_engine: Annotated[
        bool, typer.Option("--compile", help="Compile the event engine now rather than at its first use.")
    ] = False,
    seed: UnusedSeed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what is installed, what is missing and what mends it."""
    problems = _broken()
    if compile_engine and not problems:
        from neurofdfa.events.warm import warm

        warm()
    for name, found in _versions().items():
        say(f"{name:<14}{found}", quiet)
    if "torch" in sys.modules:
        import torch

        cuda = "yes" if torch.cuda.is_available() else "no"
        say(f"{'threads':<14}{torch.get_num_threads()}, CUDA {cuda}", quiet)
    lava = _lava()
    if lava[:1].isdigit():
        say(f"{'lava-nc':<14}{lava}", quiet)
    else:
        problems.append(lava)
    for name, purpose in OPTIONAL.items():
        if find_spec(name) is None:
            say(f"{name:<14}not installed (optional: {purpose})", quiet)
    for problem in problems:
        say(f"problem: {problem}", quiet)
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    say(count if problems else "all is well", quiet)
    result: dict[str, Any] = {"ok": not problems, "problems": problems}
    emit(result, as_json)


NO_LAVA = "Lava is not set up: run `neurofdfa lava setup`; all else works without it"


def _lava() -> str:
    """The version of Lava that was found, or what is the matter with it."""
    try:
        from neurofdfa_hardware.lava import locate
    except ImportError as error:
        return f"cannot be looked for: {error}"
    from neurofdfa_hardware.errors import HardwareError

    try:
        environment = locate()
    except HardwareError as error:
        return str(error)
    return NO_LAVA if environment is None else f"{environment.version} on Python {environment.python_version}"


def _versions() -> dict[str, str]:
    """Of Python and of the packages that are there."""
    found = {"python": platform.python_version()}
    for name in ("neurofdfa", "torch", "numpy", "nir", "scikit-learn", "numba"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _broken() -> list[str]:
    """A line for every package that cannot be imported, with the command that mends it."""
    found: list[str] = []
    for name, remedy in NEEDED.items():
        try:
            import_module(name)
        except Exception as error:  # a broken binary raises whatever it likes
            said = " ".join(str(error).split()) or type(error).__name__
            found.append(f"{name} cannot be imported ({said}): {remedy}")
    return found
