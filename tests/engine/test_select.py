"""Falling back, and refusing what does not fit."""

import warnings

import pytest
import torch

from neurofdfa import engine
from neurofdfa.engine import EventLearner, notice
from neurofdfa.errors import UserError
from neurofdfa.impairments import Impairments
from neurofdfa.learner import Learner
from neurofdfa.network import feed_forward
from neurofdfa.neuron import LIF
from neurofdfa.signal import DFA, FDFA, SBD, STLLR, EProp
from neurofdfa.trace import PerNeuron, PerSynapse


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "_told", set())


def test_events_by_default_and_reference_on_request() -> None:
    network = feed_forward(8, [16], 3)
    assert type(engine.learner(network, DFA())) is EventLearner
    assert type(engine.learner(network, DFA(), engine="reference")) is Learner
    with pytest.raises(UserError, match="events or reference"):
        engine.learner(network, DFA(), engine="fast")  # type: ignore[arg-type]


def test_one_notice_when_it_falls_back() -> None:
    network = feed_forward(8, [16], 3)
    hard = feed_forward(8, [16], 3, neuron=LIF(reset="hard"))
    with pytest.warns(UserWarning, match="for soft detached resets only: using the reference"):
        assert type(engine.learner(hard, DFA(trace=PerSynapse()))) is Learner
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(engine.learner(hard, DFA(trace=PerSynapse()))) is Learner
    with pytest.warns(UserWarning, match="not those per neuron: using the reference"):
        assert type(engine.learner(network, DFA(trace=PerNeuron(downstream=True)))) is Learner
    adaptive = feed_forward(8, [16], 3, neuron=LIF(adaptation=0.1))
    with pytest.warns(UserWarning, match="no adaptive thresholds and one time constant per layer: using"):
        assert type(engine.learner(adaptive, DFA())) is Learner
    with pytest.warns(UserWarning, match="the rule 's-tllr'"):
        assert type(engine.learner(network, STLLR(feedback="random"))) is Learner
    dropped = feed_forward(8, [16, 16], 3, dropout=0.1)
    with pytest.warns(UserWarning, match="no symmetric feedback through layers with dropout"):
        assert type(engine.learner(dropped, EProp(feedback="symmetric"))) is Learner
    with pytest.warns(UserWarning, match="no regularisers for sbd"):
        assert type(engine.learner(network, SBD(power=0.1))) is Learner
    with pytest.warns(UserWarning, match="no updates inside a sequence with"):
        assert type(engine.learner(network, FDFA(weighting="error"), update_every=2)) is Learner
    with pytest.warns(UserWarning, match="drop is set: using the reference"):
        impaired = engine.learner(network, FDFA(), impairments=Impairments(drop=0.5))
    assert impaired.impairments.drop == 0.5


def test_bad_batches_are_refused() -> None:
    network = feed_forward(8, [16], 3)
    learner = EventLearner(network, DFA(), threads=1)
    x = torch.zeros(4, 2, 8)
    for bad, target in (
        (torch.zeros(4, 2, 9), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(0, 2, 8), torch.zeros(2, dtype=torch.int64)),
        (x, torch.tensor([0, 3])),
        (x, torch.zeros(3, dtype=torch.int64)),
    ):
        with pytest.raises(UserError):
            learner.train(bad, target)
    with pytest.raises(UserError, match="no regularisers for sbd"):
        EventLearner(network, SBD(power=0.1))
    with pytest.raises(UserError, match="chunk"):
        EventLearner(network, DFA(), chunk=0)
    with pytest.raises(UserError):
        engine.run(network, torch.zeros(4, 2, 9))
