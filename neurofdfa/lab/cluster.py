"""The same runs on a Ray cluster: the one that RAY_ADDRESS names, else one started on this machine.

Run folders are written where the work is done: on several machines the sweep's folder must lie on a file
system that all of them share. The ledger is written by this process alone.
"""

import importlib
import os
from collections.abc import Generator, Sequence
from typing import Any

from neurofdfa.errors import UserError
from neurofdfa.lab.run_or_resume import Failure, Job, Outcome, outcome_of
from neurofdfa.lab.workers import ATTEMPTS, OnStart, Progress


def outcomes(
    jobs: Sequence[Job],
    workers: int | None = None,
    progress: Progress | None = None,
    on_start: OnStart | None = None,
) -> Generator[tuple[Job, Outcome]]:
    """As `workers.outcomes`, on Ray; epochs are not reported. workers: cores of a cluster started here."""
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, workers)
    try:
        run = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_run)
        at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = list(reversed(jobs))
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop()
                if on_start is not None:
                    on_start(job)
                running[run.remote(job)] = job
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                yield running.pop(reference), _outcome(ray, reference)
    finally:
        if mine:
            ray.shutdown()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UserError(
            "--engine ray needs Ray: pip install 'neurofdfa[cluster]', or drop --engine ray"
        ) from error


def _connect(ray: Any, workers: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        options |= {"num_cpus": workers or os.cpu_count(), "include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise UserError(f"cannot reach a Ray cluster at {address or 'this machine'}: {error}") from error


def _run(job: Job) -> Outcome:
    import torch

    torch.set_num_threads(1)
    return outcome_of(job)


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        name = type(error).__name__
        return Failure(f"Ray gave up on it after {ATTEMPTS} attempts ({name}; out of memory?)")
