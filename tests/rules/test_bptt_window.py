"""Truncated backpropagation through time."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.rules.slow import LABELS, input_spikes, spike, tiny


def cut_by_hand(network, x, window, loss_steps):
    """Gradient of the same sequence, state detached by hand at every multiple of `window`."""
    lif, kappa = network.hidden[0].neuron, network.readout.kappa
    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]
    first, recurrent, out = weights
    i = u = s = x.new_zeros(x.shape[1], first.shape[0])
    y = x.new_zeros(x.shape[1], 3)
    loss = x.new_zeros(())
    for t in range(x.shape[0]):
        if t % window == 0:
            i, u, s, y = (v.detach() for v in (i, u, s, y))
        i = lif.alpha * i + x[t] @ first.T + s @ recurrent.T
        u = lif.beta * u + i - lif.v_threshold * s.detach()
        s = spike(u - lif.v_threshold)
        y = kappa * y + s @ out.T
        if t in loss_steps:
            loss = loss + torch.nn.functional.cross_entropy(y, LABELS) / len(loss_steps)
    return torch.autograd.grad(loss, weights)


@pytest.mark.parametrize("window", [1, 2, 4, 9])
@pytest.mark.parametrize("when", ["every-step", "last"])
def test_gradients_reach_back_one_window(window, when):
    network, x = tiny((6,), recurrent=True), input_spikes(steps=9)
    found = Trainer(network, BPTT(window=window), loss=CrossEntropy(when), engine="reference").gradients(
        x, LABELS
    )
    steps = range(9) if when == "every-step" else [8]
    for ours, wanted in zip(found, cut_by_hand(network, x, window, steps), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-13)
        assert wanted.abs().max() > 0


def test_a_window_as_long_as_the_sequence_changes_nothing():
    x = input_spikes(steps=9)
    ends = []
    for window in (None, 9, 50):
        network = tiny(readout="spike-count")
        trainer = Trainer(
            network, BPTT(window=window), rate_regulariser=RateRegulariser(strength=0.1), engine="reference"
        )
        stats = [trainer.step(x, LABELS) for _ in range(3)][-1]
        ends.append((*network.parameters(), *stats))
    for other in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], other, strict=True))


def test_measures_do_not_depend_on_the_window():
    x = input_spikes(steps=9)
    whole, cut = (
        Trainer(tiny(), BPTT(window=w), rate_regulariser=RateRegulariser(), engine="reference").step(
            x, LABELS
        )
        for w in (None, 4)
    )
    for name in ("scores", "rates", "psi_zero"):
        torch.testing.assert_close(getattr(whole, name), getattr(cut, name))


def test_an_empty_window_is_refused():
    with pytest.raises(UserError, match="at least 1 step"):
        Trainer(tiny(), BPTT(window=0), engine="reference")
