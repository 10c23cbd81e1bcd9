"""The learning of `neurofdfa_hardware.learning` inside Lava: three-factor synapses, feedback on the chip.

The traces, the product, its shifts and its stochastic rounding are Lava's own (`Loihi3FLearningRule`, fixed
point, which Lava calls bit-approximate). See `worker/learning.py` for the processes.
"""

from collections.abc import Callable, Sequence
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
    chain,
    check,
    rule_texts,
    window,
    with_weights,
)

OUT_OF_REACH = 2**17  # a threshold one above what the chip's 17 bits hold, and above every membrane


def learn_in_lava(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: Sequence[IntArray],
    rest: Sequence[IntArray],
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
    check(program, spikes, labels, feedback, rest, rule)
    connections = chain(program)
    environment = environment or require()
    steps, samples, n_in = spikes.shape
    sizes = [n_in, *(p.size for p in program.populations)]
    request: dict[str, Any] = {
        "index": 0,
        "mode": "learning",
        "arrays": "arrays.npz",
        "result": "result.npz",
        "sizes": sizes,
        "names": ["input", *(p.name for p in program.populations)],
        "weight_exp": [c.weight_exp for c in connections],
        "rule": asdict(rule),
        "texts": asdict(rule_texts(rule)),
        "history": history,
        "plan": {
            "steps": steps,
            "samples": samples,
            "decode": program.decode,
            **{name: f"{name}.npy" for name in ("input", "labels", "scores", "errors")},
        },
    }

    def heard(message: Message) -> None:
        if message["event"] == "progress" and progress is not None:
            progress(message["fraction"])

    with job_folder() as folder:
        with writing(folder):
            arrays: Any = _numbers(program, feedback, rest, rule)
            np.savez(folder / "arrays.npz", **arrays)
            save_array(folder / "input.npy", spikes)
            save_array(folder / "labels.npy", labels.astype(np.int64))
            for name in ("scores", "errors"):
                save_array(folder / f"{name}.npy", np.zeros((samples, sizes[-1]), np.int64))
        run_worker(environment.python, folder, [request], limits or Limits(), heard)
        return _collect(program, folder, history)


def _collect(program: Program, folder: Path, history: bool) -> Learned:
    places = range(1, len(program.connections) + 1)
    with np.load(folder / "result.npz", allow_pickle=False) as result:
        learnt = with_weights(program, [result[f"{place}/weight"] for place in places])
        feedback = tuple(result[f"{place}/feedback"] for place in places[:-1])
        kept = tuple(result[f"{place}/history"] for place in places) if history else None
    return Learned(
        learnt,
        np.load(folder / "scores.npy", allow_pickle=False),
        np.load(folder / "errors.npy", allow_pickle=False),
        feedback,
        kept,
    )


def _numbers(
    program: Program, feedback: Sequence[IntArray], rest: Sequence[IntArray], rule: LearningRule
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for place, (connection, population) in enumerate(
        zip(chain(program), program.populations, strict=True), 1
    ):
        found[f"{place}/weight"] = dense(connection.weight)
        found[f"{place}/rest"] = rest[place - 1]
        for key in ("du", "dv", "vth", "bias_mant", "bias_exp"):
            value = np.asarray(getattr(population, key), np.int64)
            if key == "vth" and not population.spiking:
                value = np.asarray(OUT_OF_REACH, np.int64)
            found[f"{place}/{key}"] = np.ascontiguousarray(np.broadcast_to(value, (population.size,)))
        if population.spiking:
            found[f"{place}/low"], found[f"{place}/high"] = window(population, rule.reach)
            found[f"{place}/feedback"] = feedback[place - 1]
    return found
