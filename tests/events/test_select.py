"""Falling back, and refusing what does not fit."""

import warnings

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.events import notice, run
from neurofdfa.events.trainer import EventEngine
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import BPTT, DFA, FDFA, SBD, STLLR, EProp
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.device import Device
from neurofdfa.train.graph_loop import GraphLoop
from neurofdfa.train.online import OnlineLoop
from neurofdfa.train.sequence_loop import SequenceLoop
from neurofdfa.train.trainer import Trainer


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "_told", set())


def test_events_by_default_and_reference_on_request() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    assert isinstance(Trainer(network, DFA()).executor, EventEngine)
    assert isinstance(Trainer(network, DFA(), engine="reference").executor, OnlineLoop)
    with pytest.raises(UserError, match="auto, events or reference"):
        Trainer(network, DFA(), engine="fast")  # type: ignore[arg-type]


def test_no_notice_where_the_engine_never_applies() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(
            Trainer(feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None)), BPTT()).executor,
            GraphLoop,
        )
    with pytest.raises(UserError, match="goes back through autograd's graph"):
        Trainer(feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None)), BPTT(), engine="events")


def test_one_notice_when_it_falls_back() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    per_neuron = DFA(trace=PerNeuron(downstream=True))
    with pytest.warns(UserWarning, match="not those per neuron: using PyTorch for whole sequences"):
        assert isinstance(Trainer(network, per_neuron).executor, SequenceLoop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(Trainer(network, per_neuron).executor, SequenceLoop)
        for gradient in ("detached", "attached"):
            lif = LIF(reset="hard", reset_gradient=gradient, decay_bits=None)
            hard = feed_forward(8, [16], 3, neuron=lif)
            assert isinstance(Trainer(hard, FDFA(trace=PerSynapse())).executor, EventEngine)
    adaptive = feed_forward(8, [16], 3, neuron=LIF(adaptation=0.1, reset="soft", decay_bits=None))
    with pytest.warns(UserWarning, match="a trace per neuron does not fit neurons with"):
        assert isinstance(Trainer(adaptive, DFA(trace=PerNeuron())).executor, OnlineLoop)
    with pytest.warns(UserWarning, match="the rule 's-tllr'"):
        assert isinstance(Trainer(network, STLLR(feedback="random")).executor, SequenceLoop)
    dropped = feed_forward(8, [16, 16], 3, dropout=0.1, neuron=LIF(reset="soft", decay_bits=None))
    with pytest.warns(UserWarning, match="no symmetric feedback through layers with dropout"):
        assert isinstance(Trainer(dropped, EProp(feedback="symmetric")).executor, SequenceLoop)
    with pytest.warns(UserWarning, match="no regularisers for sbd"):
        assert isinstance(Trainer(network, SBD(power=0.1)).executor, SequenceLoop)
    with pytest.warns(UserWarning, match="no updates inside a sequence with"):
        assert isinstance(Trainer(network, FDFA(weighting="error"), update_every=2).executor, OnlineLoop)
    with pytest.warns(UserWarning, match="drop is set: using the reference"):
        impaired = Trainer(network, FDFA(), device=Device(drop=0.5))
    assert impaired.device.drop == 0.5


def test_long_sequences_with_traces_per_synapse_stay() -> None:
    trainer = Trainer(feed_forward(4, [5], 2), DFA(trace=PerSynapse()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.step(torch.ones(130, 1, 4), torch.tensor([1]))
    assert isinstance(trainer.executor, EventEngine)


def test_bad_batches_are_refused() -> None:
    network = feed_forward(8, [16], 3, neuron=LIF(reset="soft", decay_bits=None))
    learner = Trainer(network, DFA(), engine="events")
    x = torch.zeros(4, 2, 8)
    for bad, target in (
        (torch.zeros(4, 2, 9), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(0, 2, 8), torch.zeros(2, dtype=torch.int64)),
        (x, torch.tensor([0, 3])),
        (x, torch.zeros(3, dtype=torch.int64)),
    ):
        with pytest.raises(UserError):
            learner.step(bad, target)
    with pytest.raises(UserError, match="no regularisers for sbd"):
        Trainer(network, SBD(power=0.1), engine="events")
    with pytest.raises(UserError, match="chunk"):
        Trainer(network, DFA(), chunk=0)
    with pytest.raises(UserError):
        run(network, torch.zeros(4, 2, 9))
