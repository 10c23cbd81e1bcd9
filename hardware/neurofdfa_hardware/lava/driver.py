"""Drives Lava from outside: an integer program and spikes in, the spikes and membranes of real Lava out.

`mode="stock"` runs nothing but Lava's own processes (LIFReset, GradedVec, GradedReluVec; Dense, Sparse, Conv
and their delayed kin), one sample after the other;
`mode="lanes"` runs Lava's own LIFReset over many samples at once, fed by `LaneDense` (ours, with Lava's
weight truncation; see `worker/processes/lanes.py`). Both are fixed point and bit-equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import check_payloads
from neurofdfa_hardware.chip.program import Program, Record
from neurofdfa_hardware.chip.ranges import check_program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.environment import Environment, require
from neurofdfa_hardware.lava.forms import Synapses, choose_forms, lane_forms
from neurofdfa_hardware.lava.job import Limits, Message, job_folder, run_worker, save_array, writing
from neurofdfa_hardware.lava.layout import Mode, describe, numbers, plan_layout

Spikes = NDArray[np.uint8]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class LavaJob:
    """One program and its input, uint8 `[T, B, n_in]`.

    lanes: samples at once in the mode "lanes". synapses: in the mode "stock", which of Lava's processes hold
    the weights (`forms.choose_forms`); lanes have one of their own.
    """

    program: Program
    spikes: Spikes
    mode: Mode = "lanes"
    lanes: int = 64
    states: bool = False
    synapses: Synapses = "auto"


@dataclass(frozen=True)
class LavaRun:
    """A record, with what produced it: the model class that Lava chose for each layer, and seconds."""

    record: Record
    models: dict[str, str]
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class LavaBackend:
    """Real Lava as a backend.

    environment: Lava's interpreter, found by `environment.locate` when None (raises `LavaMissing`);
    time_limit: seconds for one run, None for no limit; silence_limit: seconds without progress after which
    a run counts as hung; scratch: where job folders go, the system's temporary folder when None.
    """

    environment: Environment | None = None
    time_limit: float | None = None
    silence_limit: float = 120.0
    scratch: Path | None = None
    name: str = field(default="lava", init=False)

    def compile(self, program: Program) -> "LavaProgram":
        """Check the program against the chip's ranges; raises `HardwareError` naming the layer."""
        check_program(program)
        return LavaProgram(self, program)

    def run_many(
        self, jobs: Sequence[LavaJob], *, progress: Progress | None = None, time_limit: float | None = None
    ) -> list[LavaRun]:
        """Run several jobs in one worker, which saves Lava's start-up; results in order.

        progress is called with the fraction done, 0 to 1. Raises the errors of
        `neurofdfa_hardware.lava.errors`.
        """
        for job in jobs:
            check_program(job.program)
            _check_spikes(job)
        if not jobs:
            return []
        environment = self.environment or require()
        limits = Limits(self.time_limit if time_limit is None else time_limit, self.silence_limit)
        weights = np.array([job.spikes[..., 0].size for job in jobs], float)
        finished: dict[int, Message] = {}

        def heard(message: Message) -> None:
            if message["event"] == "job":
                finished[message["job"]] = message
            if message["event"] == "progress" and progress is not None:
                job = message["job"]
                progress(float((weights[:job].sum() + weights[job] * message["fraction"]) / weights.sum()))

        with job_folder(self.scratch) as folder:
            with writing(folder):
                requests = [_write(job, index, folder) for index, job in enumerate(jobs)]
            run_worker(environment.python, folder, requests, limits, heard)
            return [
                LavaRun(
                    _collect(job, request, folder),
                    finished[index]["models"],
                    finished[index]["compile_seconds"],
                    finished[index]["run_seconds"],
                )
                for index, (job, request) in enumerate(zip(jobs, requests, strict=True))
            ]


@dataclass(frozen=True)
class LavaProgram:
    """A program that has been checked and can be run on any number of samples."""

    backend: LavaBackend
    program: Program

    def run(
        self,
        spikes: Spikes,
        *,
        mode: Mode = "lanes",
        lanes: int = 64,
        states: bool = False,
        synapses: Synapses = "auto",
        progress: Progress | None = None,
        time_limit: float | None = None,
    ) -> Record:
        """Run uint8 `[T, B, n_in]`; the record is on the input's time axis, as `fixed_point.simulate`'s is.

        states: also u and v of every population, which costs time. synapses: as in `LavaJob`. Raises the
        errors of `neurofdfa_hardware.lava.errors`.
        """
        job = LavaJob(self.program, spikes, mode, lanes, states, synapses)
        return self.backend.run_many([job], progress=progress, time_limit=time_limit)[0].record


def _check_spikes(job: LavaJob) -> None:
    spikes = job.spikes
    if spikes.dtype != np.uint8 or spikes.ndim != 3 or spikes.shape[2] != job.program.input_size:
        raise HardwareError(
            f"spikes must be uint8 [T, B, {job.program.input_size}]; got {spikes.dtype} {spikes.shape}"
        )
    check_payloads(job.program, spikes)
    if 0 in spikes.shape or job.lanes < 1:
        raise HardwareError("at least one step, one sample and one lane are needed")


def _write(job: LavaJob, index: int, folder: Path) -> dict[str, Any]:
    """Put a job's files into the folder, the space for its results included; returns its description."""
    steps, samples, _ = job.spikes.shape
    layout = plan_layout(job.program, steps, samples, job.mode, job.lanes)
    forms = choose_forms(job.program, job.synapses) if job.mode == "stock" else lane_forms(job.program)
    request = describe(job.program, layout, job.mode, index, job.spikes.shape, job.states, forms)
    save_array(folder / request["input"], job.spikes)
    arrays: Any = numbers(job.program, forms)
    np.savez(folder / request["arrays"], **arrays)
    sizes = {p.name: p.size for p in job.program.populations}
    for tap in request["taps"]:
        kind = np.uint8 if tap["variable"] == "s_out" and not tap["graded"] else np.int32
        # Written out, not mapped: a disk that is full must fail here, and not as a bus error inside Lava.
        save_array(folder / tap["file"], np.zeros((steps, samples, sizes[tap["population"]]), kind))
    return request


def _collect(job: LavaJob, request: dict[str, Any], folder: Path) -> Record:
    """Read what the host recorded; populations that cannot fire get zeros, as in the reference."""
    found = {
        (tap["population"], tap["variable"]): np.load(folder / tap["file"], allow_pickle=False)
        for tap in request["taps"]
    }
    shape = job.spikes.shape[:2]
    spikes = {
        p.name: found.get((p.name, "s_out"), np.zeros((*shape, p.size), np.uint8))
        for p in job.program.populations
    }
    names = [p.name for p in job.program.populations if job.states and not p.graded]
    return Record(
        spikes=spikes,
        output_v=found[job.program.output, "v"],
        u={name: found[name, "u"] for name in names},
        v={name: found[name, "v"] for name in names},
    )
