"""What learns on the chip and how: the rule's numbers, the network's form, and what is left at the end.

The program has one hidden layer and a spiking output, as `quantization.quantize` makes it. Per
sample of T steps (then silence up to `period`): output spikes are compared with label spikes by error
neurons, whose spikes e ∈ {−1, 0, 1} reach every hidden neuron through the feedback B (direct feedback
alignment) and every output neuron directly. At the end of the period each synapse changes by
    Δw = 2^rate · x1 · (y2 − y3) / 8   in units of its 9-bit weight,
    x1: trace of the presynaptic spikes;  y2 − y3 = (Σ_t third factor · m) >> shift, clipped to ±127
with m the steps at which a hidden membrane was near its threshold (1 in the output).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, IntArray, Program
from neurofdfa_hardware.chip.ranges import check_program
from neurofdfa_hardware.errors import HardwareError

Spikes = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]
SETTLE = 6  # steps from the last input spike to the last error at the hidden layer
TRACE_MAX = 127  # traces of the chip have 7 bits and no sign


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
    `[n_hidden, n_out]` at the end. history: the weights after every sample where they were asked for,
    int16 `[N, n_hidden, n_in]` and `[N, n_out, n_hidden]`.
    """

    program: Program
    counts: IntArray
    errors: IntArray
    feedback: IntArray
    history: tuple[NDArray[np.int16], NDArray[np.int16]] | None = None


def feedback_of(program: Program, scale: int = 8) -> IntArray:
    """B = W_outᵀ / scale, where FDFA's estimate goes, as 8-bit integers `[n_hidden, n_out]`."""
    _, into_output = two_layers(program)
    return np.clip(np.rint(dense(into_output.weight).T / scale), -128, 127).astype(np.int64)


def random_feedback(program: Program, rng: np.random.Generator, spread: int = 16) -> IntArray:
    """B drawn uniformly from −spread…spread: plain direct feedback alignment."""
    _, into_output = two_layers(program)
    return rng.integers(-spread, spread + 1, into_output.weight.shape[::-1])


def with_weights(program: Program, hidden: IntArray, output: IntArray) -> Program:
    """`program` with matrices in place of its two connections' weights: every synapse learns for itself."""
    pairs = zip(two_layers(program), (hidden, output), strict=True)
    return replace(program, connections=tuple(replace(c, weight=weight) for c, weight in pairs))


def two_layers(program: Program) -> tuple[Connection, Connection]:
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
    for population in program.populations:
        if not population.plain:
            raise HardwareError(
                f"population '{population.name}' cannot learn: a spike must reset its membrane to 0 at once"
            )
    return first, second


def check(program: Program, spikes: Spikes, labels: Labels, feedback: IntArray, rule: LearningRule) -> None:
    """Raise `HardwareError` for a program of another form and for numbers that do not fit the chip."""
    check_program(program)
    two_layers(program)
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
    if feedback.shape != (hidden, output) or np.abs(feedback).max() > TRACE_MAX:
        raise HardwareError(f"the feedback must be [{hidden}, {output}] integers of 8 bits")
    ratio = rule.period / rule.epoch
    if rule.period < spikes.shape[0] + SETTLE or ratio < 1 or not float(np.log2(ratio)).is_integer():
        raise HardwareError(
            f"the period must be at least {spikes.shape[0] + SETTLE} steps and a power of two times the "
            f"epoch; got {rule.period} and {rule.epoch}"
        )
    if rule.tau < 1 or not 0 <= rule.impulse <= TRACE_MAX or min(rule.shift_hidden, rule.shift_output) < 0:
        raise HardwareError(
            f"tau must be 1 or more, impulse 0 to {TRACE_MAX} and shifts 0 or more; got {rule.tau}, "
            f"{rule.impulse}, {rule.shift_hidden} and {rule.shift_output}"
        )
