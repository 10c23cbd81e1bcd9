"""One run from whatever is there: finished ones are reused, interrupted ones go on, failures are told."""

import fcntl
import os
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neurofdfa.errors import UserError
from neurofdfa.io import write_text
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.record import SUMMARY, Summary, read_summary
from neurofdfa.lab.run import Progress, train


@dataclass(frozen=True)
class Job:
    """A run to do. name: what progress calls it. reuse: take what an earlier run left in the folder."""

    name: str
    config: RunConfig
    folder: Path
    command: str = ""
    reuse: bool = False


@dataclass(frozen=True)
class Failure:
    """Why there is no result, in one line."""

    reason: str


Outcome = Summary | Failure


def attempt(job: Job, progress: Progress | None = None) -> Outcome:
    """Do the job; whatever it raises becomes a `Failure`, with a traceback in failure.txt for what is no
    `UserError`.
    """
    try:
        if job.reuse:
            return complete(job.config, job.folder, command=job.command, progress=progress)
        return train(job.config, job.folder, command=job.command, progress=progress)
    except UserError as error:
        return Failure(one_line(str(error)))
    except Exception as error:  # a failing run must not stop the others
        if job.folder.is_dir():
            write_text(job.folder / "failure.txt", traceback.format_exc())
        return Failure(one_line(f"{type(error).__name__}: {error}"))


def complete(
    config: RunConfig, folder: Path, *, command: str = "", progress: Progress | None = None
) -> Summary:
    """The summary of the finished run in `folder`: read when it is there, trained to its end when it is not.

    Raises `UserError` when the folder holds a run of another config, or something that is no run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}") from error
    with locked(folder):
        # of a run that was killed while it wrote, or that failed
        for leftover in (*folder.glob(".*.tmp"), *folder.glob("failure.txt")):
            leftover.unlink()
        if not (folder / "config.toml").exists():
            return train(config, folder, command=command, progress=progress)
        if load_config(folder / "config.toml") != config:
            raise UserError(
                f"{folder} holds a run of another config: choose another --out, or remove that folder"
            )
        if (folder / SUMMARY).exists():
            return read_summary(folder)
        return train(config, folder, command=command, resume=True, progress=progress)


@contextmanager
def locked(folder: Path, *, busy: str | None = None) -> Generator[None]:
    """Hold a folder for this process alone; the lock ends with the process, however that ends.

    Waits for another holder, or raises `UserError` with the message `busy` when that is given.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy is not None else 0))
        except BlockingIOError:
            raise UserError(busy or "") from None
        yield
    finally:
        os.close(handle)


def one_line(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())
