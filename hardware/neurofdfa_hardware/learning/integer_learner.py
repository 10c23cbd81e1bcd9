"""Learning on the chip in integers: what Lava's fixed-point processes do, a sample at a time and in numpy.

Weights change at the end of a sample only, so the steps before it are one matrix product per layer, then the
neurons step by step, then the traces epoch by epoch. What is kept of Lava (lava-nc 0.10.0):
- a layer hears what its source sent one step before, through the weights of that time;
- the membranes start from 0 when the sample reaches them, a step later in each layer;
- x1 decays at the end of an epoch only, through all its steps with ONE random number r, as
  x ← ⌊ax⌋ + (r < frac ax), and takes its impulse at the epoch's last spike (earlier ones add theirs before);
- a product is shifted right by floor, in an accumulator of 15 bits and a sign, term after term, and w is
  rounded with ONE random number for all synapses of a connection.
Numbers that stay below 2^53 are held as floats where that is faster; nothing is ever rounded but as said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, IntArray, Population, Program
from neurofdfa_hardware.chip.ranges import (
    ACTIVATION_SHIFT,
    CURRENT_LIMIT,
    MEMBRANE_MAX,
    SUM_LIMIT,
    THRESHOLD_SHIFT,
)
from neurofdfa_hardware.chip.synapse import truncate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.worker.embedded import ERROR_OFFSET, Feedback, error_of
from neurofdfa_hardware.learning.plasticity import (
    NO_DECAY,
    TRACE_MAX,
    Labels,
    Learned,
    LearningRule,
    Spikes,
    chain,
    window,
    with_weights,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Term = tuple[int, int, IntArray]
"""A product of the rule: its exponent, how far Lava shifts it right, and the product itself with its sign."""
CONNECTION_SEED = 2  # of the numbers that round weights: fixed in Lava
FRACTION_BITS = 7  # of the accumulator, below a weight of 9 bits
ACCUMULATOR = 2**15
# What Lava drops of a product: its bits (7 of a trace, 9 of a tag or weight, 4 of the factor 2^k) beyond 15.
OF_TRACES, OF_TAG, OF_WEIGHT = 3, 5, 0


def learn_in_integers(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: Sequence[IntArray],
    rest: Sequence[IntArray],
    rule: LearningRule,
    *,
    history: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Learned:
    """`neurofdfa_hardware.learning.learn` on the integer reference, for arguments that it has checked."""
    steps, samples, _ = spikes.shape
    depth = len(program.populations)
    synapses = [_Synapses(c, mean) for c, mean in zip(chain(program), rest, strict=True)]
    neurons = [_Neurons(p, rule, place) for place, p in enumerate(program.populations, 1)]
    back = [_Feedback(matrix, mean) for matrix, mean in zip(feedback, rest[1:], strict=True)]
    host = Feedback(feedback[-1], rule.momentum, rule.probes, rule.seed)
    scores, errors = np.zeros((2, samples, neurons[-1].size), np.int64)
    kept = [np.zeros((samples, *s.weight.shape), np.int16) for s in synapses] if history else []
    frames = np.zeros((rule.period, program.input_size), np.bool_)
    read = slice(depth + (0 if program.decode == "mean" else steps - 1), depth + steps)
    for sample, chance in zip(range(samples), _chances(rule), strict=False):
        if rule.refresh_every and sample and sample % rule.refresh_every == 0:
            back[-1].weight = host.refresh(synapses[-1].weight)
        frames[:steps] = spikes[:, sample] != 0
        fired = [frames]
        for layer, population in zip(synapses, neurons, strict=True):
            fired.append(population.run(layer.deliver(fired[-1])))
        scores[sample] = neurons[-1].membranes[read].sum(0).astype(np.int64)
        error = errors[sample] = error_of(scores[sample], int(labels[sample]), rule.score_shift)

        trace = _decayed(np.hstack(fired[:-1]), chance.decay, rule)
        traces = np.split(trace, np.cumsum([layer.inputs for layer in synapses])[:-1])
        thirds = [
            _sent(2 * (b.weight @ error) * population.near(), rule.shift_hidden, chance)
            for b, population in zip(back, neurons, strict=False)
        ]
        if rule.rate_feedback is not None:
            heard = _held(ERROR_OFFSET + error, chance.decay[(steps + depth + 1) // rule.epoch :], rule)
            for b, spikes_of, population in zip(back, fired[1:], neurons, strict=False):
                own = np.minimum(spikes_of[population.reset :].sum(0) * rule.impulse, TRACE_MAX)
                b.learn(heard - ERROR_OFFSET, chance.sent[own], rule.rate_feedback, rule.decay, chance)
        for layer, x1, third in zip(synapses[:-1], traces, thirds, strict=False):
            layer.learn(x1, third, rule.rate_hidden, None, chance)
        synapses[-1].learn(traces[-1], _sent(error, 0, chance), rule.rate_output, rule.decay, chance)
        for weights, layer in zip(kept, synapses, strict=False):
            weights[sample] = layer.weight
        if progress is not None:
            progress((sample + 1) / samples)
    return Learned(
        with_weights(program, [layer.weight for layer in synapses]),
        scores,
        errors,
        tuple(b.weight for b in back),
        tuple(kept) if history else None,
    )


@dataclass(frozen=True)
class _Chance:
    """Lava's random numbers of one sample. decay: of x1, `[epochs]`. sent: a table y → y as it is used."""

    decay: Floats
    sent: IntArray
    rounding: float


