"""Learning in Lava and in the integer learner: every weight after every sample, and what it achieves."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import predict, simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaMissing
from neurofdfa_hardware.lava.learning import learn_in_lava
from neurofdfa_hardware.lava.worker.feedback import Feedback
from neurofdfa_hardware.learning.learn import learn
from neurofdfa_hardware.learning.plasticity import (
    Learned,
    LearningRule,
    feedback_of,
    random_feedback,
    with_weights,
)
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


def assert_equal(found: Learned, expected: Learned) -> None:
    """Every number that learning leaves, and the weights after each sample where both kept them."""
    for ours, theirs in zip(found.program.connections, expected.program.connections, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
    for name in ("counts", "errors", "feedback"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    if found.history is not None and expected.history is not None:
        for ours, theirs in zip(found.history, expected.history, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def by_oracle(program: Program, spikes, labels, feedback, rule) -> Learned:
    outcome = oracle.learn(program, spikes, labels, feedback, rule)
    learnt = with_weights(program, outcome.into_hidden, outcome.into_output)
    return Learned(learnt, outcome.counts, outcome.errors, outcome.feedback)


@pytest.mark.serial
@pytest.mark.parametrize("refresh_every", [0, 3])
def test_every_weight_after_every_sample_is_lavas(environment: Environment, refresh_every: int) -> None:
    """DFA and FDFA: Lava, the integer learner, and the oracle that neither of them knows."""
    program, (spikes, labels) = small(), task(10, 1)
    feedback = random_feedback(program, np.random.default_rng(5), 12)
    rule = replace(RULE, refresh_every=refresh_every)
    lava = learn_in_lava(program, spikes, labels, feedback, rule, history=True, environment=environment)
    assert lava.history is not None
    assert_equal(lava, learn(program, spikes, labels, feedback, rule, history=True))
    assert_equal(lava, by_oracle(program, spikes, labels, feedback, rule))
    for before, after, kept in zip(program.connections, lava.program.connections, lava.history, strict=True):
        assert len(kept) == 10
        np.testing.assert_array_equal(kept[-1], after.weight)
        assert (before.weight != after.weight).mean() > 0.2
        assert (kept[1:] != kept[:-1]).any(axis=(1, 2)).sum() > 3  # it learns from most samples
    assert (lava.feedback != feedback).any() == bool(refresh_every)


@pytest.mark.serial
def test_lava_agrees_on_currents_biases_and_a_membrane_that_outlasts_its_sample(
    environment: Environment,
) -> None:
    program, rule = drawn(3, 12)
    spikes, labels = task(6, 7)
    feedback = random_feedback(program, np.random.default_rng(6), 12)
    lava = learn_in_lava(program, spikes, labels, feedback, rule, history=True, environment=environment)
    assert_equal(lava, learn(program, spikes, labels, feedback, rule, history=True))
    assert lava.counts.sum() > 0


def drawn(seed: int, inputs: int) -> tuple[Program, LearningRule]:
    """A network and a rule with every number its own: decays, biases, exponents, epochs, shifts."""
    rng = np.random.default_rng(seed)
    plain = chain((inputs, 16, 3), seed=seed, weight_exp=int(rng.integers(-2, 3)))
    populations = tuple(
        population(
            p.name,
            p.size,
            du=rng.choice([4095, 1000, 3000]),
            dv=rng.integers(0, 3000, p.size),
            vth=rng.integers(20, 300, p.size),
            mant=rng.integers(-3, 30, p.size) * (seed % 3 == 0),
            exp=int(rng.integers(0, 8)),
        )
        for p in plain.populations
    )
    epoch = int(rng.choice([1, 3, 4, 8]))
    period = epoch
    while period < 16:  # a power of two epochs that hold ten steps and what follows them
        period *= 2
    rule = LearningRule(
        period=period,
        epoch=epoch,
        tau=int(rng.integers(1, 20)),
        impulse=int(rng.integers(1, 128)),
        rate_hidden=int(rng.integers(-7, 2)),
        rate_output=int(rng.integers(-7, 2)),
        shift_hidden=int(rng.integers(0, 7)),
        shift_output=int(rng.integers(0, 2)),
        window=(int(rng.integers(-5000, 100)), int(rng.integers(1000, 30000))),
        label_every=int(rng.integers(1, 5)),
        refresh_every=int(rng.choice([0, 1, 3])),
        seed=seed,
    )
    return replace(plain, populations=populations), rule


@pytest.mark.parametrize("seed", range(20))
def test_any_network_and_rule_learns_as_the_oracle_says(seed: int) -> None:
    program, rule = drawn(seed, 12)
    spikes, labels = task(8, seed)
    feedback = random_feedback(program, np.random.default_rng(seed), 12)
    learned = learn(program, spikes, labels, feedback, rule)
    assert_equal(learned, by_oracle(program, spikes, labels, feedback, rule))


@pytest.mark.parametrize("exponent", [6, 7])
def test_currents_wrap_at_24_bits_and_sums_beyond_are_refused(exponent: int) -> None:
    """Weights of 254 from 300 inputs: their sum wraps the current, and with one bit more leaves the sum's."""
    program = chain((300, 16, 3), weight_exp=0)
    strong = replace(program.connections[0], weight=np.full((16, 300), 254, np.int64), weight_exp=exponent)
    program = replace(program, connections=(strong, program.connections[1]))
    spikes, labels = np.ones((8, 3, 300), np.uint8), np.array([0, 1, 2])
    feedback = random_feedback(program, np.random.default_rng(0), 12)
    if 300 * 254 << exponent >= 2**23:
        with pytest.raises(HardwareError, match="leave the chip's 24 bits"):
            learn(program, spikes, labels, feedback, RULE)
        return
    learned = learn(program, spikes, labels, feedback, RULE)
    assert_equal(learned, by_oracle(program, spikes, labels, feedback, RULE))


def test_no_feedback_no_change_in_the_hidden_layer() -> None:
    program, (spikes, labels) = small(), task(5, 2)
    learned = learn(program, spikes, labels, np.zeros((16, 3), np.int64), RULE)
    before, after = program.connections, learned.program.connections
    np.testing.assert_array_equal(after[0].weight, before[0].weight)
    assert (after[1].weight != before[1].weight).any()


def test_it_learns_a_task_from_scratch():
    program, (spikes, labels) = small(), task(150, 3)
    test_spikes, test_labels = task(200, 4)

    def accuracy(program: Program) -> float:
        return float((predict(program, simulate(program, test_spikes)) == test_labels).mean())

    learnt = learn(program, spikes, labels, feedback_of(program), RULE).program
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
    soft = (replace(program.populations[0], reset="soft"), program.populations[1])
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
        (program, spikes, labels, feedback, replace(RULE, tau=0), "tau must be 1 or more"),
        (program, spikes, labels, feedback, replace(RULE, impulse=128), "impulse 0 to 127"),
        (replace(program, populations=soft), spikes, labels, feedback, RULE, "'l1' cannot learn: a spike"),
    ]
    for *arguments, reason in wrong:
        for run in (learn, learn_in_lava):
            with pytest.raises(HardwareError, match=reason):
                run(*arguments)
    with pytest.raises(HardwareError, match="unknown backend 'loihi' for learning: choose fixed-point"):
        learn(program, spikes, labels, feedback, RULE, backend="loihi")  # pyright: ignore[reportArgumentType]


def test_without_lava_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path))
    program, (spikes, labels) = small(), task(2, 1)
    with pytest.raises(LavaMissing, match="neurofdfa lava setup"):
        learn(program, spikes, labels, feedback_of(program), RULE, backend="lava")
