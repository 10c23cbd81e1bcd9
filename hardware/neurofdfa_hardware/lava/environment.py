"""Lava's own interpreter: where it is, how it is built, and the check that it computes what Lava computes.

Lava (lava-nc 0.10.0) declares Python 3.10 and numpy 1, so it lives in an environment of its own:
`NEUROFDFA_LAVA_PYTHON` names an interpreter; otherwise it is the folder `NEUROFDFA_LAVA_HOME`, by default
`.venv-lava` beside the running interpreter's environment (where `make` builds it) if that is there, and else
`~/.local/share/neurofdfa/lava`. With Python 3.11 or 3.12 it runs after a one-line correction of its source
(`shim`). A stamp is written last: a folder without one is not an environment.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from neurofdfa_hardware.lava import shim
from neurofdfa_hardware.lava.errors import LavaMissing, LavaSetupFailed

LAVA_VERSION = "0.10.0"
STAMP = "neurofdfa-lava.json"
REMEDY = "run `neurofdfa lava setup`, or name an interpreter that has lava-nc in NEUROFDFA_LAVA_PYTHON"
PROBE = (
    "import sys, json; from importlib.metadata import version; import lava.magma.compiler.var_model; "
    "print(json.dumps(['.'.join(map(str, sys.version_info[:3])), version('lava-nc')]))"
)
REQUIREMENTS = (
    "import json; from importlib.metadata import requires; "
    "print(json.dumps([r for r in requires('lava-nc') if 'extra' not in r]))"
)
NUMPY = ["numpy<2"]


@dataclass(frozen=True)
class Environment:
    """An interpreter that can import Lava.

    python: its path; python_version, version: of Python and of lava-nc; shimmed: whether Lava's source had to
    be corrected for this Python.
    """

    python: Path
    python_version: str
    version: str
    shimmed: bool


def home() -> Path:
    """The folder of the environment that `setup` builds."""
    named = os.environ.get("NEUROFDFA_LAVA_HOME")
    if named:
        return Path(named).expanduser().absolute()
    beside = Path(sys.prefix).parent / ".venv-lava"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return beside if (beside / STAMP).exists() else data / "neurofdfa" / "lava"


def locate() -> Environment | None:
    """The environment to use, or None when there is none; starts an interpreter only for a named one.

    Raises `LavaMissing` when NEUROFDFA_LAVA_PYTHON names something without Lava: it was asked for.
    """
    named = os.environ.get("NEUROFDFA_LAVA_PYTHON")
    if named:
        environment = _probe(Path(named).expanduser())
        if isinstance(environment, str):
            raise LavaMissing(f"NEUROFDFA_LAVA_PYTHON={named} cannot import Lava ({environment})")
        return environment
    return _read_stamp(home())


def require() -> Environment:
    """As `locate`, but raises `LavaMissing` with what to do instead of returning None."""
    environment = locate()
    if environment is None:
        raise LavaMissing(f"Lava is not installed in {home()}: {REMEDY}")
    return environment


def setup(progress: Callable[[str], None] | None = None, *, base: Path | None = None) -> Environment:
    """Build the environment (about 300 MB, 20 s to a few minutes) unless it is there already.

    progress is called with one line per step; base: the interpreter to build on, chosen when None.
    Interrupted at any point it leaves nothing that counts as an environment, and the next call starts afresh.
    Raises `LavaSetupFailed` with the reason and the remedy.
    """
    say = progress or _unheard
    found = locate()
    if found is not None:
        say(f"Lava {found.version} on Python {found.python_version} is ready: {found.python}")
        return found
    folder = home()
    python = folder / "bin" / "python"
    adopted = _probe(python) if python.exists() else ""
    if isinstance(adopted, Environment):
        say(f"found Lava {adopted.version} in {folder}")
        return _stamp(folder, adopted)
    _clear(folder)
    chosen, version = _choose_python(base)
    say(f"creating {folder} with Python {version} ({chosen})")
    _run([str(chosen), "-m", "venv", str(folder)], f"cannot create an environment in {folder}")
    say(f"installing lava-nc {LAVA_VERSION} (about 300 MB)")
    _install(python, [f"lava-nc=={LAVA_VERSION}", *NUMPY], loosely=version != "3.10")
    if version != "3.10":
        say(f"correcting one dataclass default of Lava for Python {version}")
        shim.apply(shim.find(folder))
    environment = _probe(python)
    if isinstance(environment, str):
        raise LavaSetupFailed(f"Lava was installed in {folder} but cannot be imported: {environment}")
    return _stamp(folder, environment)


def _install(python: Path, packages: list[str], loosely: bool) -> None:
    """pip; loosely: although Lava declares another Python, while its dependencies keep what they declare."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    problem = "pip could not install Lava (it needs a network or a package index)"
    if loosely:
        _run([*pip, "--ignore-requires-python", "--no-deps", packages[0]], problem)
        needs = json.loads(_ask([str(python), "-c", REQUIREMENTS]) or "[]")
        packages = [*needs, *packages[1:]]
    _run([*pip, *packages], problem)


