"""The main job from end to end: learn, compare with the exact gradient, quantise, run on Lava, report."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.deploy import (
    Deployment,
    accuracy,
    binary_inputs,
    compare,
    deploy_run,
    outputs_equal,
    quantisation_rows,
    run_backend,
    run_reference,
)
from neurofdfa.lab.document import versions
from neurofdfa.lab.record import Summary
from neurofdfa.lab.results import DEMO, Demo, Form, LavaRun, QuantisedLayer, RuleRun, SpikeParity
from neurofdfa.lab.settings import DIGITS, TIMING
from neurofdfa.lab.workers import Job, run_jobs
from neurofdfa.lab.workers import Progress as TrainProgress
from neurofdfa.rules import DEFAULT
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import LavaMissing

LAVA_SAMPLES = 360


@dataclass(frozen=True)
class LavaOutcome:
    """Whether Lava ran, and if so whether every spike and every output membrane was the same."""

    ok: bool
    message: str
    spikes_equal: bool | None
    parity: tuple[SpikeParity, ...]


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; summaries by rule for both tasks."""

    digits: dict[str, Summary]
    timing: dict[str, Summary]
    stages: tuple[Form, ...]
    lava: LavaOutcome


def demo(
    folder: Path,
    *,
    seed: int = 0,
    command: str = "",
    workers: int | None = None,
    epochs: int | None = None,
    on_epoch: TrainProgress | None = None,
    on_lava: Callable[[float], None] | None = None,
) -> DemoResult:
    """Run everything into `folder`, which must not exist or be empty.

    epochs: fewer than the validated number, for a smoke test; `workers` runs train side by side.
    """
    jobs = _jobs(folder, seed, command, epochs)
    if any(job.config.training.engine != "reference" for job in jobs):
        from neurofdfa.events.warm import warm

        warm()  # once here, rather than in every worker at the same time
    summaries = dict(zip((job.name for job in jobs), run_jobs(jobs, workers, on_epoch), strict=True))
    digits = {rule: summaries[f"digits-{rule}"] for rule in DIGITS}
    timing = {rule: summaries[f"timing-{rule}"] for rule in TIMING}
    stages, lava, deployment = _deploy(folder / f"digits-{DEFAULT.name}", digits[DEFAULT.name], on_lava)
    document = Demo(
        command=command,
        versions=versions(),
        digits=_rows(digits, "digits"),
        timing=_rows(timing, "timing"),
        stages=tuple(stages),
        parity=lava.parity,
        lava=LavaRun(ok=lava.ok, message=lava.message),
        quantisation=tuple(QuantisedLayer.model_validate(row) for row in quantisation_rows(deployment)),
    )
    document.write(folder / DEMO)
    return DemoResult(digits, timing, tuple(stages), lava)


def _jobs(folder: Path, seed: int, command: str, epochs: int | None) -> list[Job]:
    """Longest first, so that both cores finish together."""
    jobs: list[Job] = []
    for task, rules in (("timing", TIMING), ("digits", DIGITS)):
        for rule, settings in rules.items():
            shortened = {} if epochs is None else {"training.epochs": epochs}
            config = RunConfig(seed=seed).with_settings(settings | shortened)
            jobs.append(Job(f"{task}-{rule}", config, folder / f"{task}-{rule}", command))
    return jobs


def _deploy(
    run: Path, summary: Summary, on_lava: Callable[[float], None] | None
) -> tuple[list[Form], LavaOutcome, Deployment]:
    deployment, data = deploy_run(run)
    test = data.open_test()
    spikes, labels = binary_inputs(data, test), test.targets.numpy()
    reference = run_reference(deployment, spikes)
    stages = [
        Form(stage="PyTorch float", accuracy=summary.test_accuracy, samples=len(test)),
        Form(
            stage="8-bit weights, integer reference",
            accuracy=accuracy(deployment, reference, labels),
            samples=len(test),
        ),
    ]
    few = np.ascontiguousarray(spikes[:, :LAVA_SAMPLES])
    expected = run_reference(deployment, few)
    try:
        record = run_backend("lava", deployment, few, on_lava)
    except LavaMissing as error:
        return stages, LavaOutcome(False, str(error), None, ()), deployment
    except HardwareError as error:
        return stages, LavaOutcome(False, f"Lava failed: {error}", None, ()), deployment
    rows = compare(expected, record)
    equal = all(row.differences == 0 for row in rows) and outputs_equal(expected, record)
    stages.append(
        Form(
            stage="Lava, 8-bit fixed point",
            accuracy=accuracy(deployment, record, labels[:LAVA_SAMPLES]),
            samples=LAVA_SAMPLES,
        )
    )
    message = "every hidden and output value is equal" if equal else "Lava and the integer reference differ"
    return (
        stages,
        LavaOutcome(True, message, equal, tuple(SpikeParity(**asdict(row)) for row in rows)),
        deployment,
    )


def _rows(summaries: dict[str, Summary], task: str) -> tuple[RuleRun, ...]:
    return tuple(
        RuleRun(
            rule=rule,
            folder=f"{task}-{rule}",
            test_accuracy=summary.test_accuracy,
            validation_accuracy=summary.validation_accuracy,
            seconds=summary.seconds,
            peak_mib=summary.peak_mib,
            firing_rate=summary.firing_rate,
        )
        for rule, summary in summaries.items()
    )
