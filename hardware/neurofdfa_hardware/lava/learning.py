"""A deployed network goes on learning inside Lava: three-factor synapses, the error computed on the chip.

The program has one hidden layer and a spiking output, as `quantization.quantize` makes it. Per
sample of T steps (then silence up to `period`): output spikes are compared with label spikes by error
neurons, whose spikes e ∈ {−1, 0, 1} reach every hidden neuron through the feedback B (direct feedback
alignment) and every output neuron directly. At the end of the period each synapse changes by
    Δw = 2^rate · x1 · (y2 − y3) / 8   in units of its 9-bit weight,
    x1: trace of the presynaptic spikes;  y2 − y3 = (Σ_t third factor · m) >> shift, clipped to ±127
with m the steps at which a hidden membrane was near its threshold (1 in the output). The traces, the product,
its shifts and its stochastic rounding are Lava's own (`Loihi3FLearningRule`, fixed point, which Lava calls
bit-approximate). See `worker/learning.py` for the processes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, IntArray, Program
from neurofdfa_hardware.chip.ranges import check_program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.environment import Environment, require
from neurofdfa_hardware.lava.job import Limits, Message, job_folder, run_worker, save_array, writing

Spikes = NDArray[np.uint8]
SETTLE = 6  # steps from the last input spike to the last error at the hidden layer


@dataclass(frozen=True)
class LearningRule:
    """The chip's learning, all in integers.

    period: steps from one sample to the next; epoch: steps between trace updates (period/epoch a power of 2).
    tau, impulse: of the presynaptic trace x1 (7 bits). rate_hidden, rate_output: exponents of 2.
    shift_hidden, shift_output: right shifts that bring the summed third factor into 7 bits.
    window: bounds of the membrane (v, 24 bits) within which a hidden neuron counts as sensitive, exclusive.
    label_every: steps between the spikes that the true class should fire.
    refresh_every: samples between refreshes of B by the host (FDFA), 0 for a fixed B (DFA); momentum, probes:
    of that refresh; feedback_scale: weight units per unit of B. seed: of Lava's rounding and of the probes.
    """

    period: int = 32
    epoch: int = 8
    tau: int = 12
    impulse: int = 16
    rate_hidden: int = -4
    rate_output: int = -4
    shift_hidden: int = 6
    shift_output: int = 0
    window: tuple[int, int] = (0, 2**24)
    label_every: int = 2
    refresh_every: int = 0
    momentum: float = 0.2
    probes: int = 64
    feedback_scale: int = 8
    seed: int = 1


@dataclass(frozen=True)
class Learned:
    """What learning left: `program` with the new weights (truncated to the chip's 8 bits when it is run).

    counts: spikes of each output neuron during each sample, `[N, n_out]`; their argmax is the prediction made
    before and while the sample was learnt. errors: error spikes summed, `[N, n_out]`. feedback:
    `[n_hidden, n_out]` at the end.
    """

    program: Program
    counts: IntArray
    errors: IntArray
    feedback: IntArray


def feedback_of(program: Program, scale: int = 8) -> IntArray:
    """B = W_outᵀ / scale, where FDFA's estimate goes, as 8-bit integers `[n_hidden, n_out]`."""
    _, into_output = _two_layers(program)
    return np.clip(np.rint(dense(into_output.weight).T / scale), -128, 127).astype(np.int64)


def random_feedback(program: Program, rng: np.random.Generator, spread: int = 16) -> IntArray:
    """B drawn uniformly from −spread…spread: plain direct feedback alignment."""
    _, into_output = _two_layers(program)
    return rng.integers(-spread, spread + 1, into_output.weight.shape[::-1])


def learn(
    program: Program,
    spikes: Spikes,
    labels: NDArray[np.integer[Any]],
    feedback: IntArray,
    rule: LearningRule | None = None,
    *,
    environment: Environment | None = None,
    progress: Callable[[float], None] | None = None,
    limits: Limits | None = None,
) -> Learned:
    """Present uint8 `[T, N, n_in]` one after the other with their labels `[N]` and let the chip learn.

    Raises `HardwareError` for a program of another form and for settings that do not fit the chip, and the
    errors of `neurofdfa_hardware.lava.errors`.
    """
    rule = rule or LearningRule()
    check_program(program)
    into_hidden, into_output = _two_layers(program)
    _check(program, spikes, labels, feedback, rule)
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
            np.savez(folder / "arrays.npz", allow_pickle=False, **_numbers(program, feedback))
            save_array(folder / "input.npy", spikes)
            save_array(folder / "labels.npy", labels.astype(np.int64))
            for name in ("counts", "errors"):
                save_array(folder / f"{name}.npy", np.zeros((samples, outputs), np.int64))
        run_worker(environment.python, folder, [request], limits or Limits(), heard)
        return _collect(program, folder)


def _collect(program: Program, folder: Path) -> Learned:
    with np.load(folder / "result.npz") as result:
        weights = (result["input"], result["hidden"])
        feedback = result["feedback"]
    connections = tuple(
        replace(connection, weight=weight)  # every synapse learns for itself
        for connection, weight in zip(_two_layers(program), weights, strict=True)
    )
    return Learned(
        replace(program, connections=connections),
        np.load(folder / "counts.npy"),
        np.load(folder / "errors.npy"),
        feedback,
    )


def _numbers(program: Program, feedback: IntArray) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"feedback": feedback}
    for name, connection in zip(("input", "hidden"), _two_layers(program), strict=True):
        found[f"{name}/weight"] = dense(connection.weight)
    for name, population in zip(("hidden", "output"), program.populations, strict=True):
        for key in ("du", "dv", "vth", "bias_mant", "bias_exp"):
            value = np.asarray(getattr(population, key), np.int64)
            found[f"{name}/{key}"] = np.ascontiguousarray(np.broadcast_to(value, (population.size,)))
    return found


