"""One run from whatever is there: finished ones are reused, interrupted ones go on, failures are told."""

import traceback
from dataclasses import dataclass
from pathlib import Path

from neurofdfa.errors import UserError
from neurofdfa.io import locked, make_folder, remove_leftovers, write_text
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.energy import learning_joules
from neurofdfa.lab.record import CONFIG, FAILURE, SUMMARY, Summary, read_epochs, read_summary, refuse_diverged
from neurofdfa.lab.results import FinishedRun, Measurement, RunResult
from neurofdfa.lab.run import Progress, train
from neurofdfa.lab.table import printable


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


def outcome_of(job: Job, progress: Progress | None = None) -> Outcome:
    """Do the job; whatever it raises becomes a `Failure`, with a traceback in failure.txt for what is no
    `UserError`. A run whose loss is not finite where it was best has failed.
    """
    try:
        do = run_or_resume if job.reuse else train
        summary = do(job.config, job.folder, command=job.command, progress=progress)
        refuse_diverged(job.folder, summary.best_epoch, read_epochs(job.folder))
        return summary
    except UserError as error:
        return Failure(one_line(str(error)))
    except Exception as error:  # a failing run must not stop the others
        if job.folder.is_dir():
            write_text(job.folder / FAILURE, traceback.format_exc())
        return Failure(one_line(f"{type(error).__name__}: {error}"))


def run_or_resume(
    config: RunConfig, folder: str | Path, *, command: str = "", progress: Progress | None = None
) -> Summary:
    """The summary of the finished run in `folder`: read when it is there, trained to its end when it is not.

    Raises `UserError` when the folder holds a run of another config, or something that is no run.
    """
    folder = Path(folder)
    make_folder(folder)
    with locked(folder):
        remove_leftovers(folder)
        (folder / FAILURE).unlink(missing_ok=True)
        if not (folder / CONFIG).exists():
            return train(config, folder, command=command, progress=progress, held=True)
        if load_config(folder / CONFIG) != config:
            raise UserError(
                f"{folder} holds a run of another config: choose another --out, or remove that folder"
            )
        if (folder / SUMMARY).exists():
            return read_summary(folder)
        return train(config, folder, command=command, resume=True, progress=progress, held=True)


def finished_run(summary: Summary, folder: Path, name: str) -> FinishedRun:
    """What the finished run in `folder` says to a comparison or a sweep, which calls the folder `name`."""
    epochs = read_epochs(folder)
    result = RunResult(
        validation_accuracy=summary.validation_accuracy,
        test_accuracy=summary.test_accuracy,
        best_epoch=summary.best_epoch,
        firing_rate=summary.firing_rate,
        silent_neurons=summary.silent_neurons,
        alignment=next((e.alignment for e in epochs if e.epoch == summary.best_epoch), None),
        feedback_quality=summary.feedback_quality,
        energy=learning_joules(folder),
        curve=[epoch.validation_accuracy for epoch in epochs],
        train_samples=summary.samples["train"],
    )
    measured = Measurement(
        seconds=summary.seconds, cpu_seconds=summary.cpu_seconds, peak_mib=summary.peak_mib
    )
    return FinishedRun(seed=summary.seed, folder=name, result=result, measured=measured)


def one_line(text: str) -> str:
    """Without line breaks and control characters."""
    return printable(" ".join(text.split()))
