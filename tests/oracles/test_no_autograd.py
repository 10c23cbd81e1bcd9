"""Online training never touches autograd, and its memory does not grow with the sequence."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DFA, DKP, FDFA, ReadoutOnly
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import spike_train

LABELS = torch.tensor([0, 1, 2, 1])
RULES = [
    FDFA(),
    FDFA(kernel="output", fraction=0.5, optimizer="adam", probe="gaussian"),
    FDFA(trace=PerSynapse()),
    DFA(),
    DKP(),
    ReadoutOnly(),
]


@pytest.fixture
def autograd_raises(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("autograd was called")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("readout", ["leaky", "spike-count"])
def test_training_without_autograd(autograd_raises, rule, readout):
    lif = LIF(reset="hard", reset_gradient="attached", tau_syn=2e-3, decay_bits=None)
    network = feed_forward(5, [8, 7], 3, neuron=lif, readout=readout, bias=True, recurrent=True, dropout=0.1)
    learner = Trainer(network, rule, update_every=4, rate_regulariser=RateRegulariser(), engine="reference")
    before = [p.detach().clone() for p in network.parameters()]
    seen_grad_mode = []
    step = network.step

    def watched(*arguments):
        seen_grad_mode.append(torch.is_grad_enabled())
        result = step(*arguments)
        assert not result.y.requires_grad
        return result

    network.step = watched
    x = spike_train(steps=10).float()
    with torch.enable_grad():  # a caller's grad mode must not leak in
        for _ in range(3):
            stats = learner.step(x, LABELS)
            learner.gradients(x, LABELS)
    assert seen_grad_mode
    assert not any(seen_grad_mode)
    assert not stats.scores.requires_grad
    state = [t for t in tree_leaves(tuple(learner.rule_state or ())) if isinstance(t, torch.Tensor)]
    assert all(t.grad_fn is None and not t.requires_grad for t in state)
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert any(moved)


def test_bptt_does_use_autograd(autograd_raises):
    """So the patch above is known to bite."""
    with pytest.raises(AssertionError, match="autograd was called"):
        Trainer(feed_forward(5, [8], 3), BPTT(), engine="reference").step(spike_train().float(), LABELS)


class PeakBytes(TorchDispatchMode):
    """Bytes of all storages that operations returned and that are still alive, and their peak."""

    def __init__(self):
        super().__init__()
        self.live = 0
        self.peak = 0
        self.sizes = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in (out,) if isinstance(out, torch.Tensor) else tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = id(storage)
                if key not in self.sizes:
                    self.sizes[key] = (
                        weakref.ref(storage, lambda _, key=key: self.freed(key)),
                        storage.nbytes(),
                    )
                    self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        return out

    def freed(self, key):
        self.live -= self.sizes.pop(key)[1]


def peak(trainer, steps):
    x = torch.zeros(1, 2, 40).expand(steps, -1, -1)  # the input itself takes no memory
    trainer.step(x[:3], torch.tensor([0, 1]))  # optimizer state and gradients exist from here on
    with PeakBytes() as counter:
        trainer.step(x, torch.tensor([0, 1]))
    return counter.peak


@pytest.mark.parametrize("rule", [FDFA(trace=PerSynapse()), DKP()])
def test_memory_is_flat_over_time(rule):
    peaks = [
        peak(Trainer(feed_forward(40, [30, 30], 4), rule, engine="reference"), steps) for steps in (50, 200)
    ]
    assert peaks[0] > 0
    assert peaks[1] == peaks[0]


def test_memory_of_long_sequences():
    """T = 5000 costs what T = 50 costs, to the byte."""
    network = feed_forward(40, [30], 4)
    peaks = [
        peak(Trainer(network, FDFA(kernel="output"), engine="reference"), steps) for steps in (50, 500, 5000)
    ]
    assert peaks[0] > 0
    assert peaks[2] == peaks[1] == peaks[0]


def test_memory_of_bptt_grows():
    """The same counter on the reference."""
    peaks = [
        peak(Trainer(feed_forward(40, [30], 4), BPTT(), engine="reference"), steps) for steps in (50, 500)
    ]
    assert peaks[1] > 8 * peaks[0]
