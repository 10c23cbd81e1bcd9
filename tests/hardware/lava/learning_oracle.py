"""Learning on the chip, once more and step by step: same integers, order and random numbers as Lava's.

Independent of the worker's processes and of the package's integer learner; written from the fixed-point LIF,
and from what Lava's bit-approximate LearningDense does at each step and at the end of each epoch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurofdfa_hardware.chip.program import Connection, Population, Program
from neurofdfa_hardware.lava.worker.embedded import Feedback
from neurofdfa_hardware.learning.plasticity import LearningRule


def toward_zero(product: np.ndarray) -> np.ndarray:
    return np.sign(product) * (np.abs(product) >> 12)


class Neuron:
    """A LIF population, its summed third factor and the traces that it sends."""

    def __init__(self, population: Population, rule: LearningRule) -> None:
        self.p, self.shift, self.impulse = population, rule.shift_hidden, rule.impulse
        theta = population.vth << 6
        self.low, self.high = theta - (theta * rule.reach >> 3), theta + (theta * rule.reach >> 3)
        self.y1 = self.y2 = self.y3 = np.zeros(population.size, np.int64)
        self.reset()

    def reset(self) -> None:
        self.u, self.v, self.factor, self.near, self.count = np.zeros((5, self.p.size), np.int64)

    def step(self, activation: np.ndarray, third: np.ndarray) -> np.ndarray:
        u = toward_zero(self.u * (4096 - (self.p.du + 1))) + (activation << 6)
        self.u = np.where(u > 2**23, u - 2**24, np.where(u <= -(2**23), u + 2**24, u))
        v = toward_zero(self.v * (4096 - self.p.dv)) + self.u + (self.p.bias_mant << self.p.bias_exp)
        self.v = np.clip(v, 1 - 2**23, 2**23 - 1)
        fired = (self.v > self.p.vth << 6) & self.p.spiking
        self.near = self.near + ((self.v > self.low) & (self.v < self.high))
        self.v = np.where(fired, 0, self.v)
        self.count = self.count + fired
        self.factor = self.factor + third
        scaled = self.factor * self.near if self.p.spiking else self.factor
        shift = self.shift if self.p.spiking else 0
        self.y1 = np.minimum(self.count * self.impulse, 127)
        self.y2 = np.clip(np.maximum(scaled, 0) >> shift, 0, 127)
        self.y3 = np.clip(np.maximum(-scaled, 0) >> shift, 0, 127)
        return fired


class Synapses:
    """Lava's LearningDense, fixed point, with a sum of products; terms are written out by subclasses."""

    tau: float

    def __init__(self, weight: np.ndarray, exponent: int, rest: np.ndarray, rule: LearningRule) -> None:
        self.weight = ((np.clip(weight, -256, 255) >> 1) << 1).astype(np.int64)
        self.exponent, self.rule, self.tag, self.tau = exponent, rule, 2 * rest, rule.tau
        self.held = np.zeros(len(self.weight), np.int64)
        self.x1, self.last = np.zeros((2, self.weight.shape[1]), np.int64)
        # Lava: one generator per trace for decay and one for impulses, seeded apart, advanced twice a step.
        self.x_decay = np.random.default_rng(rule.seed)
        self.y_decay = np.random.default_rng(rule.seed + 2)
        self.rounding = np.random.default_rng(2)
        for generator in (self.x_decay, self.y_decay, self.rounding):
            generator.random(1)

    def hear(self, spikes: np.ndarray, neuron: Neuron, time: int) -> None:
        total = self.weight[:, spikes].sum(axis=1)
        self.held = total << self.exponent if self.exponent > 0 else total >> -self.exponent
        again = (self.last > 0) & spikes
        self.x1[again] = np.minimum(self.x1[again] + self.rule.impulse, 127)
        self.last[spikes] = (time - 1) % self.rule.epoch + 1
        self.listen(neuron)

    def listen(self, neuron: Neuron) -> None:
        self.x_random, self.y_random = (g.random(2)[1] for g in (self.x_decay, self.y_decay))
        self.y = np.stack([neuron.y1, neuron.y2, neuron.y3])

    def learn(self, time: int, rate: int, decay: int | None) -> None:
        if time % self.rule.epoch:
            return
        rounding = self.rounding.random(1)[0]
        y = self.y.astype(float)
        for step in range(1, self.rule.epoch + 1):
            self.x1 = round_up(np.exp(-1 / self.tau) * self.x1, self.x_random)
            y = round_up(np.exp(-1 / 65535) * y, self.y_random)  # Lava's "no decay" of the y traces
            now = self.last == step
            self.x1[now] = np.minimum(self.x1[now] + self.rule.impulse, 127)
        self.last[:] = 0
        if (time // self.rule.epoch) % (self.rule.period // self.rule.epoch):
            return
        self.update = np.outer(y[1] - y[2], self.x1)
        grown = self.weight << 7
        terms = self.terms(y.astype(np.int64), rate)
        if decay is not None:
            terms.append((-self.weight, decay))
        for product, exponent in terms:
            shifted = product << exponent + 7
            grown = np.clip(grown + np.clip(shifted, -(2**15) - 1, 2**15 - 1), -(2**15) - 1, 2**15 - 1)
        self.weight = np.clip(round_up(grown / 128, rounding), -256, 255)

    def terms(self, y: np.ndarray, rate: int) -> list[tuple[np.ndarray, int]]:
        y2, y3 = y[1][:, None], y[2][:, None]
        return [
            ((self.x1 * y2) >> 3, rate),
            ((-self.x1 * y3) >> 3, rate),
            ((-self.tag * y2) >> 5, rate + 1),
            ((self.tag * y3) >> 5, rate + 1),
        ]


class LearningFeedback(Synapses):
    """From the error's payload to a hidden layer; the payload's half is the trace x1, 64 its zero."""

    def __init__(self, weight: np.ndarray, rest: np.ndarray, rule: LearningRule) -> None:
        super().__init__(weight, 0, rest[:, None], rule)
        self.tau = 65535

    def hear_payload(self, payload: np.ndarray, neuron: Neuron) -> None:
        self.held = self.weight @ payload
        self.x1 = np.where(payload > 0, payload // 2, self.x1)
        self.listen(neuron)

    def terms(self, y: np.ndarray, rate: int) -> list[tuple[np.ndarray, int]]:
        error = np.clip(self.x1 - 64, -128, 127)
        return [((error * y[0][:, None]) >> 3, rate), ((-error * self.tag) >> 5, rate + 1)]


def round_up(values: np.ndarray, random: float) -> np.ndarray:
    """Stochastic rounding with one random number for all, as Lava's."""
    return (np.floor(values) + (random < values % 1)).astype(np.int64)


def softmax_error(scores: np.ndarray, label: int, shift: int) -> np.ndarray:
    """63 · (onehot − softmax), each power of two from 17 bits of a float's."""
    below = np.minimum((int(scores.max()) - scores) >> shift, 272)
    weight = np.floor(np.rint(2.0**16 * 2.0 ** (-(below % 16) / 16)) / 2.0 ** (below // 16)).astype(np.int64)
    return 63 * (np.arange(len(scores)) == label) - 63 * weight // weight.sum()


def synapses_of(connection: Connection, rest: np.ndarray, rule: LearningRule) -> Synapses:
    return Synapses(np.asarray(connection.weight), connection.weight_exp, rest, rule)


class Outcome(NamedTuple):
    """updates: (y2 − y3) · x1 of the last sample, before it is scaled and rounded."""

    weights: list[np.ndarray]
    scores: np.ndarray
    errors: np.ndarray
    feedback: list[np.ndarray]
    updates: list[np.ndarray]


def learn(
    program: Program,
    spikes: np.ndarray,
    labels: np.ndarray,
    feedback: Sequence[np.ndarray],
    rest: Sequence[np.ndarray],
    rule: LearningRule,
) -> Outcome:
    """What `neurofdfa_hardware.learn` must return, on every backend."""
    steps, samples, n_in = spikes.shape
    neurons = [Neuron(p, rule) for p in program.populations]
    layers = [synapses_of(c, r, rule) for c, r in zip(program.connections, rest, strict=True)]
    back = [LearningFeedback(b, r, rule) for b, r in zip(feedback, rest[1:], strict=True)]
    host = Feedback(feedback[-1], rule.momentum, rule.probes, rule.seed)
    n_out, depth = neurons[-1].p.size, len(neurons)
    scores, errors = np.zeros((2, samples, n_out), np.int64)
    nothing = np.zeros(n_out, np.int64)
    for time in range(1, samples * rule.period + 1):
        sample, step = divmod(time - 1, rule.period)
        if step == 0:
            for layer in layers:
                layer.x1[:] = 0
            if rule.refresh_every and sample and sample % rule.refresh_every == 0:
                back[-1].weight = host.refresh(layers[-1].weight)
        frame = spikes[step, sample].astype(bool) if step < steps else np.zeros(n_in, bool)
        error, payload = nothing, nothing
        if step == steps + depth:
            payload = nothing + 128
        if step == steps + depth + 1:
            error = errors[sample] = softmax_error(scores[sample], labels[sample], rule.score_shift)
            payload = 2 * (64 + error)
        thirds = [-b.held if step == steps + depth + 1 else b.held for b in back]
        arriving = [layer.held for layer in layers]
        sources = [frame]
        for place, (neuron, a, third) in enumerate(zip(neurons, arriving, [*thirds, error], strict=True), 1):
            if step == place:
                neuron.reset()
            sources.append(neuron.step(a, third))
        if depth <= step < depth + steps and (program.decode == "mean" or step == depth + steps - 1):
            scores[sample] += neurons[-1].v
        for layer, source, neuron in zip(layers, sources, neurons, strict=False):
            layer.hear(source, neuron, time)
        for b, neuron in zip(back, neurons, strict=False):
            b.hear_payload(payload, neuron)
        for layer in layers[:-1]:
            layer.learn(time, rule.rate_hidden, None)
        layers[-1].learn(time, rule.rate_output, rule.decay)
        if rule.rate_feedback is not None:
            for b in back:
                b.learn(time, rule.rate_feedback, rule.decay)
    updates = [layer.update for layer in layers]
    return Outcome([x.weight for x in layers], scores, errors, [b.weight for b in back], updates)
