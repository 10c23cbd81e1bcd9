"""What a finished run says to a comparison or a sweep, and many seeds of it in one row."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurofdfa.lab.energy import learning_joules
from neurofdfa.lab.record import Summary, read_epochs
from neurofdfa.lab.statistics import estimate


@dataclass(frozen=True)
class Found:
    """One finished run. result: the same wherever it runs; measured: time and memory on this machine."""

    seed: int
    folder: str
    result: dict[str, Any]
    measured: dict[str, Any]


def result_of(summary: Summary, folder: Path) -> dict[str, Any]:
    """Accuracies, rates per hidden layer, the cosine to BPTT's gradient per hidden layer at the chosen epoch
    and that of the feedback to the true gain after the last, and joules to learn from a sample (None where
    they were not measured); curve: validation accuracy of every epoch.
    """
    epochs = read_epochs(folder)
    return {
        "validation_accuracy": summary.validation_accuracy,
        "test_accuracy": summary.test_accuracy,
        "best_epoch": summary.best_epoch,
        "firing_rate": summary.firing_rate,
        "silent_neurons": summary.silent_neurons,
        "alignment": next((e.alignment for e in epochs if e.epoch == summary.best_epoch), None),
        "feedback_quality": summary.feedback_quality,
        "energy": learning_joules(folder),
        "curve": [epoch.validation_accuracy for epoch in epochs],
        "train_samples": summary.samples["train"],
    }


def measured_of(summary: Summary) -> dict[str, Any]:
    """Seconds of training, on the clock and of the processor, MiB at the peak of one training step."""
    return {
        "seconds": summary.seconds,
        "cpu_seconds": summary.cpu_seconds,
        "peak_mib": summary.peak_mib,
    }


def row_of(found: Sequence[Found], failed: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Runs that differ in their seed only, as one JSON row.

    mean, std and ci95 are of the test accuracy, those with the prefix `validation_` of the accuracy that
    settings may be chosen by; firing_rate, alignment and feedback_quality are means over seeds and layers;
    energy is in joules per sample learnt.
    """
    test = estimate([run.result["test_accuracy"] for run in found])
    validation = estimate([run.result["validation_accuracy"] for run in found])
    energies = [e for run in found if (e := run.result.get("energy")) is not None]
    return {
        "n": len(found),
        "mean": test.mean if test else None,
        "std": test.std if test else None,
        "ci95": list(test.ci95) if test and test.ci95 else None,
        "validation_mean": validation.mean if validation else None,
        "validation_std": validation.std if validation else None,
        "validation_ci95": list(validation.ci95) if validation and validation.ci95 else None,
        "seconds": mean([run.measured["seconds"] for run in found]),
        "cpu_seconds": mean([x for run in found if (x := run.measured.get("cpu_seconds")) is not None]),
        "peak_mib": mean([run.measured["peak_mib"] for run in found]),
        "firing_rate": mean([rate for run in found for rate in run.result["firing_rate"]]),
        "alignment": _overall(found, "alignment"),
        "feedback_quality": _overall(found, "feedback_quality"),
        "energy": mean(energies),
        "runs": [asdict(run) for run in found],
        "failed": [{"seed": seed, "reason": reason} for seed, reason in failed],
    }


def _overall(found: Sequence[Found], key: str) -> float | None:
    """The mean over runs and layers of what may not have been measured."""
    return mean([value for run in found if (value := mean(run.result.get(key) or [])) is not None])


def mean(values: Sequence[float]) -> float | None:
    """None without values."""
    return sum(values) / len(values) if values else None
