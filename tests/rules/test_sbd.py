"""Score broadcast: R is the running correlation, −R e descends the loss, regularisers are gradients."""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.rules import SBD, Broadcast
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named
from tests.rules.slow import LABELS, errors, filtered, input_spikes, learnt, tiny


@pytest.mark.parametrize("when", ["every-step", "last"])
def test_feedback_is_the_running_correlation_of_activity_and_score(when):
    network, x = tiny(), input_spikes()
    rule = SBD(momentum=0.25, sign="decorrelate")
    learner = Trainer(
        network,
        rule,
        torch.optim.Adam(network.parameters(), lr=1e-9),
        loss=CrossEntropy(when),
        engine="reference",
    )  # the network stands still
    with torch.no_grad():
        spikes = [s.double() for s in network.run(x).spikes]
    e = errors(network, spikes[-1])
    if when == "last":
        e = e * 9 * torch.tensor([0.0] * 8 + [1.0]).view(9, 1, 1)
    expected = [torch.zeros(n, 3, dtype=torch.float64) for n in (6, 5)]
    for _ in range(3):
        learner.step(x, LABELS)
        for index, s in enumerate(spikes):
            z = filtered(network.readout.kappa, s)
            now = torch.einsum("tbn,tbk->nk", z, e) / 4
            expected[index] = 0.75 * expected[index] + 0.25 * now
    for ours, wanted in zip(learner.rule_state.matrices, expected, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-9)
        assert wanted.abs().max() > 1e-3


def blobs(generator, centres):
    """Three noisy patterns of input current, six steps."""
    target = torch.randint(0, 3, (48,), generator=generator)
    inputs = centres[target] + 0.3 * torch.rand(48, 12, generator=generator)
    return inputs.expand(6, 48, 12), target


@pytest.mark.parametrize("depth", [1, 2])
def test_the_sign_against_bptt(depth):
    """While the readout learns, −R e points along the backpropagated error and +R e against it."""
    cosines = {}
    for sign in ("descend", "decorrelate"):
        generator = torch.Generator().manual_seed(1)
        centres = torch.rand(3, 12, generator=generator)
        network = feed_forward(
            12, [24] * depth, 3, generator=generator, neuron=LIF(reset="soft", decay_bits=None)
        )
        scale_to_rate(network, blobs(generator, centres)[0], 0.15)
        # only the readout learns, so that both signs are asked about the same network
        frozen = [p for name, p in named(network) if name.startswith("hidden")]
        kept = [p.clone() for p in frozen]
        learner = Trainer(
            network,
            SBD(sign=sign),
            torch.optim.Adam(network.parameters(), lr=5e-3),
            generator=generator,
            engine="reference",
        )
        for _ in range(8):
            learner.step(*blobs(generator, centres))
            with torch.no_grad():
                for p, value in zip(frozen, kept, strict=True):
                    p.copy_(value)
        batch = blobs(generator, centres)
        ours, exact = (
            learner.gradients(*batch),
            Trainer(network, BPTT(), engine="reference").gradients(*batch),
        )
        pairs = list(zip(ours, exact, strict=True))[:depth]
        cosines[sign] = [float(torch.cosine_similarity(a.flatten(), b.flatten(), 0)) for a, b in pairs]
    assert all(c > 0.3 for c in cosines["descend"]), cosines
    assert all(c < -0.3 for c in cosines["decorrelate"]), cosines
    assert cosines["descend"] == pytest.approx([-c for c in cosines["decorrelate"]], rel=1e-3)


def pull_of(rule, network, x):
    """λ of a one-step sequence with B = 0, and the spikes it was computed from."""
    state = rule.begin(network, rule.init(network, torch.Generator()), Shard(x.shape[1]))
    (record,) = network.steps(x)
    zero = torch.zeros(x.shape[1], 3, dtype=torch.float64)
    signals, _ = rule.signals(network, record, Broadcast(0, 1, 1.0, zero, LABELS), state)
    (signal,) = signals.hidden
    return signal.detach(), record.layers[0].after.s.detach()


def test_regularisers_are_the_gradients_of_their_penalties():
    network, x = tiny((6,), tau_syn=0.0), 4.0 * input_spikes(steps=1)
    batch = x.shape[1]
    for power, decorrelation in ((1.0, 0.0), (0.0, 1.0), (0.7, 2.0)):
        rule = SBD(momentum=1.0, power=power, decorrelation=decorrelation, target_power=0.1)
        signal, spikes = pull_of(rule, network, x)
        rate = spikes.clone().requires_grad_()
        moment = rate.T @ rate / batch
        powers = moment.diagonal()
        apart = moment - torch.diag(powers)
        penalty = power * (powers - 0.1).square().sum() + decorrelation * apart.square().sum()
        (wanted,) = torch.autograd.grad(0.25 * penalty, rate)
        assert wanted.abs().max() > 0
        torch.testing.assert_close(signal, wanted * batch, rtol=1e-10, atol=1e-12)


def test_settings():
    with pytest.raises(UserError, match="momentum"):
        SBD(momentum=0.0)
    _, found = learnt(tiny(), SBD(), input_spikes())
    assert found["hidden.0.weight"].abs().max() == 0  # R starts at zero: no hidden update
