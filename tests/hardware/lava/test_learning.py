"""Learning in Lava and in the integer learner: every weight after every sample, and what it achieves."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import predict, simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import Environment, LavaMissing
from neurofdfa_hardware.lava.learning import learn_in_lava
from neurofdfa_hardware.lava.worker.embedded import Feedback, error_of
from neurofdfa_hardware.learning.learn import learn
from neurofdfa_hardware.learning.plasticity import (
    Learned,
    LearningRule,
    feedback_of,
    mean_traces,
    random_feedback,
    score_shift,
    with_weights,
)
from tests.hardware.lava import learning_oracle as oracle
from tests.hardware.lava.nets import chain, population

RULE = LearningRule(period=16, epoch=4, rate_hidden=-5, rate_output=-5, shift_hidden=9, score_shift=13)
FDFA = {"refresh_every": 3}
DKP = {"rate_feedback": -5, "decay": -7}


def small(seed: int = 0, sizes: tuple[int, ...] = (12, 16, 3)) -> Program:
    """12-16-3, active enough to learn from its first sample."""
    plain = chain(sizes, seed=seed, weight_exp=1, spiking=False)
    populations = [population(p.name, p.size, dv=800, vth=150, spiking=p.spiking) for p in plain.populations]
    return replace(plain, populations=tuple(populations), decode="mean")


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
    for name in ("scores", "errors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for ours, theirs in zip(found.feedback, expected.feedback, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if found.history is not None and expected.history is not None:
        for ours, theirs in zip(found.history, expected.history, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def by_oracle(program: Program, spikes, labels, feedback, rest, rule) -> Learned:
    outcome = oracle.learn(program, spikes, labels, feedback, rest, rule)
    learnt = with_weights(program, outcome.weights)
    return Learned(learnt, outcome.scores, outcome.errors, tuple(outcome.feedback))


@pytest.mark.serial
@pytest.mark.parametrize(
    ("hidden", "settings"),
    [
        ((16,), {}),
        ((16,), {"refresh_every": 3}),
        ((16,), DKP),
        ((16, 14), {"refresh_every": 3}),
        ((16, 14), DKP),
    ],
)
def test_every_weight_after_every_sample_is_lavas(
    environment: Environment, hidden: tuple[int, ...], settings: dict[str, int]
) -> None:
    """DFA, FDFA and DKP, one hidden layer and two: Lava, the learner, and the oracle that neither knows."""
    program, (spikes, labels) = small(sizes=(12, *hidden, 3)), task(8, 1)
    feedback = random_feedback(program, np.random.default_rng(5))
    rule = replace(RULE, **settings)
    rest = mean_traces(program, spikes, rule)
    lava = learn_in_lava(program, spikes, labels, feedback, rest, rule, history=True, environment=environment)
    assert lava.history is not None
    assert_equal(lava, learn(program, spikes, labels, feedback, rule, rest=rest, history=True))
    assert_equal(lava, by_oracle(program, spikes, labels, feedback, rest, rule))
    for before, after, kept in zip(program.connections, lava.program.connections, lava.history, strict=True):
        assert len(kept) == 8
        np.testing.assert_array_equal(kept[-1], after.weight)
        assert (before.weight != after.weight).mean() > 0.2
        assert (kept[1:] != kept[:-1]).any(axis=(1, 2)).sum() > 3  # it learns from most samples
    assert (lava.feedback[-1] != feedback[-1]).any() == bool(settings)


@pytest.mark.serial
def test_lava_agrees_on_currents_biases_decaying_traces_and_the_last_membrane(
    environment: Environment,
) -> None:
    program, rule = drawn(3, 12)
    spikes, labels = task(6, 7)
    feedback = random_feedback(program, np.random.default_rng(6))
    rest = tuple(np.zeros(n, np.int64) for n in (12, 16))
    lava = learn_in_lava(program, spikes, labels, feedback, rest, rule, history=True, environment=environment)
    assert_equal(lava, learn(program, spikes, labels, feedback, rule, history=True))
    assert np.abs(lava.errors).sum() > 0


def drawn(seed: int, inputs: int) -> tuple[Program, LearningRule]:
    """A network and a rule with every number its own: decays, biases, exponents, epochs, shifts."""
    rng = np.random.default_rng(seed)
    sizes = (inputs, 16, 3) if seed % 2 else (inputs, 16, 9, 3)
    plain = chain(sizes, seed=seed, weight_exp=int(rng.integers(-2, 3)), spiking=False)
    populations = tuple(
        population(
            p.name,
            p.size,
            du=rng.choice([4095, 1000, 3000]),
            dv=rng.integers(0, 3000, p.size),
            vth=rng.integers(20, 300, p.size),
            mant=rng.integers(-3, 30, p.size) * (seed % 3 == 0),
            exp=int(rng.integers(0, 8)),
            spiking=p.spiking,
        )
        for p in plain.populations
    )
    epoch = int(rng.choice([1, 3, 4, 8]))
    period = epoch
    while period < 10 + len(sizes) + 2:  # a power of two epochs that hold ten steps and what follows them
        period *= 2
    learns = seed % 4 < 2
    rule = LearningRule(
        period=period,
        epoch=epoch,
        tau=int(rng.choice([65535, rng.integers(1, 20)])),
        impulse=int(rng.integers(1, 128)),
        rate_hidden=int(rng.integers(-7, 2)),
        rate_output=int(rng.integers(-7, 2)),
        shift_hidden=int(rng.integers(6, 14)),
        reach=int(rng.integers(1, 12)),
        score_shift=int(rng.integers(6, 16)),
        refresh_every=0 if learns else int(rng.choice([0, 1, 3])),
        rate_feedback=int(rng.integers(-7, 2)) if learns else None,
        decay=int(rng.integers(-7, -3)) if learns or seed % 3 else None,
        seed=seed,
    )
    return replace(plain, populations=populations, decode="mean" if seed % 5 else "last"), rule


@pytest.mark.parametrize("seed", range(20))
def test_any_network_and_rule_learns_as_the_oracle_says(seed: int) -> None:
    program, rule = drawn(seed, 12)
    spikes, labels = task(8, seed)
    rng = np.random.default_rng(seed)
    feedback = random_feedback(program, rng)
    rest = tuple(rng.integers(0, 128, np.shape(c.weight)[1]) for c in program.connections)
    learned = learn(program, spikes, labels, feedback, rule, rest=rest)
    assert_equal(learned, by_oracle(program, spikes, labels, feedback, rest, rule))


@pytest.mark.parametrize("exponent", [6, 7])
def test_currents_wrap_at_24_bits_and_sums_beyond_are_refused(exponent: int) -> None:
    """Weights of 254 from 300 inputs: their sum wraps the current, and with one bit more leaves the sum's."""
    program = chain((300, 16, 3), weight_exp=0, spiking=False)
    strong = replace(program.connections[0], weight=np.full((16, 300), 254, np.int64), weight_exp=exponent)
    program = replace(program, connections=(strong, program.connections[1]))
    spikes, labels = np.ones((8, 3, 300), np.uint8), np.array([0, 1, 2])
    feedback = random_feedback(program, np.random.default_rng(0))
    rest = tuple(np.zeros(n, np.int64) for n in (300, 16))
    if 300 * 254 << exponent >= 2**23:
        with pytest.raises(HardwareError, match="leave the chip's 24 bits"):
            learn(program, spikes, labels, feedback, RULE)
        return
    learned = learn(program, spikes, labels, feedback, RULE)
    assert_equal(learned, by_oracle(program, spikes, labels, feedback, rest, RULE))


