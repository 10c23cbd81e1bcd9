"""Falling back, and refusing what does not fit."""

import warnings

import pytest
import torch

from neurofdfa import events
from neurofdfa.errors import UserError
from neurofdfa.events import EventTrainer, notice
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DFA, FDFA, SBD, STLLR, EProp
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.device import Device
from neurofdfa.train.trainer import Trainer


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "_told", set())


def test_events_by_default_and_reference_on_request() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    assert type(events.learner(network, DFA())) is EventTrainer
    assert type(events.learner(network, DFA(), engine="reference")) is Trainer
    with pytest.raises(UserError, match="events or reference"):
        events.learner(network, DFA(), engine="fast")  # type: ignore[arg-type]


def test_one_notice_when_it_falls_back() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    hard = feed_forward(8, [16], 3, neuron=LIF(reset="hard", decay_bits=None))
    with pytest.warns(UserWarning, match="for soft detached resets only: using the reference"):
        assert type(events.learner(hard, DFA(trace=PerSynapse()))) is Trainer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(events.learner(hard, DFA(trace=PerSynapse()))) is Trainer
    with pytest.warns(UserWarning, match="not those per neuron: using the reference"):
        assert type(events.learner(network, DFA(trace=PerNeuron(downstream=True)))) is Trainer
    adaptive = feed_forward(8, [16], 3, neuron=LIF(adaptation=0.1, reset="soft", decay_bits=None))
    with pytest.warns(UserWarning, match="no adaptive thresholds and one time constant per layer: using"):
        assert type(events.learner(adaptive, DFA())) is Trainer
    with pytest.warns(UserWarning, match="the rule 's-tllr'"):
        assert type(events.learner(network, STLLR(feedback="random"))) is Trainer
    dropped = feed_forward(8, [16, 16], 3, dropout=0.1, neuron=LIF(reset="soft", decay_bits=None))
    with pytest.warns(UserWarning, match="no symmetric feedback through layers with dropout"):
        assert type(events.learner(dropped, EProp(feedback="symmetric"))) is Trainer
    with pytest.warns(UserWarning, match="no regularisers for sbd"):
        assert type(events.learner(network, SBD(power=0.1))) is Trainer
    with pytest.warns(UserWarning, match="no updates inside a sequence with"):
        assert type(events.learner(network, FDFA(weighting="error"), update_every=2)) is Trainer
    with pytest.warns(UserWarning, match="drop is set: using the reference"):
        impaired = events.learner(network, FDFA(), impairments=Device(drop=0.5))
    assert impaired.impairments.drop == 0.5


def test_bad_batches_are_refused() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    learner = EventTrainer(network, DFA(), threads=1)
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
        EventTrainer(network, SBD(power=0.1))
    with pytest.raises(UserError, match="chunk"):
        EventTrainer(network, DFA(), chunk=0)
    with pytest.raises(UserError):
        events.run(network, torch.zeros(4, 2, 9))
