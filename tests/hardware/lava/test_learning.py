"""Learning inside Lava, held to the same integers computed once more in numpy, and to what it achieves."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import predict, simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaMissing
from neurofdfa_hardware.lava.learning import LearningRule, feedback_of, learn, random_feedback
from neurofdfa_hardware.lava.worker.feedback import Feedback
from tests.hardware.lava import learning_oracle as oracle
from tests.hardware.lava.nets import chain, population

RULE = LearningRule(period=16, epoch=4, tau=6, rate_hidden=-3, rate_output=-3, shift_hidden=4)


def small(seed: int = 0) -> Program:
    """12-16-3, active enough to learn from its first sample."""
    plain = chain((12, 16, 3), seed=seed, weight_exp=1)
    return replace(
        plain, populations=(population("l1", 16, dv=800, vth=150), population("l2", 3, dv=800, vth=150))
    )


def task(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes: each fires its own third of the inputs, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    rates = np.full((samples, 12), 0.05)
    for sample, label in enumerate(labels):
        rates[sample, label * 4 : label * 4 + 4] = 0.6
    return (rng.random((10, samples, 12)) < rates).astype(np.uint8), labels


@pytest.mark.serial
@pytest.mark.parametrize("refresh_every", [0, 3])
def test_every_weight_is_what_the_oracle_says(environment: Environment, refresh_every: int) -> None:
    program, (spikes, labels) = small(), task(10, 1)
    feedback = random_feedback(program, np.random.default_rng(5), 12)
    rule = replace(RULE, refresh_every=refresh_every)
    learned = learn(program, spikes, labels, feedback, rule, environment=environment)
    expected = oracle.learn(program, spikes, labels, feedback, rule)
    np.testing.assert_array_equal(learned.program.connections[0].weight, expected.into_hidden)
    np.testing.assert_array_equal(learned.program.connections[1].weight, expected.into_output)
    np.testing.assert_array_equal(learned.counts, expected.counts)
    np.testing.assert_array_equal(learned.errors, expected.errors)
    np.testing.assert_array_equal(learned.feedback, expected.feedback)
    for before, after in zip(program.connections, learned.program.connections, strict=True):
        assert (before.weight != after.weight).mean() > 0.2
    assert (learned.feedback != feedback).any() == bool(refresh_every)


@pytest.mark.serial
def test_no_feedback_no_change_in_the_hidden_layer(environment: Environment) -> None:
    program, (spikes, labels) = small(), task(5, 2)
    silent = np.zeros((16, 3), np.int64)
    learned = learn(program, spikes, labels, silent, RULE, environment=environment)
    before, after = program.connections, learned.program.connections
    np.testing.assert_array_equal(after[0].weight, before[0].weight)
    assert (after[1].weight != before[1].weight).any()


def test_it_learns_a_task_from_scratch():
    """Through the oracle, which Lava equals above."""
    program, (spikes, labels) = small(), task(150, 3)
    test_spikes, test_labels = task(200, 4)

    def accuracy(program: Program) -> float:
        return float((predict(program, simulate(program, test_spikes)) == test_labels).mean())

    outcome = oracle.learn(program, spikes, labels, feedback_of(program), RULE)
    weights = (outcome.into_hidden, outcome.into_output)
    learnt = replace(
        program,
        connections=tuple(replace(c, weight=w) for c, w in zip(program.connections, weights, strict=True)),
    )
    assert accuracy(program) < 0.7
    assert accuracy(learnt) > 0.9


def test_refresh_tracks_the_output_weights():
    """B from zero comes close to Wᵀ / scale through random probes alone, and follows a change of W."""
    rng = np.random.default_rng(0)
    feedback = Feedback(np.zeros((20, 4), np.int64), 0.2, 200, 8, 1)
    for _ in range(2):
        weights = rng.integers(-200, 200, (4, 20))
        for _ in range(40):
            integers = feedback.refresh(weights)
        cosine = (integers * weights.T).sum() / np.linalg.norm(integers) / np.linalg.norm(weights)
        assert cosine > 0.97
        assert np.abs(integers).max() < 40


def test_what_cannot_learn_is_refused():
    program, (spikes, labels) = small(), task(4, 1)
    feedback = feedback_of(program)
    wrong = [
        (chain((12, 8, 8, 3)), spikes, labels, feedback, RULE, "one hidden layer"),
        (chain((12, 16, 3), num_weight_bits=4), spikes, labels, feedback, RULE, "8 mixed bits"),
        (chain((12, 16, 3), spiking=False), spikes, labels, feedback, RULE, "output that spikes"),
        (program, spikes[:, :, :5], labels, feedback, RULE, "spikes must be uint8"),
        (program, spikes, labels + 3, feedback, RULE, "numbers below 3"),
        (program, spikes, labels, feedback.T, RULE, "feedback must be"),
        (program, spikes, labels, feedback + 200, RULE, "8 bits"),
        (program, spikes, labels, feedback, replace(RULE, period=12), "at least 16 steps"),
        (program, spikes, labels, feedback, replace(RULE, epoch=5), "power of two times"),
    ]
    for *arguments, reason in wrong:
        with pytest.raises(HardwareError, match=reason):
            learn(*arguments)


def test_without_lava_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path))
    program, (spikes, labels) = small(), task(2, 1)
    with pytest.raises(LavaMissing, match="neurofdfa lava setup"):
        learn(program, spikes, labels, feedback_of(program), RULE)
