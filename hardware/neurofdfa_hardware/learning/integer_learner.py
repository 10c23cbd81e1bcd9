"""Learning on the chip in integers: what Lava's fixed-point processes do, a sample at a time and in numpy.

Weights change at the end of a sample only, so the steps before it are one matrix product per layer, then the
neurons step by step, then the traces epoch by epoch. What is kept of Lava (lava-nc 0.10.0):
- a layer hears what its source sent one step before, through the weights of that time;
- the membranes start from 0 when the sample reaches them, one and two steps after its first spikes;
- x1 decays at the end of an epoch only, through all its steps with ONE random number r, as
  x ← ⌊ax⌋ + (r < frac ax), and takes its impulse at the epoch's last spike (earlier ones add theirs before);
- a product is shifted right by floor, in an accumulator of 15 bits and a sign, and w is rounded with ONE
  random number for all synapses of a connection.
Numbers that stay below 2^53 are held as floats where that is faster; nothing is ever rounded but as said.
"""

from collections.abc import Callable, Iterator
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
from neurofdfa_hardware.lava.worker.feedback import Feedback
from neurofdfa_hardware.learning.plasticity import (
    TRACE_MAX,
    Labels,
    Learned,
    LearningRule,
    Spikes,
    two_layers,
    with_weights,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
NO_DECAY = 65535  # the time constant that Lava gives to traces which a neuron sends
CONNECTION_SEED = 2  # of the numbers that round weights: fixed in Lava
FRACTION_BITS = 7  # of the accumulator, below a weight of 9 bits
ACCUMULATOR = 2**15
PRODUCT_SHIFT = 3  # what Lava drops of a product of two 7-bit traces


def learn_in_integers(
    program: Program,
    spikes: Spikes,
    labels: Labels,
    feedback: IntArray,
    rule: LearningRule,
    *,
    history: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Learned:
    """`neurofdfa_hardware.learning.learn` on the integer reference, for arguments that it has checked."""
    steps, samples, inputs = spikes.shape
    first, second = (_Synapses(connection) for connection in two_layers(program))
    hidden, output = (
        _Neurons(population, rule.period, reset)
        for population, reset in zip(program.populations, (1, 2), strict=True)
    )
    host = Feedback(feedback, rule.momentum, rule.probes, rule.feedback_scale, rule.seed)
    trace = np.zeros(inputs + hidden.size, np.int64)
    counts, errors = np.zeros((2, samples, output.size), np.int64)
    kept = [np.zeros((samples, *s.weight.shape), np.int16) for s in (first, second)] if history else []
    frames = np.zeros((rule.period, inputs), np.bool_)
    label_steps = slice(0, steps, rule.label_every)
    pending = np.zeros(output.size, np.int64)
    for sample, chance in zip(range(samples), _chances(rule), strict=False):
        if rule.refresh_every and sample and sample % rule.refresh_every == 0:
            feedback = host.refresh(second.weight)
        frames[:steps] = spikes[:, sample] != 0
        fired = hidden.run(first.deliver(frames))
        answered = output.run(second.deliver(fired))
        difference = -answered.astype(np.int64)
        difference[label_steps, labels[sample]] += 1
        # Error neurons fire a step after what they compare.
        error = np.sign(np.concatenate((pending[None], difference[:-1])))
        pending = difference[-1]
        counts[sample], errors[sample] = answered.sum(0), error.sum(0)

        # A third factor is heard a step after its error, and each layer starts its sums with the sample.
        near = ((hidden.membranes[1:] > rule.window[0]) & (hidden.membranes[1:] < rule.window[1])).sum(0)
        third_hidden = (feedback @ error[:-1].sum(0)) * near
        third_output = error[1:-1].sum(0)
        trace = _decayed(trace, np.hstack((frames, fired)), chance.decay, rule)
        first.learn(trace[:inputs], _sent(third_hidden, rule.shift_hidden, chance), rule.rate_hidden, chance)
        second.learn(trace[inputs:], _sent(third_output, rule.shift_output, chance), rule.rate_output, chance)
        for weights, synapses in zip(kept, (first, second), strict=False):
            weights[sample] = synapses.weight
        if progress is not None:
            progress((sample + 1) / samples)
    return Learned(
        with_weights(program, first.weight, second.weight),
        counts,
        errors,
        feedback,
        (kept[0], kept[1]) if history else None,
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


def _decayed(trace: IntArray, heard: Bools, chance: Floats, rule: LearningRule) -> IntArray:
    """x1 `[n]` after a sample's epochs, from the spikes `[period, n]`. chance: `[epochs]`."""
    epochs = len(chance)
    values = np.exp(-1 / rule.tau) * np.arange(TRACE_MAX + 1)
    once = _rounded(values, chance[:, None])  # [epochs, 128]: a step's decay
    after = np.empty((epochs, rule.epoch + 1, TRACE_MAX + 1), np.int64)  # … of as many steps
    after[:, 0] = np.arange(TRACE_MAX + 1)
    for step in range(rule.epoch):
        after[:, step + 1] = np.take_along_axis(once, after[:, step], 1)
    parts = heard.reshape(epochs, rule.epoch, -1)
    number = parts.sum(1)
    last = np.where(number > 0, rule.epoch - parts[:, ::-1].argmax(1), 0)
    before = np.maximum(number - 1, 0) * rule.impulse
    impulse = (number > 0) * rule.impulse
    for epoch in range(epochs):
        table = after[epoch]
        trace = table[last[epoch], np.minimum(trace + before[epoch], TRACE_MAX)]
        trace = table[rule.epoch - last[epoch], np.minimum(trace + impulse[epoch], TRACE_MAX)]
    return trace


def _sent(third: IntArray, shift: int, chance: _Chance) -> IntArray:
    """y2 − y3 at the end of the sample: one of the two is 0, and each has 7 bits."""
    return np.sign(third) * chance.sent[np.minimum(np.abs(third) >> shift, TRACE_MAX)]


class _Synapses:
    """The weights of one connection, and what the step before has still to deliver."""

    def __init__(self, connection: Connection) -> None:
        self.name, self.exponent = connection.name, connection.weight_exp
        self.weight = truncate(dense(connection.weight), connection.num_weight_bits, connection.sign_mode)
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

    def learn(self, trace: IntArray, third: IntArray, rate: int, chance: _Chance) -> None:
        """Add 2^rate · x1 · third / 8 to the weights. trace: x1 `[n_source]`. third: `[n_target]`."""
        rows = np.flatnonzero(third)
        if not len(rows):
            return
        product = (third[rows, None] * trace) >> PRODUCT_SHIFT
        shift = rate + FRACTION_BITS
        product = product << shift if shift >= 0 else product >> -shift
        product = np.clip(product, -ACCUMULATOR - 1, ACCUMULATOR - 1)
        grown = (self.weight[rows] << FRACTION_BITS) + product
        grown = np.clip(grown, -ACCUMULATOR - 1, ACCUMULATOR - 1)
        fraction = grown & (2**FRACTION_BITS - 1)
        up = chance.rounding * 2**FRACTION_BITS < fraction
        self.weight[rows] = np.clip((grown >> FRACTION_BITS) + up, -256, 255)
        self.columns = self.weight.T.astype(np.float64)


class _Neurons:
    """A population through the samples. membranes: of the last one, before resets, `[period, n]`."""

    def __init__(self, population: Population, period: int, reset: int) -> None:
        self.size, self.reset = population.size, reset
        self.u_keep = np.asarray((4095 - population.du) / 4096, np.float64)
        self.v_keep = np.asarray((4096 - population.dv) / 4096, np.float64)
        self.bias = np.ldexp(population.bias_mant.astype(np.float64), population.bias_exp)
        self.threshold = np.asarray(population.vth << THRESHOLD_SHIFT, np.float64)
        self.u, self.v = np.zeros((2, self.size))
        self.membranes = np.zeros((period, self.size))

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
            np.greater(v, self.threshold, out=spikes)
            np.putmask(v, spikes, 0)
        return fired

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
