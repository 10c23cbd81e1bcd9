"""Runs one worker process over a job folder, and leaves nothing behind whatever happens.

The worker leads a session of its own. It reports on standard output; its standard input is its lifeline.
However a run ends (done, error, timeout, Ctrl-C), the whole process group is killed, shared-memory segments
carrying this job's prefix are removed and the folder is deleted. When this process is killed outright, the
worker notices and does the same.
"""

import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.lava.environment import REMEDY
from neurofdfa_hardware.lava.errors import (
    LavaDiskFull,
    LavaMissing,
    LavaModelError,
    LavaTimeout,
    LavaWorkerDied,
)

WORKER = Path(__file__).parent / "worker" / "main.py"
SHARED_MEMORY = Path("/dev/shm")
Message = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """time: seconds for a whole run, None for no limit; silence: seconds without a sign of life."""

    time: float | None = None
    silence: float = 120.0


@contextmanager
def job_folder(scratch: Path | None = None) -> Generator[Path]:
    """A fresh folder for the files of one run, deleted afterwards; raises `LavaDiskFull`."""
    with writing(scratch or Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="neurofdfa-lava-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Turns a failure to write the files of a run into `LavaDiskFull`, with the folder and the reason."""
    try:
        yield
    except OSError as error:
        raise LavaDiskFull(
            f"cannot write Lava's job folder in {folder}: {error.strerror or error}; "
            "set TMPDIR to a folder with space"
        ) from error


def run_worker(
    python: Path,
    folder: Path,
    jobs: list[dict[str, Any]],
    limits: Limits,
    heard: Callable[[Message], None],
) -> None:
    """Run `jobs` in the folder; `heard` is called with every message of the worker.

    Raises `LavaModelError`, `LavaWorkerDied`, `LavaTimeout` or `LavaMissing`.
    """
    prefix = f"nf{secrets.token_hex(5)}_"
    with writing(folder):
        (folder / "request.json").write_text(json.dumps({"shared_memory_prefix": prefix, "jobs": jobs}))
    with (folder / "log.txt").open("wb") as log:
        try:
            worker = subprocess.Popen(
                [str(python), "-u", str(WORKER), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=worker_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise LavaMissing(f"Lava's interpreter {python} cannot be started: {error.strerror}") from None
        try:
            _listen(worker, folder, limits, heard)
        finally:
            _end(worker, prefix)


def worker_environment() -> dict[str, str]:
    """One thread per Lava process (each is a core's work already), and none of this process's packages."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "PYTHONDONTWRITEBYTECODE": "1"}


def _listen(
    worker: subprocess.Popen[bytes], folder: Path, limits: Limits, heard: Callable[[Message], None]
) -> None:
    assert worker.stdout is not None
    began = alive = time.monotonic()
    pending = b""
    while True:
        now = time.monotonic()
        if limits.time is not None and now - began > limits.time:
            raise LavaTimeout(
                f"Lava did not finish within {limits.time:g} s{_suspects(worker, pending)}; "
                "send fewer samples or raise the time limit"
            )
        if now - alive > limits.silence:
            raise LavaTimeout(
                f"Lava made no progress for {limits.silence:g} s{_suspects(worker, pending)}; "
                "run it again, with fewer lanes if memory is short"
            )
        readable, _, _ = select.select([worker.stdout], [], [], 0.1)
        if readable:
            received = os.read(worker.stdout.fileno(), 65536)
            alive = time.monotonic() if received else alive
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                message = _decoded(line)
                _raise_reported(message)
                heard(message)
                if message["event"] == "done":
                    return
            if received:
                continue
        if _ended(worker):
            raise LavaWorkerDied(f"Lava's worker {_how_it_ended(worker)}{_last_words(folder)}")


def _decoded(line: bytes) -> Message:
    """A message of the worker; what else its interpreter may print at its start means nothing."""
    try:
        return json.loads(line)
    except ValueError:
        return {"event": "noise"}


def _raise_reported(message: Message) -> None:
    layer = message.get("layer")
    if message["event"] == "error":
        if "No module named 'lava'" in message["message"]:
            raise LavaMissing(f"Lava's interpreter has no Lava any more: {REMEDY}")
        where = f"Lava's process of '{layer}' raised" if layer else "Lava's worker raised"
        raise LavaModelError(f"{where} {message['message']}", layer, message.get("trace", ""))
    if message["event"] == "died":
        raise LavaWorkerDied(f"Lava's process of '{layer}' {message['message']}: memory may be short")


def _ended(worker: subprocess.Popen[bytes]) -> bool:
    """Whether the worker has ended; it stays a zombie, so that its group id cannot be given away."""
    return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _how_it_ended(worker: subprocess.Popen[bytes]) -> str:
    result = os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if result is not None and result.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
        return f"was killed by {signal.Signals(result.si_status).name}"
    return f"exited with {result.si_status if result is not None else '?'}"


def _last_words(folder: Path) -> str:
    lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


def _suspects(worker: subprocess.Popen[bytes], pending: bytes) -> str:
    """Ask a silent worker which of its processes are stopped or busy; empty when it cannot say."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        os.write(worker.stdin.fileno(), b"diagnose\n")
    except OSError:
        return ""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline and select.select([worker.stdout], [], [], 0.1)[0]:
        pending += os.read(worker.stdout.fileno(), 65536)
        for line in pending.split(b"\n")[:-1]:
            message = _decoded(line)
            if message["event"] == "diagnosis" and message["suspects"]:
                named = ", ".join(f"'{name}' is {state}" for name, state in message["suspects"].items())
                return f" ({named})"
    return ""


def _end(worker: subprocess.Popen[bytes], prefix: str) -> None:
    """Kill the group (it exists as long as the worker was not waited for) and take its memory along."""
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            pipe.close()
    worker.wait()
    if SHARED_MEMORY.is_dir():
        for segment in SHARED_MEMORY.glob(prefix + "*"):
            segment.unlink(missing_ok=True)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """As `np.save`, but a failed write names its reason (numpy only counts the bytes)."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