def _two_layers(program: Program) -> tuple[Connection, Connection]:
    """The two connections of a chain input → hidden → output; raises `HardwareError` for anything else."""
    names = ["input", *(p.name for p in program.populations)]
    ends = [(c.source, c.target) for c in program.connections]
    if len(names) != 3 or ends != [(names[0], names[1]), (names[1], names[2])]:
        raise HardwareError(
            "learning on the chip takes one hidden layer: input → hidden → output, nothing else"
        )
    first, second = program.connections
    for connection in (first, second):
        plain = connection.delay is None and not connection.graded
        if connection.num_weight_bits != 8 or connection.sign_mode != "mixed" or not plain:
            raise HardwareError(
                f"connection '{connection.name}' cannot learn: it takes 8 mixed bits, no delays, no payloads"
            )
    if not all(p.spiking and not p.graded for p in program.populations):
        raise HardwareError(
            "learning on the chip takes an output that spikes, none of it graded: use the spike-count readout"
        )
    return first, second


def _check(
    program: Program, spikes: Spikes, labels: NDArray[np.integer[Any]], feedback: IntArray, rule: LearningRule
) -> None:
    hidden, output = (p.size for p in program.populations)
    if (
        spikes.dtype != np.uint8
        or spikes.ndim != 3
        or spikes.shape[2] != program.input_size
        or 0 in spikes.shape
    ):
        raise HardwareError(
            f"spikes must be uint8 [T, N, {program.input_size}]; got {spikes.dtype} {spikes.shape}"
        )
    if labels.shape != spikes.shape[1:2] or labels.min() < 0 or labels.max() >= output:
        raise HardwareError(f"labels must be [{spikes.shape[1]}] numbers below {output}")
    if feedback.shape != (hidden, output) or np.abs(feedback).max() > 127:
        raise HardwareError(f"the feedback must be [{hidden}, {output}] integers of 8 bits")
    ratio = rule.period / rule.epoch
    if rule.period < spikes.shape[0] + SETTLE or ratio < 1 or not float(np.log2(ratio)).is_integer():
        raise HardwareError(
            f"the period must be at least {spikes.shape[0] + SETTLE} steps and a power of two times the "
            f"epoch; got {rule.period} and {rule.epoch}"
        )
