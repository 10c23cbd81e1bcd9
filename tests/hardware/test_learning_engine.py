"""What is said of rules on the learning engine: complete, true of Lava, and of what runs here."""

from pathlib import Path

import numpy as np
import pytest

from neurofdfa.rules import RULES
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.learning import Neurons, lower
from neurofdfa_hardware.learning.plasticity import LearningRule, rule_texts
from neurofdfa_hardware.learning.rules import TABLE
from neurofdfa_hardware.learning.terms import (
    IMPULSE,
    TRACE_MAX,
    kernel,
    kernel_error,
    spikes_held,
    trace_noise,
)

WORKER = Path(__file__).parents[2] / "hardware" / "neurofdfa_hardware" / "lava" / "worker"


@pytest.mark.parametrize("name", [*RULES, "bptt"])
def test_every_rule_has_an_entry(name):
    lowering = lower(name)
    assert lowering.rule == name
    assert lowering.terms
    assert all(term.how and term.term for term in lowering.terms)
    unclear = [t.term for t in lowering.terms if t.fit == "approximated" and not t.error]
    assert unclear == []  # whoever says "nearly" says how far


def test_there_is_no_entry_for_a_rule_that_does_not_exist():
    assert set(TABLE) == {*RULES, "bptt"}
    with pytest.raises(HardwareError, match="unknown rule 'hebb': choose one of fdfa, dfa"):
        lower("hebb")
    with pytest.raises(HardwareError, match="between 0 and 1"):
        lower("dfa", Neurons(beta=1.2))


@pytest.mark.parametrize("name", ["dfa", "fdfa", "readout-only", "dkp"])
def test_rules_that_run_here_run_as_the_entry_says(name):
    lowering = lower(name)
    rule = LearningRule(**lowering.runs)
    texts = rule_texts(rule)
    assert texts.hidden.startswith(lowering.dw.format(rate=rule.rate_hidden, every=2))
    assert texts.readout.startswith(lowering.dw.format(rate=rule.rate_output, every=2))
    assert (texts.feedback is None) == (lowering.feedback_dw is None)
    if lowering.feedback_dw is not None:
        wanted = lowering.feedback_dw.format(rate=rule.rate_feedback, every=2)
        assert set(wanted.split(" - ")) <= set(texts.feedback.split(" - "))
    assert bool(rule.refresh_every) == any(t.fit == "host" for t in lowering.terms) == (name == "fdfa")
    assert rule.impulse == IMPULSE
    learner = (WORKER / "processes" / "learner.py").read_text()
    assert f"TRACE_MAX = {TRACE_MAX}" in learner


def test_rules_that_nothing_runs_say_so():
    assert {name for name in TABLE if lower(name).runs is not None} == {"fdfa", "dfa", "readout-only", "dkp"}
    assert {lower(name).fit for name in ("dfa", "dkp", "sbd", "e-prop")} == {"approximated"}
    assert any(t.fit == "impossible" and t.optional for t in lower("sbd").terms)
    assert {n for n in TABLE if lower(n).fit == "impossible"} >= {"bptt", "ottt", "sltt"}


def test_kernels_are_those_of_the_filters():
    assert kernel([0.5], 4).tolist() == [1, 0.5, 0.25, 0.125]
    assert kernel([0.5, 1.0], 4).tolist() == [1, 1.5, 1.75, 1.875]
    assert kernel_error([0.8], 20, 1) < 1e-9
    assert kernel_error([0.8, 1.0], 20, 2) < 1e-9  # two decays are two exponentials
    assert kernel_error([0.8, 0.95], 20, 1) > 0.1
    assert 0 < kernel_error([0.5, 0.8, 0.95], 20, 2) < kernel_error([0.5, 0.8, 0.95], 20, 1)


def test_rounding_noise_is_what_a_simulated_trace_shows(rng):
    """A trace of 7 bits, rounded stochastically at every step, beside one that is not."""
    decay, impulse = 0.8, 16
    exact, trace = np.zeros((2, 20_000))
    errors = []
    for _ in range(60):
        spikes = rng.random(20_000) < 0.1
        exact, value = decay * exact, decay * trace
        trace = np.floor(value) + (rng.random(20_000) < value % 1)
        exact, trace = exact + impulse * spikes, trace + impulse * spikes
        errors.append(trace - exact)
    found = np.std(errors[-1]) / impulse
    assert abs(np.mean(errors[-1])) < 0.05
    assert found == pytest.approx(trace_noise(decay, impulse), rel=0.15)
    assert spikes_held(decay, impulse) == pytest.approx(127 * 0.2 / 16)


def test_slower_neurons_are_worse_off():
    def kernel_share(neurons: Neurons) -> float:
        text = next(t.error for t in lower("fdfa", neurons).terms if t.term.startswith("trace"))
        return float(text.split("off by ")[1].split("%")[0])

    assert kernel_share(Neurons(beta=0.8, kappa=0.0)) == 0.0
    assert kernel_share(Neurons(beta=0.8, kappa=1.0)) > 10