def test_the_error_is_a_softmax_in_six_bits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, label = rng.integers(-(2**24), 2**24, 10), int(rng.integers(10))
        exact = np.exp2((scores - scores.max()) / 2**24)
        wanted = 63 * (np.arange(10) == label) - 63 * exact / exact.sum()
        assert np.abs(error_of(scores, label, 20) - wanted).max() < 1.3
    assert not error_of(np.array([2**30, 0, -5]), 0, 10).any()
    np.testing.assert_array_equal(error_of(np.array([2**30, 0]), 1, 10), [-63, 63])


def test_no_feedback_no_change_in_the_hidden_layer() -> None:
    program, (spikes, labels) = small(), task(5, 2)
    learned = learn(program, spikes, labels, (np.zeros((16, 3), np.int64),), RULE)
    before, after = program.connections, learned.program.connections
    np.testing.assert_array_equal(after[0].weight, before[0].weight)
    assert (after[1].weight != before[1].weight).any()


def test_feedback_that_learns_comes_to_the_readouts_weights() -> None:
    """Kolen and Pollack: two connections that learn and decay alike become transposes."""
    program, (spikes, labels) = small(), task(300, 3)
    feedback = random_feedback(program, np.random.default_rng(1))
    rule = replace(RULE, rate_hidden=-7, rate_output=-5, rate_feedback=-5, decay=-5)

    def cosine(learned: Learned) -> float:
        a, b = learned.feedback[0], np.asarray(learned.program.connections[1].weight).T
        return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))

    first = learn(program, spikes[:, :1], labels[:1], feedback, rule)
    assert abs(cosine(first)) < 0.5
    assert cosine(learn(program, spikes, labels, feedback, rule)) > 0.95


