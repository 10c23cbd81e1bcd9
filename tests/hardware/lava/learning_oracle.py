"""Learning on the chip, once more and step by step: same integers, order and random numbers as Lava's.

Independent of the worker's processes and of the package's integer learner; written from the fixed-point LIF,
and from what Lava's bit-approximate LearningDense does at each step and at the end of each epoch.
"""

from typing import NamedTuple

import numpy as np

from neurofdfa_hardware.chip.program import Connection, Population, Program
from neurofdfa_hardware.lava.worker.feedback import Feedback
from neurofdfa_hardware.learning.plasticity import LearningRule


def toward_zero(product: np.ndarray) -> np.ndarray:
    return np.sign(product) * (np.abs(product) >> 12)


class Neuron:
    """A LIF population, its summed third factor and the traces that it sends."""

    def __init__(self, population: Population, shift: int, window: tuple[int, int] | None) -> None:
        self.p, self.shift, self.window = population, shift, window
        self.y2 = self.y3 = np.zeros(population.size, np.int64)
        self.reset()

    def reset(self) -> None:
        self.u, self.v, self.factor, self.near = np.zeros((4, self.p.size), np.int64)

    def step(self, activation: np.ndarray, third: np.ndarray) -> np.ndarray:
        u = toward_zero(self.u * (4096 - (self.p.du + 1))) + (activation << 6)
        self.u = np.where(u > 2**23, u - 2**24, np.where(u <= -(2**23), u + 2**24, u))
        v = toward_zero(self.v * (4096 - self.p.dv)) + self.u + (self.p.bias_mant << self.p.bias_exp)
        self.v = np.clip(v, 1 - 2**23, 2**23 - 1)
        fired = self.v > self.p.vth << 6
        if self.window is not None:
            self.near = self.near + ((self.v > self.window[0]) & (self.v < self.window[1]))
        self.v = np.where(fired, 0, self.v)
        self.factor = self.factor + third
        scaled = self.factor * (1 if self.window is None else self.near)
        self.y2 = np.clip(np.maximum(scaled, 0) >> self.shift, 0, 127)
        self.y3 = np.clip(np.maximum(-scaled, 0) >> self.shift, 0, 127)
        return fired


class Synapses:
    """Lava's LearningDense, fixed point, with a three-factor rule."""

    def __init__(self, connection: Connection, rule: LearningRule, rate: int) -> None:
        self.weight = ((np.clip(connection.weight, -256, 255) >> 1) << 1).astype(np.int64)
        self.exponent, self.rule, self.rate = connection.weight_exp, rule, rate
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
        self.x_random, self.y_random = (g.random(2)[1] for g in (self.x_decay, self.y_decay))
        self.y = np.stack([neuron.y2, neuron.y3])

    def learn(self, time: int) -> None:
        if time % self.rule.epoch:
            return
        rounding = self.rounding.random(1)[0]
        y = self.y.astype(float)
        for step in range(1, self.rule.epoch + 1):
            self.x1 = round_up(np.exp(-1 / self.rule.tau) * self.x1, self.x_random)
            y = round_up(np.exp(-1 / 65535) * y, self.y_random)  # Lava's "no decay" of the y traces
            now = self.last == step
            self.x1[now] = np.minimum(self.x1[now] + self.rule.impulse, 127)
        self.last[:] = 0
        due = (time // self.rule.epoch) % (self.rule.period // self.rule.epoch) == 0
        grown = self.weight << 7
        for sign, trace in ((1, y[0]), (-1, y[1])):
            product = (due * sign * self.x1[None, :] * trace.astype(np.int64)[:, None]) >> 3
            shift = self.rate + 7
            product = product << shift if shift >= 0 else product >> -shift
            grown = np.clip(grown + np.clip(product, -(2**15) - 1, 2**15 - 1), -(2**15) - 1, 2**15 - 1)
        self.weight = np.clip(round_up(grown / 128, rounding), -256, 255)


def round_up(values: np.ndarray, random: float) -> np.ndarray:
    """Stochastic rounding with one random number for all, as Lava's."""
    return (np.floor(values) + (random < values % 1)).astype(np.int64)


class Outcome(NamedTuple):
    into_hidden: np.ndarray
    into_output: np.ndarray
    counts: np.ndarray
    errors: np.ndarray
    feedback: np.ndarray


def learn(
    program: Program, spikes: np.ndarray, labels: np.ndarray, feedback: np.ndarray, rule: LearningRule
) -> Outcome:
    """What `neurofdfa_hardware.learn` must return, on every backend."""
    steps, samples, n_in = spikes.shape
    hidden = Neuron(program.populations[0], rule.shift_hidden, rule.window)
    output = Neuron(program.populations[1], rule.shift_output, None)
    first = Synapses(program.connections[0], rule, rule.rate_hidden)
    second = Synapses(program.connections[1], rule, rule.rate_output)
    host = Feedback(feedback, rule.momentum, rule.probes, rule.feedback_scale, rule.seed)
    counts, errors = np.zeros((2, samples, output.p.size), np.int64)
    pending = error = np.zeros(output.p.size, np.int64)
    third = np.zeros(hidden.p.size, np.int64)
    for time in range(1, samples * rule.period + 1):
        sample, step = divmod(time - 1, rule.period)
        if rule.refresh_every and step == 0 and sample and sample % rule.refresh_every == 0:
            feedback = host.refresh(second.weight)
        playing = step < steps
        frame = spikes[step, sample].astype(bool) if playing else np.zeros(n_in, bool)
        label = np.zeros(output.p.size, np.int64)
        label[labels[sample]] = playing and step % rule.label_every == 0
        if step == 1:
            hidden.reset()
        if step == 2:
            output.reset()
        inputs = first.held, second.held
        hidden_spikes = hidden.step(inputs[0], third)
        output_spikes = output.step(inputs[1], error)
        error, pending = np.sign(pending), label - output_spikes.astype(np.int64)
        third = feedback @ error
        counts[sample] += output_spikes
        errors[sample] += error
        first.hear(frame, hidden, time)
        second.hear(hidden_spikes, output, time)
        first.learn(time)
        second.learn(time)
    return Outcome(first.weight, second.weight, counts, errors, feedback)
