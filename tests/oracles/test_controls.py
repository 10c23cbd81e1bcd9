"""Controls: no feedback means no learning, wrong feedback means harm, Kolen-Pollack feedback converges."""

import copy

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.rules import DFA, DKP, FDFA
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, named, sequence_loss, small_network, spike_train

X, LABELS = spike_train(steps=12, batch=24), torch.arange(24) % 3
RULES = [DFA(), FDFA(momentum=0.2), DKP()]


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def network_with(hidden=(6,), **settings):
    return small_network(
        lif=LIF(tau_mem=6e-3, surrogate=SURROGATE, reset="soft", decay_bits=None),
        hidden=list(hidden),
        **settings,
    )


@pytest.mark.parametrize("make", [sgd(0.1), lambda p: torch.optim.Adam(p, lr=0.1)])
def test_no_feedback_no_hidden_learning(make):
    network = network_with((6, 5), bias=True, recurrent=True)
    before = {n: p.detach().clone() for n, p in named(network)}
    learner = Trainer(network, DFA(scale=0.0), make(network.parameters()), engine="reference")
    assert all(not b.any() for b in learner.rule_state.matrices)
    for _ in range(3):
        learner.step(X, LABELS)
    for name, p in named(network):
        assert torch.equal(p, before[name]) == name.startswith("hidden"), name


def test_fdfa_starts_without_feedback():
    """Its first sequence cannot move a hidden layer; its second can."""
    network = network_with((6, 5))
    before = [layer.synapse.weight.detach().clone() for layer in network.hidden]
    learner = Trainer(network, FDFA(), sgd(0.1)(network.parameters()), engine="reference")
    learner.step(X, LABELS)
    assert all(torch.equal(a, b.synapse.weight) for a, b in zip(before, network.hidden, strict=True))
    learner.step(X, LABELS)
    assert not any(torch.equal(a, b.synapse.weight) for a, b in zip(before, network.hidden, strict=True))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_flipped_feedback_climbs_the_loss(sign):
    """The readout is frozen, so the hidden layer alone moves the loss."""
    network = network_with((12,), readout_gain=1.5)
    rule = DFA(trace=PerSynapse())
    frozen = [p for n, p in named(network) if n.startswith("hidden")]
    learner = Trainer(network, rule, torch.optim.SGD(frozen, lr=0.02), engine="reference")
    learner.rule_state.matrices[0].copy_(sign * network.readout.synapse.weight.t())
    start = float(sequence_loss(network.run(X).y, LABELS, "every-step"))
    for _ in range(15):
        for p in network.parameters():  # the frozen readout's gradient is nobody's to clear
            p.grad = None
        learner.step(X, LABELS)
    end = float(sequence_loss(network.run(X).y, LABELS, "every-step"))
    assert end < 0.9 * start if sign > 0 else end > 1.1 * start


@pytest.mark.parametrize(("make", "lr"), [(sgd(0.05), 0.05), (lambda p: torch.optim.Adam(p, lr=0.01), 0.01)])
@pytest.mark.parametrize("readout", ["integrator", "leaky"])
@pytest.mark.parametrize("update_every", [None, 5])
def test_kolen_pollack_difference_decays_geometrically(make, lr, readout, update_every):
    """The same update to B and W_oᵀ and the same decay λ: B − W_oᵀ shrinks by 1 − λ per update, exactly."""
    network = network_with((6,), readout=readout)
    learner = Trainer(
        network, DKP(decay=0.8), make(network.parameters()), update_every=update_every, engine="reference"
    )
    w_out, b = network.readout.synapse.weight, learner.rule_state.matrices[0]
    start = (b - w_out.t()).detach()
    moved = w_out.detach().clone()
    updates = 0
    for _ in range(6):
        learner.step(X, LABELS)
        updates += 1 if update_every is None else 3  # 12 steps: after 5, after 10, at the end
        torch.testing.assert_close(
            (b - w_out.t()).detach(), start * (1 - lr * 0.8) ** updates, rtol=1e-9, atol=1e-12
        )
    assert float((w_out - moved).detach().norm()) > 1e-2, "and not because nothing moved"


def test_kolen_pollack_without_decay_keeps_its_difference():
    network = network_with((6,))
    learner = Trainer(network, DKP(decay=0.0), sgd(0.05)(network.parameters()), engine="reference")
    start = (learner.rule_state.matrices[0] - network.readout.synapse.weight.t()).detach()
    for _ in range(4):
        learner.step(X, LABELS)
    now = (learner.rule_state.matrices[0] - network.readout.synapse.weight.t()).detach()
    torch.testing.assert_close(now, start, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_learning_lowers_the_loss_with_plain_sgd(rule):
    """SGD, because Adam would hide a wrongly scaled feedback."""
    network = network_with((12, 10))
    learner = Trainer(
        network,
        rule,
        sgd(0.1)(network.parameters()),
        generator=torch.Generator().manual_seed(1),
        engine="reference",
    )
    losses = [float(learner.step(X, LABELS).loss) for _ in range(40)]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("rule", RULES[1:])
def test_hidden_learning_adds_to_the_readout(rule):
    """Frozen hidden layers against learning ones, from the same start; the two rules that learn feedback."""
    network = network_with((12,))
    frozen = copy.deepcopy(network)
    free = Trainer(
        network,
        rule,
        sgd(0.05)(network.parameters()),
        generator=torch.Generator().manual_seed(1),
        engine="reference",
    )
    held = Trainer(frozen, DFA(scale=0.0), sgd(0.05)(frozen.parameters()), engine="reference")
    for _ in range(60):
        free_loss = float(free.step(X, LABELS).loss)
        held_loss = float(held.step(X, LABELS).loss)
    assert free_loss < held_loss


def test_losses_reported_are_the_losses_of_the_reference():
    network = network_with()
    y = network.run(X).y
    for when in ("every-step", "last"):
        stats = Trainer(copy.deepcopy(network), DFA(), loss=CrossEntropy(when=when), engine="reference").step(
            X, LABELS
        )
        assert float(stats.loss) == pytest.approx(float(sequence_loss(y, LABELS, when)), rel=1e-12)
