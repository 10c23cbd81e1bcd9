"""What learns on the chip and how: the rule's numbers, the network's form, and what is left at the end.

The program is a chain input → hidden layers → readout, as `quantization.quantize` makes it; the readout never
fires. Its membrane is read by an embedded processor, which after the T steps of a sample computes an integer
softmax of what `program.decode` reads and broadcasts the error e = onehot − softmax, 6 bits and a sign
(`lava/worker/embedded.py`). It reaches every hidden layer through a feedback B of its own (direct feedback
alignment) and each readout neuron directly. At the end of the period each synapse changes by
    Δw = 2^rate · (x1 − rest) · (y2 − y3) / 8   in units of its 9-bit weight,
    x1: trace of the presynaptic spikes since the sample began; rest: its mean, kept in the synapse's tag
    y2 − y3 = (Σ 2Be · m) >> shift, clipped to ±127, with m the steps at which the hidden membrane was near
its threshold; in the readout y2 − y3 = e. Where the feedback learns on the chip, too (`rate_feedback`),
    ΔB = 2^rate_feedback · e · (y1 − rest) / 8 − 2^decay · B,   y1: the hidden neuron's own trace
and the readout's weights decay alike: the rule of Kolen and Pollack (Akrout et al., NeurIPS 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, IntArray, Population, Program
from neurofdfa_hardware.chip.ranges import THRESHOLD_SHIFT, check_program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.worker.embedded import ERROR_OFFSET, STEEPEST

Spikes = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]
TRACE_MAX = 127  # traces of the chip have 7 bits and no sign
WEIGHT_MAX = 254  # of 8 bits and a sign, on the chip's grid of even numbers
NO_DECAY = 65535  # a time constant by which a trace counts spikes
RATES = range(-7, 9)  # exponents of 2 that a term of the chip's rules may have


@dataclass(frozen=True)
class LearningRule:
    """The chip's learning, all in integers.

    period: steps from one sample to the next; epoch: steps between trace updates (period/epoch a power of 2).
    tau, impulse: of the presynaptic trace x1 (7 bits); the default tau counts spikes. The host clears x1
    before each sample. rate_hidden, rate_output: exponents of 2.
    shift_hidden: right shift that brings the third factor into 7 bits.
    reach: a hidden membrane v is near its threshold θ when |v − θ| < reach·θ/8.
    score_shift: right shift of the scores, which makes 16 of them a factor of 2 in the softmax.
    refresh_every: samples between refreshes of the last B by the host (FDFA), 0 for none; momentum, probes:
    of that refresh. rate_feedback, decay: exponents of 2 for feedback that learns on the chip (DKP), None for
    none. seed: of Lava's rounding and of the probes.
    """

    period: int = 32
    epoch: int = 8
    tau: int = NO_DECAY
    impulse: int = 16
    rate_hidden: int = -4
    rate_output: int = -5
    shift_hidden: int = 12
    reach: int = 4
    score_shift: int = 10
    refresh_every: int = 0
    momentum: float = 0.2
    probes: int = 64
    rate_feedback: int | None = None
    decay: int | None = None
    seed: int = 1


@dataclass(frozen=True)
class Learned:
    """What learning left: `program` with the new weights (truncated to the chip's 8 bits when it is run).

    scores: what the processor read of each readout neuron, `[N, n_out]`; their argmax is the prediction made
    before the sample was learnt. errors: e, `[N, n_out]`. feedback: `[n_hidden, n_out]` per hidden layer, at
    the end. history: the weights after every sample where they were asked for, int16
    `[N, n_target, n_source]` per connection.
    """

    program: Program
    scores: IntArray
    errors: IntArray
    feedback: tuple[IntArray, ...]
    history: tuple[NDArray[np.int16], ...] | None = None


@dataclass(frozen=True)
class RuleTexts:
    """The sums of products that synapses follow, in Lava's notation; t holds twice the mean trace."""

    hidden: str
    readout: str
    feedback: str | None


def rule_texts(rule: LearningRule) -> RuleTexts:
    """What `rule` asks of the synapses of hidden layers, of the readout, and of feedback that learns."""
    u = f"u{int(np.log2(rule.period // rule.epoch))}"

    def third(rate: int) -> str:
        own, mean = (f"2^{rate + more}*{u}" for more in (0, 1))
        return f"{own}*x1*y2 - {own}*x1*y3 - {mean}*t*y2 + {mean}*t*y3"

    less = "" if rule.decay is None else f" - 2^{rule.decay}*{u}*w"
    feedback = None
    if rule.rate_feedback is not None:
        error = f"{u}*(x1-{ERROR_OFFSET})"
        own, mean = (f"2^{rule.rate_feedback + more}*{error}" for more in (0, 1))
        feedback = f"{own}*y1 - {mean}*t{less}"
    return RuleTexts(third(rule.rate_hidden), third(rule.rate_output) + less, feedback)


def settle(program: Program) -> int:
    """Steps from the last input step to the first in which every synapse has heard its error."""
    return len(program.populations) + 3


def feedback_of(program: Program, trained: Sequence[NDArray[Any]] | None = None) -> tuple[IntArray, ...]:
    """B of each hidden layer at the scale of the readout's weights.

    trained: what training found, `[n_hidden, n_out]` per hidden layer. Without it, the product of the weights
    above the layer, transposed: for the last hidden layer W_outᵀ, where FDFA's estimate goes.
    """
    *_, last = (dense(connection.weight) for connection in chain(program))
    if trained is None:
        products = [last]
        for connection in reversed(chain(program)[1:-1]):
            products.insert(0, products[0] @ dense(connection.weight))
        trained = [product.T for product in products]
    size = float(np.sqrt(np.mean(last**2)))
    sizes = [max(float(np.sqrt(np.mean(np.square(matrix)))), 1e-12) for matrix in trained]
    return tuple(on_grid(matrix * (size / own)) for matrix, own in zip(trained, sizes, strict=True))


def random_feedback(program: Program, rng: np.random.Generator) -> tuple[IntArray, ...]:
    """B drawn from normal numbers at the readout's scale: plain direct feedback alignment."""
    *_, last = chain(program)
    weight = dense(last.weight)
    return tuple(
        on_grid(rng.normal(0, weight.std(), (p.size, len(weight)))) for p in program.populations[:-1]
    )


def on_grid(values: NDArray[Any]) -> IntArray:
    """The nearest weights of the chip, 8 bits and a sign: even numbers from −254 to 254."""
    return np.clip(2 * np.rint(values / 2), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int64)


def mean_traces(program: Program, spikes: Spikes, rule: LearningRule) -> tuple[IntArray, ...]:
    """The mean x1 of every connection's sources after a sample, `[n_source]`, from training inputs.

    Subtracting it keeps what all samples have in common out of the updates. Needs a tau that does not decay
    within a sample, as the default.
    """
    fired = [spikes != 0, *(simulate(program, spikes).spikes[p.name] != 0 for p in program.populations[:-1])]
    counts = (np.minimum(f.sum(0) * rule.impulse, TRACE_MAX).mean(0) for f in fired)
    return tuple(np.rint(c).astype(np.int64) for c in counts)


def score_shift(program: Program, spikes: Spikes, octaves: int = 11) -> int:
    """The shift that makes a mean training sample's winner 2^octaves times as likely as a score of 0."""
    v = simulate(program, spikes).output_v.astype(np.int64)
    scores = v.sum(0) if program.decode == "mean" else v[-1]
    return max(0, int(np.rint(np.log2(max(np.abs(scores).max(1).mean(), 1) / (16 * octaves)))))


def window(population: Population, reach: int) -> tuple[IntArray, IntArray]:
    """Bounds `[n]`, exclusive, of the membranes that count as near the threshold."""
    theta = np.broadcast_to(population.vth << THRESHOLD_SHIFT, (population.size,)).astype(np.int64)
    return theta - (theta * reach >> 3), theta + (theta * reach >> 3)


def with_weights(program: Program, weights: Sequence[IntArray]) -> Program:
    """`program` with matrices in place of its connections' weights: every synapse learns for itself."""
    pairs = zip(chain(program), weights, strict=True)
    return replace(program, connections=tuple(replace(c, weight=weight) for c, weight in pairs))


def chain(program: Program) -> tuple[Connection, ...]:
    """The connections of a chain input → hidden → … → readout; raises `HardwareError` for anything else."""
    names = ["input", *(p.name for p in program.populations)]
    ends = [(c.source, c.target) for c in program.connections]
    if len(names) < 3 or ends != list(pairwise(names)):
        raise HardwareError(
            "learning on the chip takes a chain, input → hidden layers → readout, and nothing beside it"
        )
    for connection in program.connections:
        plain = connection.delay is None and not connection.graded
        if connection.num_weight_bits != 8 or connection.sign_mode != "mixed" or not plain:
            raise HardwareError(
                f"connection '{connection.name}' cannot learn: it takes 8 mixed bits, no delays, no payloads"
            )
    *hidden, readout = program.populations
    if readout.spiking or program.decode == "count":
        raise HardwareError(
            "learning on the chip takes a readout that does not spike, whose membrane is read: use nf.LI or "
            "nf.I as the last neurons"
        )
    for population in hidden:
        if not population.spiking or population.graded:
            raise HardwareError(
                f"population '{population.name}' cannot learn: hidden neurons send plain spikes"
            )
        if not population.plain:
            raise HardwareError(
                f"population '{population.name}' cannot learn: a spike must reset its membrane to 0 at once"
            )
    return program.connections


def check(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: Sequence[IntArray],
    rest: Sequence[IntArray],
    rule: LearningRule,
) -> None:
    """Raise `HardwareError` for a program of another form and for numbers that do not fit the chip."""
    check_program(program)
    connections = chain(program)
    *hidden, output = (p.size for p in program.populations)
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
    shapes = [(size, output) for size in hidden]
    if [np.shape(b) for b in feedback] != shapes or any(np.abs(b).max() > WEIGHT_MAX for b in feedback):
        raise HardwareError(
            f"the feedback must be integers up to ±{WEIGHT_MAX}, one array per hidden layer: {shapes}"
        )
    if any(np.any(b % 2) for b in feedback):
        raise HardwareError("the feedback must be even integers, the chip's 8 bits and a sign: see on_grid")
    sources = [program.input_size, *hidden]
    if [np.shape(r) for r in rest] != [(n,) for n in sources] or any(
        r.min() < 0 or r.max() > TRACE_MAX for r in rest
    ):
        raise HardwareError(
            f"rest must be numbers of 0 to {TRACE_MAX}, one per source of the {len(connections)} connections"
        )
    _check_numbers(rule, spikes.shape[0] + settle(program))


def _check_numbers(rule: LearningRule, shortest: int) -> None:
    ratio = rule.period / rule.epoch
    if rule.period < shortest or ratio < 1 or not float(np.log2(ratio)).is_integer():
        raise HardwareError(
            f"the period must be at least {shortest} steps and a power of two times the "
            f"epoch; got {rule.period} and {rule.epoch}"
        )
    if rule.epoch > 63:
        raise HardwareError(f"an epoch has at most 63 steps, for spike times have 6 bits; got {rule.epoch}")
    if rule.tau < 1 or not 0 <= rule.impulse <= TRACE_MAX or rule.shift_hidden < 0 or rule.reach < 0:
        raise HardwareError(
            f"tau must be 1 or more, impulse 0 to {TRACE_MAX}, shift_hidden and reach 0 or more; got "
            f"{rule.tau}, {rule.impulse}, {rule.shift_hidden} and {rule.reach}"
        )
    if not 0 <= rule.score_shift <= STEEPEST:
        raise HardwareError(f"score_shift must be 0 to {STEEPEST}; got {rule.score_shift}")
    # The term of the tag has one power of two more than that of the trace.
    rates = (rule.rate_hidden, rule.rate_output, rule.rate_feedback)
    if any(r is not None and not (r in RATES and r + 1 in RATES) for r in rates) or (
        rule.decay is not None and rule.decay not in RATES
    ):
        raise HardwareError(
            f"rates and decay are exponents of 2 from {RATES[0]} to {RATES[-2]}; got {rates} and {rule.decay}"
        )
    if rule.refresh_every and rule.rate_feedback is not None:
        raise HardwareError("the feedback is refreshed by the host or learns on the chip: not both")
