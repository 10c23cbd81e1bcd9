"""Weight mirrors against autograd: errors that come down through B, and what B learns."""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.measure.locality.audit import certify
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.integrator import I
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network
from neurofdfa.nn.pooling import Flatten, SumPool2d
from neurofdfa.rules import BPTT, SLTT
from neurofdfa.rules.spatial import synapses_above
from neurofdfa.rules.traces import PerSynapse
from neurofdfa.rules.weight_mirror import WeightMirror
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named
from tests.rules.slow import (
    LABELS,
    expect,
    filtered,
    input_spikes,
    layer_leaves,
    learnt,
    psi,
    run_layers,
    tiny,
)


def mirrored(network, rule, x, *, backward=None, seed=11):
    """(learner, gradients by name) of a learner whose B are given, or are the weights themselves."""
    learner = Trainer(network, rule, generator=torch.Generator().manual_seed(seed), engine="reference")
    given = backward or [synapse.weight for synapse in synapses_above(network)]
    with torch.no_grad():
        for b, weight in zip(learner.rule_state.backward, given, strict=True):
            b.copy_(weight)
    found = learner.gradients(x, LABELS)
    return learner, dict(zip((name for name, _ in named(network)), found, strict=True))


@pytest.mark.parametrize("slopes", ["remembered", "now"])
def test_errors_come_down_through_b_and_the_slopes_above(slopes):
    network, x = tiny((6, 5, 4)), input_spikes()
    generator = torch.Generator().manual_seed(2)
    backward = [torch.randn(s.weight.shape, generator=generator).double() for s in synapses_above(network)]
    rule = WeightMirror(slopes=slopes, trace=PerSynapse())
    _, found = mirrored(network, rule, x, backward=backward)
    leaves, kappa = layer_leaves(network), network.readout.kappa
    spikes = run_layers(network, x, leaves)
    with torch.no_grad():
        records = list(network.steps(x))
    slope = [torch.stack([psi(r.layers[k].after.u - 1.0) for r in records]) for k in range(3)]
    if slopes == "remembered":
        weights = filtered(kappa, torch.ones(len(x), 1, 1, dtype=x.dtype))
        slope = [filtered(kappa, s) / weights for s in slope]
    y = torch.stack([r.y for r in records])
    error = (torch.softmax(y, 2) - torch.eye(3)[LABELS]) / len(x)
    signal = error @ backward[2]
    signals = [signal]
    for k in (1, 0):
        signal = (signal * slope[k + 1]) @ backward[k]
        signals.insert(0, signal)
    for index, (own, s) in enumerate(zip(leaves, spikes, strict=True)):
        reward = (filtered(kappa, s) * signals[index]).sum()
        expect(found, index, own, torch.autograd.grad(reward, list(own.values())))


def test_with_the_weights_themselves_and_slopes_of_the_step_it_is_spatial_backpropagation():
    network, x = tiny((6, 5, 4), reset="hard"), input_spikes()
    rule = WeightMirror(slopes="now", trace=PerSynapse())
    _, ours = mirrored(network, rule, x)
    _, spatial = learnt(network, SLTT(trace=PerSynapse()), x)
    for name, gradient in spatial.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)


def test_one_hidden_layer_is_backpropagation_through_time():
    network, x = tiny((6,)), input_spikes()
    _, ours = mirrored(network, WeightMirror(), x)
    _, exact = learnt(network, BPTT(), x)
    for name, gradient in exact.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)


def test_the_way_down_is_nearly_that_of_backpropagation_through_time():
    """Two hidden layers of a soft reset and a readout that forgets slowly: time between spike and error."""
    rules = (WeightMirror(), WeightMirror(slopes="now", trace=PerSynapse()))
    cosines = [[], []]
    for seed in range(4):
        network, x = tiny((12, 10), tau_mem=1e-2, seed=seed), input_spikes(steps=40)
        exact = learnt(network, BPTT(), x)[1]["hidden.0.weight"].flatten()
        for rule, found in zip(rules, cosines, strict=True):
            ours = mirrored(network, rule, x)[1]["hidden.0.weight"].flatten()
            found.append(float(torch.nn.functional.cosine_similarity(ours, exact, 0)))
    remembered, now = (sum(found) / len(found) for found in cosines)
    assert remembered > now
    assert min(cosines[0]) > 0.98


def _dense():
    return tiny((6, 5))


def _images():
    network = Network(
        Conv2d(1, 2, 3, padding=1), LIF(), SumPool2d(2), Conv2d(2, 3, 2, padding=1, stride=2), LIF(),
        Flatten(), Linear(12, 3), I(), input_shape=(1, 4, 4),
    )  # fmt: skip
    return network.double()


@torch.no_grad()
@pytest.mark.parametrize("make", [_dense, _images])
def test_the_estimate_is_the_weights_above_on_average(make):
    network = make()
    learner = Trainer(network, WeightMirror(fraction=1.0), engine="reference")
    state = learner.rule.begin(network, learner.rule_state, Shard(400))
    found = [learner.rule.estimate(network, state) for _ in range(50)]
    for index, synapse in enumerate(synapses_above(network)):
        every = torch.stack([own[index] for own in found])
        weight = synapse.weight.detach()
        error = every.mean(0) - weight
        spread = every.std(0) / 50**0.5
        assert float((error.abs() / spread.clamp(min=1e-12)).max()) < 5
        assert (
            float(torch.nn.functional.cosine_similarity(every.mean(0).flatten(), weight.flatten(), 0)) > 0.99
        )


def test_b_follows_weights_that_move():
    network, x = tiny((6, 5)), input_spikes(batch=64, steps=20)
    target = torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(1))
    learner = Trainer(
        network, WeightMirror(), torch.optim.Adam(network.parameters(), lr=1e-2), engine="reference"
    )
    for _ in range(30):
        learner.step(x, target)
    for b, synapse in zip(learner.rule_state.backward, synapses_above(network), strict=True):
        assert (
            float(torch.nn.functional.cosine_similarity(b.flatten(), synapse.weight.detach().flatten(), 0))
            > 0.98
        )


def test_it_reads_no_weight_of_another_layer_and_says_what_else_crosses():
    found = certify(WeightMirror(), tiny((6, 5, 4)))
    reads = {(v.layer, v.reads) for v in found.violations}
    assert {source for _, source in reads if source.endswith("weights")} == set()
    assert {("layer1", "layer2.state"), ("layer1", "layer2.drive tangents")} <= reads
    assert ("layer3", "readout.drive tangents") in reads
    assert found.local_in_time
    assert not WeightMirror().local_in_space


def test_settings_are_checked():
    with pytest.raises(UserError, match="fraction"):
        WeightMirror(fraction=0.0)
    with pytest.raises(UserError, match="remembered or now"):
        WeightMirror(slopes="later")
