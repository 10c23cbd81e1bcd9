"""Several runs side by side in worker processes of one thread each, with their progress in this one.

Workers are forked from a server that has loaded what they need (`neurofdfa.lab.prefork`), so that each of
them starts at once.

A worker whose parent is gone ends at once, so that a sweep that was killed leaves nothing behind. A worker
that is killed itself (out of memory, say) costs its run one attempt and nothing else.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from neurofdfa.errors import UserError
from neurofdfa.lab.record import Epoch, Summary
from neurofdfa.lab.run_or_resume import Failure, Job, Outcome, outcome_of

ATTEMPTS = 3
"""How often a run is tried whose worker is killed."""

Progress = Callable[[str, Epoch, int], None]
OnStart = Callable[[Job], None]

__all__ = ["ATTEMPTS", "Job", "OnStart", "Progress", "outcomes", "run_jobs"]


@dataclass
class _Worker:
    """A process, this end of its pipe, and the job it works on (index into the jobs)."""

    process: Any
    pipe: Any
    busy: int | None = None


def run_jobs(
    jobs: Sequence[Job], workers: int | None = None, progress: Progress | None = None
) -> list[Summary]:
    """Run all jobs, at most `workers` at a time (default: one per core); results in order.

    The first failure stops the rest and is raised as `UserError`. Interrupting stops all of them.
    """
    done: dict[str, Summary] = {}
    with closing(outcomes(jobs, workers, progress)) as finished:
        for job, outcome in finished:
            if isinstance(outcome, Failure):
                raise UserError(f"{job.name}: {outcome.reason}")
            done[job.name] = outcome
    return [done[job.name] for job in jobs]


def outcomes(
    jobs: Sequence[Job],
    workers: int | None = None,
    progress: Progress | None = None,
    on_start: OnStart | None = None,
) -> Generator[tuple[Job, Outcome]]:
    """Run all jobs and yield each as it ends, failed ones with their reason; close it to stop the rest."""
    waiting = deque(range(len(jobs)))
    tries = [0] * len(jobs)
    pool = [_hire() for _ in range(min(workers or os.cpu_count() or 1, len(jobs)))]
    try:
        while waiting or any(worker.busy is not None for worker in pool):
            for worker in pool:
                if worker.busy is None and waiting:
                    _give(worker, jobs, waiting, tries, on_start)
            for pipe in wait([worker.pipe for worker in pool if worker.busy is not None]):
                place = next(k for k, worker in enumerate(pool) if worker.pipe is pipe)
                heard, index = _hear(pool[place]), pool[place].busy
                assert index is not None
                if heard is None:  # the worker is gone
                    pool[place], reason = _hire(), _buried(pool[place])
                    if tries[index] < ATTEMPTS:
                        waiting.appendleft(index)
                    else:
                        yield jobs[index], Failure(reason)
                elif isinstance(heard, tuple):
                    if progress is not None:
                        progress(jobs[index].name, *heard)
                else:
                    pool[place].busy = None
                    yield jobs[index], heard
    finally:
        for worker in pool:
            worker.process.terminate()
            worker.pipe.close()
        for worker in pool:
            worker.process.join()


def _hire() -> _Worker:
    # not forked from here: torch's threads would be inherited in an unknown state
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["neurofdfa.lab.prefork"])
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, dict(os.environ)), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _give(
    worker: _Worker, jobs: Sequence[Job], waiting: deque[int], tries: list[int], on_start: OnStart | None
) -> None:
    worker.busy = waiting.popleft()
    tries[worker.busy] += 1
    if on_start is not None:
        on_start(jobs[worker.busy])
    with suppress(OSError):  # if it died while idle, reading from its pipe will say so
        worker.pipe.send(jobs[worker.busy])


def _hear(worker: _Worker) -> tuple[Epoch, int] | Outcome | None:
    """An epoch of the job, its outcome, or None when the worker has died."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        return None


def _buried(worker: _Worker) -> str:
    """Why a worker died."""
    worker.process.join()
    worker.pipe.close()
    code: int = worker.process.exitcode
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    hint = " (out of memory?)" if code == -9 else ""
    return f"the worker process died {ATTEMPTS} times, of {how}{hint}"


def _work(pipe: Any, environment: dict[str, str]) -> None:
    """A worker's life: jobs come in, epochs and outcomes go out."""
    import signal
    import threading

    import torch

    os.environ.clear()  # the server has that of the moment at which it was started
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(outcome_of(job, lambda epoch, epochs: pipe.send((epoch, epochs))))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
