"""Programs of the docs and examples run as a reader runs them, only sooner.

Each runs from top to bottom in a process of its own, which is forked from a server that has loaded the
libraries and the compiled kernels (`neurofdfa.lab.prefork`): to start Python and load them for every program
takes longer than most programs.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path


def finished(
    program: Path, *arguments: str, cwd: Path | None = None, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its exit status and all that it printed. Raises `TimeoutExpired`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["neurofdfa.lab.prefork"])
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "out", Path(folder) / "err"
        command = [str(program), *arguments]
        process = context.Process(target=_run, args=(command, cwd or Path.cwd(), dict(os.environ), *printed))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout)
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in printed)
        return subprocess.CompletedProcess(command, process.exitcode, out, err)


def _run(command: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    os.setpgid(0, 0)
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
