"""What happens after t cannot change what was learnt up to t."""

import copy
from itertools import product

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.rules import DFA, DKP, FDFA
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

X, LABELS, CUT = spike_train(steps=14), torch.tensor([0, 1, 2, 1]), 8


def run(network, rule, x, update_every=None):
    """Everything that learning has touched after each step."""
    learner = Trainer(
        copy.deepcopy(network),
        rule,
        update_every=update_every,
        rate_regulariser=RateRegulariser(),
        generator=torch.Generator().manual_seed(3),
        engine="reference",
    )
    history = []
    stream = learner.stream(x.shape[1], horizon=len(x))
    for x_t in x:
        stream.step(x_t, LABELS)
        tensors = [*learner.network.parameters(), *learner.rule.trainable(learner.rule_state)]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in tensors]
        history.append(([p.detach().clone() for p in tensors], grads))
    stream.end()
    return history


@pytest.mark.parametrize(
    ("rule", "trace", "update_every"),
    list(product((DFA, DKP, FDFA), (PerNeuron(), PerSynapse()), (None, 1, 3))),
)
def test_later_inputs_leave_earlier_learning_untouched(rule, trace, update_every):
    lif = LIF(
        tau_mem=6e-3,
        tau_syn=3e-3,
        reset="hard",
        reset_gradient="attached",
        surrogate=SURROGATE,
        decay_bits=None,
    )
    network = small_network(lif=lif, hidden=[6, 5], readout="leaky", bias=True, recurrent=True)
    changed = X.clone()
    changed[CUT:] = 1.0 - changed[CUT:]
    one = run(network, rule(trace=trace), X, update_every)
    two = run(network, rule(trace=trace), changed, update_every)
    for t, (a, b) in enumerate(zip(one, two, strict=True)):
        same = all(torch.equal(p, q) for kind in (0, 1) for p, q in zip(a[kind], b[kind], strict=True))
        assert same if t < CUT else not same, t
    if update_every == 1:
        moved = [not torch.equal(p, q) for p, q in zip(one[0][0], one[CUT - 1][0], strict=True)]
        assert all(moved), "every parameter must have learnt something by then"
