"""The learning of `neurofdfa_hardware.learning` inside Lava: three-factor synapses, the error on the chip.

The traces, the product, its shifts and its stochastic rounding are Lava's own (`Loihi3FLearningRule`, fixed
point, which Lava calls bit-approximate). See `worker/learning.py` for the processes.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import IntArray, Program
from neurofdfa_hardware.lava.environment import Environment, require
from neurofdfa_hardware.lava.job import Limits, Message, job_folder, run_worker, save_array, writing
from neurofdfa_hardware.learning.plasticity import (
    Labels,
    Learned,
    LearningRule,
    Spikes,
    check,
    two_layers,
    with_weights,
)


def learn_in_lava(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: IntArray,
    rule: LearningRule,
    *,
    history: bool = False,
    environment: Environment | None = None,
    progress: Callable[[float], None] | None = None,
    limits: Limits | None = None,
) -> Learned:
    """`neurofdfa_hardware.learning.learn` in Lava. environment, limits: as for every job of Lava's.

    Raises `HardwareError` for what cannot learn, and the errors of `neurofdfa_hardware.lava.errors`.
    """
    check(program, spikes, labels, feedback, rule)
    into_hidden, into_output = two_layers(program)
    environment = environment or require()
    steps, samples, n_in = spikes.shape
    outputs = into_output.weight.shape[0]
    request: dict[str, Any] = {
        "index": 0,
        "mode": "learning",
        "arrays": "arrays.npz",
        "result": "result.npz",
        "sizes": [n_in, into_hidden.weight.shape[0], outputs],
        "weight_exp": {"input": into_hidden.weight_exp, "hidden": into_output.weight_exp},
        "rule": asdict(rule),
        "history": history,
        "plan": {
            "steps": steps,
            "samples": samples,
            "label_every": rule.label_every,
            **{name: f"{name}.npy" for name in ("input", "labels", "counts", "errors")},
        },
    }

    def heard(message: Message) -> None:
        if message["event"] == "progress" and progress is not None:
            progress(message["fraction"])

    with job_folder() as folder:
        with writing(folder):
            arrays: Any = _numbers(program, feedback)
            np.savez(folder / "arrays.npz", **arrays)
            save_array(folder / "input.npy", spikes)
            save_array(folder / "labels.npy", labels.astype(np.int64))
            for name in ("counts", "errors"):
                save_array(folder / f"{name}.npy", np.zeros((samples, outputs), np.int64))
        run_worker(environment.python, folder, [request], limits or Limits(), heard)
        return _collect(program, folder, history)


def _collect(program: Program, folder: Path, history: bool) -> Learned:
    with np.load(folder / "result.npz", allow_pickle=False) as result:
        learnt = with_weights(program, result["input"], result["hidden"])
        feedback = result["feedback"]
        kept = (result["input history"], result["hidden history"]) if history else None
    return Learned(
        learnt,
        np.load(folder / "counts.npy", allow_pickle=False),
        np.load(folder / "errors.npy", allow_pickle=False),
        feedback,
        kept,
    )


def _numbers(program: Program, feedback: IntArray) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"feedback": feedback}
    for name, connection in zip(("input", "hidden"), two_layers(program), strict=True):
        found[f"{name}/weight"] = dense(connection.weight)
    for name, population in zip(("hidden", "output"), program.populations, strict=True):
        for key in ("du", "dv", "vth", "bias_mant", "bias_exp"):
            value = np.asarray(getattr(population, key), np.int64)
            found[f"{name}/{key}"] = np.ascontiguousarray(np.broadcast_to(value, (population.size,)))
    return found