def _chances(rule: LearningRule) -> Iterator[_Chance]:
    """The numbers that Lava draws for each sample; they are the same for all connections of a network."""
    # Lava seeds decay and impulses of x and y apart; each generator is advanced once, then twice a step.
    decays, sent, rounding = (
        np.random.default_rng(seed) for seed in (rule.seed, rule.seed + 2, CONNECTION_SEED)
    )
    for generator in (decays, sent, rounding):
        generator.random(1)
    epochs = rule.period // rule.epoch
    values = np.arange(TRACE_MAX + 1)
    while True:
        used = decays.random(2 * rule.period)[1::2][rule.epoch - 1 :: rule.epoch]
        table = _rounded(np.exp(-1 / NO_DECAY) * values, sent.random(2 * rule.period)[-1])
        passed = values
        for _ in range(rule.epoch):
            passed = table[passed]
        yield _Chance(used, passed, rounding.random(epochs)[-1])


def _rounded(values: Floats, chance: float | Floats) -> IntArray:
    """Stochastic rounding of positive values with one random number for all."""
    return np.floor(values).astype(np.int64) + (chance < values % 1)


def _decayed(heard: Bools, chance: Floats, rule: LearningRule) -> IntArray:
    """x1 `[n]` after a sample's epochs, from the spikes `[period, n]`. chance: `[epochs]`."""
    after = _decays(rule.tau, chance, rule.epoch)
    epochs = len(chance)
    parts = heard.reshape(epochs, rule.epoch, -1)
    number = parts.sum(1)
    last = np.where(number > 0, rule.epoch - parts[:, ::-1].argmax(1), 0)
    before = np.maximum(number - 1, 0) * rule.impulse
    impulse = (number > 0) * rule.impulse
    trace = np.zeros(heard.shape[1], np.int64)
    for epoch in range(epochs):
        table = after[epoch]
        trace = table[last[epoch], np.minimum(trace + before[epoch], TRACE_MAX)]
        trace = table[rule.epoch - last[epoch], np.minimum(trace + impulse[epoch], TRACE_MAX)]
    return trace


def _held(trace: IntArray, chance: Floats, rule: LearningRule) -> IntArray:
    """A trace that was written once, at the end of the epochs that `chance` has numbers for."""
    for table in _decays(NO_DECAY, chance, rule.epoch):
        trace = table[-1, trace]
    return trace


def _decays(tau: int, chance: Floats, steps: int) -> IntArray:
    """What becomes of each value of a trace after 0…`steps` steps: `[epochs, steps + 1, 128]`."""
    once = _rounded(np.exp(-1 / tau) * np.arange(TRACE_MAX + 1), chance[:, None])
    after = np.empty((len(chance), steps + 1, TRACE_MAX + 1), np.int64)
    after[:, 0] = np.arange(TRACE_MAX + 1)
    for step in range(steps):
        after[:, step + 1] = np.take_along_axis(once, after[:, step], 1)
    return after


def _sent(third: IntArray, shift: int, chance: _Chance) -> IntArray:
    """y2 − y3 at the end of the sample: one of the two is 0, and each has 7 bits."""
    return np.sign(third) * chance.sent[np.minimum(np.abs(third) >> shift, TRACE_MAX)]


def _grown(weight: IntArray, terms: Sequence[Term], chance: _Chance) -> IntArray:
    """Weights after one update by a sum of products, of 9 bits."""
    total = weight << FRACTION_BITS
    for exponent, drop, product in terms:
        scaled = (product >> drop) << (exponent + FRACTION_BITS)
        scaled = np.clip(scaled, -ACCUMULATOR - 1, ACCUMULATOR - 1)
        total = np.clip(total + scaled, -ACCUMULATOR - 1, ACCUMULATOR - 1)
    up = chance.rounding * 2**FRACTION_BITS < total & (2**FRACTION_BITS - 1)
    return np.clip((total >> FRACTION_BITS) + up, -256, 255)


class _Feedback:
    """Synapses from the error to a hidden layer, `[n_hidden, n_out]`. rest: of the hidden neurons' traces."""

    def __init__(self, weight: IntArray, rest: IntArray) -> None:
        self.weight, self.tag = np.array(weight), 2 * rest[:, None]

    def learn(self, error: IntArray, own: IntArray, rate: int, decay: int | None, chance: _Chance) -> None:
        """Add 2^rate · e · (own − rest) / 8, less 2^decay of the weights."""
        terms: list[Term] = [(rate, OF_TRACES, error * own[:, None])]
        terms.append((rate + 1, OF_TAG, -error * self.tag))
        if decay is not None:
            terms.append((decay, OF_WEIGHT, -self.weight))
        self.weight = _grown(self.weight, terms, chance)


