"""Forward-Forward: each layer's goodness loss by autograd, labels written in, prediction by trial."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import MeanSquaredError
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import ForwardForward
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named
from tests.rules.slow import LABELS, expect, filtered, input_spikes, layer_leaves, run_layers, tiny


def overlaid(x, labels, value=1.0):
    changed = x.clone()
    changed[:, :, :3] = value * torch.eye(3, dtype=x.dtype)[labels]
    return changed


def goodness(kappa, spikes, rate):
    kernel = filtered(kappa, torch.ones(spikes.shape[0], 1, 1, dtype=spikes.dtype))
    return (filtered(kappa, spikes) / kernel / rate).square().mean(2)


@pytest.mark.parametrize("trace", [PerSynapse(), PerSynapse(filtered=False), PerNeuron(filtered=False)])
def test_each_layer_follows_its_own_goodness(trace):
    network, x = tiny(recurrent=True), input_spikes()
    rule = ForwardForward(trace=trace, threshold=2.0, rate=0.3, overlay=1.5)
    learner = Trainer(network, rule, generator=torch.Generator().manual_seed(2), engine="reference")
    found = dict(zip((n for n, _ in named(network)), learner.gradients(x, LABELS), strict=True))
    wrong = (LABELS + torch.randint(1, 3, (4,), generator=torch.Generator().manual_seed(2))) % 3
    assert not (wrong == LABELS).any()
    both = torch.cat([overlaid(x, LABELS, 1.5), overlaid(x, wrong, 1.5)], 1)
    kappa = network.readout.kappa if trace.filtered else 0.0
    leaves = layer_leaves(network)
    for index, (own, s) in enumerate(zip(leaves, run_layers(network, both, leaves), strict=True)):
        g = goodness(kappa, s, 0.3)
        loss = torch.nn.functional.softplus(2.0 - g[:, :4]) + torch.nn.functional.softplus(g[:, 4:] - 2.0)
        expect(found, index, own, torch.autograd.grad(loss.sum() / 9, list(own.values())))


def test_the_readout_learns_from_the_input_as_it_is():
    network, x = tiny(), input_spikes()
    found = Trainer(network, ForwardForward(), engine="reference").gradients(x, LABELS)
    exact = Trainer(network, BPTT(), engine="reference").gradients(x, LABELS)
    torch.testing.assert_close(found[-1], exact[-1], rtol=1e-9, atol=1e-12)
    stats = Trainer(network, ForwardForward(), engine="reference").step(x, LABELS)
    assert stats.scores.shape == (4, 3)
    assert float(stats.loss) == pytest.approx(
        float(Trainer(tiny(), BPTT(), engine="reference").step(x, LABELS).loss), rel=1e-9
    )


def test_prediction_tries_every_label():
    network, x = tiny(), input_spikes()
    rule = ForwardForward(rate=0.3)
    scores = Trainer(network, rule, engine="reference").predict(x)
    assert scores.shape == (4, 3)
    for label in range(3):
        spikes = network.run(overlaid(x, torch.full((4,), label))).spikes
        wanted = sum(goodness(network.readout.kappa, s, 0.3)[-1] for s in spikes)
        torch.testing.assert_close(scores[:, label], wanted, rtol=1e-9, atol=1e-12)
    plain = Trainer(network, ForwardForward(predict_from="readout"), engine="reference").predict(x)
    torch.testing.assert_close(plain, network.decode(network.run(x).y))


def test_it_learns_to_tell_true_pairs_from_wrong_ones():
    """Two classes of pattern: after training the right label is the livelier one for most samples."""
    generator = torch.Generator().manual_seed(0)
    network = feed_forward(14, [30], 3, generator=generator, neuron=LIF(reset="soft", decay_bits=None))
    rule = ForwardForward(threshold=2.0)
    learner = Trainer(network, rule, generator=generator, engine="reference")
    centres = (torch.rand(3, 11, generator=generator) < 0.5).float()

    def batch(size):
        target = torch.randint(0, 3, (size,), generator=generator)
        pattern = centres[target] * 0.7 + 0.3 * torch.rand(size, 11, generator=generator)
        return torch.cat([torch.zeros(size, 3), pattern], 1).expand(6, size, 14), target

    x, target = batch(100)
    for _ in range(120):
        learner.step(*batch(40))
    assert (learner.predict(x).argmax(1) == target).float().mean() > 0.8


def test_bad_input():
    with pytest.raises(UserError, match="at least two labels"):
        Trainer(
            feed_forward(2, [4], 3, neuron=LIF(reset="soft", decay_bits=None)),
            ForwardForward(),
            engine="reference",
        )
    with pytest.raises(UserError, match="class numbers"):
        Trainer(tiny(), ForwardForward(), loss=MeanSquaredError(), engine="reference").step(
            input_spikes(), torch.zeros(4, 3, dtype=torch.float64)
        )
    with pytest.raises(UserError, match="threshold"):
        ForwardForward(threshold=0.0)
