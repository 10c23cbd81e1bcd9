import copy

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import (
    SURROGATE,
    reference_gradients,
    relative,
    sequence_loss,
    simulate,
    small_network,
    spec_of,
    spike_train,
    weights_of,
)

X, LABELS = spike_train(), torch.tensor([0, 1, 2, 1])


def network_with(**settings):
    lif = LIF(
        tau_mem=6e-3,
        tau_syn=2e-3,
        reset="hard",
        reset_gradient="attached",
        surrogate=SURROGATE,
        decay_bits=None,
    )
    return small_network(lif=lif, hidden=[6, 5], bias=True, **settings)


def test_one_step_of_sgd_follows_the_exact_gradient():
    network = network_with()
    before = [p.detach().clone() for p in network.parameters()]
    expected = reference_gradients(network, X, LABELS, "every-step")
    stats = Trainer(
        network,
        BPTT(),
        torch.optim.SGD(network.parameters(), lr=0.5),
        engine="reference",
    ).step(X, LABELS)
    for p, old, g in zip(network.parameters(), before, expected, strict=True):
        assert relative(old - p.detach(), 0.5 * g) < 1e-10
    assert not stats.scores.requires_grad


def test_gradients_change_nothing():
    network = network_with(dropout=0.3)
    twin = copy.deepcopy(network)
    one, two = (
        Trainer(n, BPTT(), generator=torch.Generator().manual_seed(1), engine="reference")
        for n in (network, twin)
    )
    for _ in range(3):
        one.step(X, LABELS)
        two.gradients(X, LABELS)
        two.step(X, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_rate_penalty_is_in_the_gradient():
    network = network_with()
    target = RateRegulariser(rate=0.1, strength=0.7)
    w = weights_of(network, requires_grad=True)
    done = simulate(w, X, spec_of(network))
    penalty = sum(0.35 * (s.mean((0, 1)) - 0.1).square().sum() for s in done.spikes)
    loss = sequence_loss(done.y, LABELS, "every-step") + penalty
    expected = torch.autograd.grad(loss, list(w.values()))
    got = Trainer(network, BPTT(), rate_regulariser=target, engine="reference").gradients(X, LABELS)
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


def test_it_learns():
    network = network_with()
    bptt = Trainer(
        network,
        BPTT(),
        torch.optim.Adam(network.parameters(), lr=0.02),
        engine="reference",
    )
    losses = [float(bptt.step(X, LABELS).loss) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_bad_batches():
    with pytest.raises(UserError, match="5 input channels"):
        Trainer(network_with(), BPTT(), engine="reference").step(X[:, :, :2], LABELS)
    with pytest.raises(UserError, match="labels from 0 to 2"):
        Trainer(network_with(), BPTT(), engine="reference").gradients(X, LABELS + 1)