def test_it_learns_a_task_from_scratch():
    program, (spikes, labels) = small(), task(150, 3)
    test_spikes, test_labels = task(200, 4)

    def accuracy(program: Program) -> float:
        return float((predict(program, simulate(program, test_spikes)) == test_labels).mean())

    rule = replace(RULE, score_shift=score_shift(program, spikes))
    rest = mean_traces(program, spikes, rule)
    learnt = learn(program, spikes, labels, feedback_of(program), rule, rest=rest).program
    assert accuracy(program) < 0.7
    assert accuracy(learnt) > 0.9


def test_refresh_tracks_the_output_weights():
    """B from zero comes close to Wᵀ through random probes alone, and follows a change of W."""
    rng = np.random.default_rng(0)
    feedback = Feedback(np.zeros((20, 4), np.int64), 0.2, 200, 1)
    for _ in range(2):
        weights = rng.integers(-200, 200, (4, 20))
        for _ in range(40):
            integers = feedback.refresh(weights)
        cosine = (integers * weights.T).sum() / np.linalg.norm(integers) / np.linalg.norm(weights)
        assert cosine > 0.97
        assert not (integers % 2).any()


def test_what_cannot_learn_is_refused():
    program, (spikes, labels) = small(), task(4, 1)
    feedback = feedback_of(program)
    rest = tuple(np.zeros(n, np.int64) for n in (12, 16))
    soft = (replace(program.populations[0], reset="soft"), program.populations[1])
    skipping = chain((12, 8, 8, 3), spiking=False)
    skipping = replace(skipping, connections=skipping.connections[::-1])
    wrong = [
        (skipping, spikes, labels, feedback, RULE, "takes a chain"),
        (replace(program, connections=program.connections[1:]), spikes, labels, feedback, RULE, "a chain"),
        (chain((12, 16, 3), num_weight_bits=4), spikes, labels, feedback, RULE, "8 mixed bits"),
        (chain((12, 16, 3)), spikes, labels, feedback, RULE, "readout that does not spike"),
        (program, spikes[:, :, :5], labels, feedback, RULE, "spikes must be uint8"),
        (program, spikes, labels + 3, feedback, RULE, "numbers below 3"),
        (program, spikes, labels, (feedback[0].T,), RULE, "feedback must be"),
        (program, spikes, labels, (feedback[0] + 300,), RULE, "up to ±254"),
        (program, spikes, labels, (feedback[0] * 0 + 3,), RULE, "even integers"),
        (program, spikes, labels, feedback, replace(RULE, period=12), "at least 15 steps"),
        (program, spikes, labels, feedback, replace(RULE, epoch=5), "power of two times"),
        (program, spikes, labels, feedback, replace(RULE, period=128, epoch=64), "at most 63"),
        (program, spikes, labels, feedback, replace(RULE, tau=0), "tau must be 1 or more"),
        (program, spikes, labels, feedback, replace(RULE, impulse=128), "impulse 0 to 127"),
        (program, spikes, labels, feedback, replace(RULE, rate_hidden=-8), "exponents of 2 from -7 to 7"),
        (program, spikes, labels, feedback, replace(RULE, decay=-8), "exponents of 2"),
        (program, spikes, labels, feedback, replace(RULE, score_shift=99), "score_shift must be"),
        (program, spikes, labels, feedback, replace(RULE, refresh_every=3, **DKP), "not both"),
        (replace(program, populations=soft), spikes, labels, feedback, RULE, "'l1' cannot learn: a spike"),
    ]
    for *arguments, rule, reason in wrong:
        with pytest.raises(HardwareError, match=reason):
            learn(*arguments, rule)
        with pytest.raises(HardwareError, match=reason):
            learn_in_lava(*arguments, rest, rule)
    for bad in ((rest[0],), (rest[0] + 128, rest[1])):
        with pytest.raises(HardwareError, match="rest must be numbers of 0 to 127"):
            learn(program, spikes, labels, feedback, RULE, rest=bad)
    with pytest.raises(HardwareError, match="unknown backend 'loihi' for learning: choose fixed-point"):
        learn(program, spikes, labels, feedback, RULE, backend="loihi")  # pyright: ignore[reportArgumentType]


def test_without_lava_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path))
    program, (spikes, labels) = small(), task(2, 1)
    with pytest.raises(LavaMissing, match="neurofdfa lava setup"):
        learn(program, spikes, labels, feedback_of(program), RULE, backend="lava")