class _Synapses:
    """The weights of one connection, and what the step before has still to deliver."""

    def __init__(self, connection: Connection, rest: IntArray) -> None:
        self.name, self.exponent = connection.name, connection.weight_exp
        self.weight = truncate(dense(connection.weight), connection.num_weight_bits, connection.sign_mode)
        self.inputs, self.tag = self.weight.shape[1], 2 * rest
        self.held = np.zeros(len(self.weight))
        self.columns = self.weight.T.astype(np.float64)

    def deliver(self, heard: Bools) -> Floats:
        """What arrives at each step of a sample, `[period, n_target]`, of spikes `[period, n_source]`."""
        sums = np.floor((heard.astype(np.float64) @ self.columns) * 2.0**self.exponent)
        if max(sums.max(), -sums.min()) >= SUM_LIMIT:
            raise HardwareError(
                f"the synaptic sums of connection {self.name!r} leave the chip's 24 bits: use smaller "
                "weights or a smaller weight exponent"
            )
        arriving = np.concatenate((self.held[None], sums[:-1]))
        self.held = sums[-1]
        return arriving

    def learn(self, trace: IntArray, third: IntArray, rate: int, decay: int | None, chance: _Chance) -> None:
        """Add 2^rate · (x1 − rest) · third / 8, less 2^decay of the weights. third: y2 − y3 `[n_target]`."""
        rows = np.flatnonzero(third) if decay is None else np.arange(len(third))
        if not len(rows):
            return
        factor = third[rows, None]
        terms: list[Term] = [(rate, OF_TRACES, factor * trace), (rate + 1, OF_TAG, -factor * self.tag)]
        if decay is not None:
            terms.append((decay, OF_WEIGHT, -self.weight))
        self.weight[rows] = _grown(self.weight[rows], terms, chance)
        self.columns = self.weight.T.astype(np.float64)


class _Neurons:
    """A population through the samples. membranes: of the last one, before resets, `[period, n]`."""

    def __init__(self, population: Population, rule: LearningRule, reset: int) -> None:
        self.size, self.reset, self.spiking = population.size, reset, population.spiking
        self.bounds = window(population, rule.reach)
        self.u_keep = np.asarray((4095 - population.du) / 4096, np.float64)
        self.v_keep = np.asarray((4096 - population.dv) / 4096, np.float64)
        self.bias = np.ldexp(population.bias_mant.astype(np.float64), population.bias_exp)
        self.threshold = np.asarray(population.vth << THRESHOLD_SHIFT, np.float64)
        self.u, self.v = np.zeros((2, self.size))
        self.membranes = np.zeros((rule.period, self.size))

    def run(self, arriving: Floats) -> Bools:
        """Spikes `[period, n]` of what arrives at each step; states start afresh at the step `reset`."""
        inflow = self._currents(arriving * 2**ACTIVATION_SHIFT) + self.bias
        fired = np.zeros(inflow.shape, np.bool_)
        v = self.v
        largest = np.abs(v).max() + len(inflow) * max(inflow.max(), -inflow.min())
        may_clip = bool(largest > MEMBRANE_MAX)
        for step, (now, seen, spikes) in enumerate(zip(inflow, self.membranes, fired, strict=True)):
            if step == self.reset:
                v[:] = 0
            np.multiply(v, self.v_keep, out=v)
            np.trunc(v, out=v)
            np.add(v, now, out=v)
            if may_clip:
                np.clip(v, -MEMBRANE_MAX, MEMBRANE_MAX, out=v)
            seen[:] = v
            if self.spiking:
                np.greater(v, self.threshold, out=spikes)
                np.putmask(v, spikes, 0)
        return fired

    def near(self) -> IntArray:
        """Steps of the last sample that each membrane spent near its threshold, `[n]`."""
        own = self.membranes[self.reset :]
        return ((own > self.bounds[0]) & (own < self.bounds[1])).sum(0)

    def _currents(self, arriving: Floats) -> Floats:
        """Currents `[period, n]`; spikes do not reset them, so they can be had before the spikes."""
        currents = np.empty_like(arriving)
        if not self.u_keep.any():
            currents[:] = _wrapped(arriving)
            return currents
        u = self.u
        for step, now in enumerate(arriving):
            u = np.trunc((0.0 if step == self.reset else 1.0) * u * self.u_keep) + now
            currents[step] = u = _wrapped(u)
        self.u = u
        return currents


def _wrapped(u: Floats) -> Floats:
    """Two's complement of 24 bits, once, as Lava wraps currents."""
    if max(u.max(), -u.min()) < CURRENT_LIMIT:
        return u
    u = np.where(u > CURRENT_LIMIT, u - 2 * CURRENT_LIMIT, u)
    return np.where(u <= -CURRENT_LIMIT, u + 2 * CURRENT_LIMIT, u)