def _unheard(line: str) -> None:
    """Where the steps of a set-up go when nobody listens."""


def _choose_python(wanted: Path | None) -> tuple[Path, str]:
    """An interpreter and its version: Python 3.10 when there is one, else 3.11 or 3.12 with the shim."""
    for version in ("3.10", "3.11", "3.12"):
        for candidate in [wanted] if wanted else _candidates(version):
            question = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
            if _ask([str(candidate), "-c", question]) == version:
                return candidate, version
    raise LavaSetupFailed(
        f"no Python for Lava{f' in {wanted}' if wanted else ''}: it needs 3.10, 3.11 or 3.12 with venv; "
        "install one (python3.10-venv, `pyenv install 3.10` or `uv python install 3.10`) and try again"
    )


def _candidates(version: str) -> Iterator[Path]:
    """Interpreters of a version: pyenv's own, this one, those on PATH, and what uv knows."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        # venv of a venv works, but the base interpreter does not vanish with this one's environment
        yield Path(sys._base_executable or sys.executable)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    if shutil.which("uv"):
        found = _ask(["uv", "python", "find", "--offline", version])
        if found:
            yield Path(found)


def _ask(command: list[str]) -> str | None:
    """What a command prints, or None when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _run(command: list[str], problem: str) -> None:
    """Run a step of the set-up; raises `LavaSetupFailed` with the last line that it printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise LavaSetupFailed(f"{problem}: {error.strerror}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        errors = [line for line in lines if "error:" in line.lower()]
        raise LavaSetupFailed(f"{problem}: {(errors or lines)[0 if errors else -1].strip()}")


def _clear(folder: Path) -> None:
    """Remove an unfinished environment; a folder that is anything else is left alone."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "pyvenv.cfg").exists():
        raise LavaSetupFailed(
            f"{folder} exists and is not an environment: choose another NEUROFDFA_LAVA_HOME"
        )
    shutil.rmtree(folder)


def _probe(python: Path) -> Environment | str:
    """Import Lava with an interpreter; the reason as text when that fails."""
    try:
        done = subprocess.run(
            [str(python), "-c", PROBE], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    python_version, version = json.loads(done.stdout.splitlines()[-1])
    if version != LAVA_VERSION:
        return f"lava-nc {version} instead of {LAVA_VERSION}"
    return Environment(python, python_version, version, not python_version.startswith("3.10."))


def _stamp(folder: Path, environment: Environment) -> Environment:
    """Declare the folder an environment: written last, and whole."""
    text = json.dumps({**asdict(environment), "python": str(environment.python)})
    temporary = folder / (STAMP + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / STAMP)
    return environment


def _read_stamp(folder: Path) -> Environment | None:
    try:
        fields = json.loads((folder / STAMP).read_text())
        environment = Environment(
            Path(fields["python"]), fields["python_version"], fields["version"], fields["shimmed"]
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return environment if environment.python.exists() and environment.version == LAVA_VERSION else None
