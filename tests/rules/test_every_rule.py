"""What holds for every rule: it learns, forward in time, repeatably, from what it says that it reads."""

import copy

import pytest
import torch
from torch.utils._pytree import tree_leaves

from neurofdfa.data.digits import digits
from neurofdfa.data.encode import direct
from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import NetworkStep, feed_forward, scale_to_rate
from neurofdfa.rules import RULES, Broadcast, rule_named
from neurofdfa.rules.s_tllr import SpikeTiming
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.state import pack, unpack
from neurofdfa.train.trainer import Trainer
from tests.rules.slow import tiny

VARIANTS = [
    *((name, {}) for name in RULES if rule_named(name).through_time is None),
    ("e-prop", {"feedback": "symmetric"}),
    ("e-prop", {"feedback": "learnt"}),
    ("e-prop", {"trace": PerNeuron()}),
    ("local-loss", {"trace": PerNeuron(filtered=False)}),
    ("s-tllr", {"feedback": "random"}),
    ("sbd", {"power": 1.0, "decorrelation": 1.0}),
    ("weight-forward-gradient", {"shared": True}),
    ("guided-forward-gradient", {"target": "local", "guess": "random"}),
    ("guided-forward-gradient", {"target": "local"}),
    ("guided-forward-gradient", {"guess": "random"}),
]
EVERY = pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=["-".join([n, *map(str, s.values())]) for n, s in VARIANTS]
)
LABELS = torch.tensor([0, 1, 2, 1])


@pytest.fixture(scope="module")
def data():
    return digits(6, direct)


def accuracy_after(name, settings, data, *, epochs=3, lr=5e-3):
    """Validation accuracy of 64-24-10 after a few epochs, in percent; the same start for every rule."""
    generator = torch.Generator().manual_seed(0)
    network = feed_forward(64, [24], 10, generator=generator, neuron=LIF(reset="soft", decay_bits=None))
    scale_to_rate(network, direct(data.train.inputs[:128], 6), 0.06)
    learner = Trainer(
        network,
        rule_named(name, **settings),
        torch.optim.Adam(network.parameters(), lr=lr),
        generator=generator,
        engine="reference",
    )
    order = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for index in torch.randperm(len(data.train), generator=order).split(48):
            learner.step(direct(data.train.inputs[index], 6), data.train.targets[index])
    scores = learner.predict(direct(data.validation.inputs, 6))
    return 100 * float((scores.argmax(1) == data.validation.targets).float().mean())


@pytest.fixture(scope="module")
def control(data):
    return accuracy_after("readout-only", {}, data)


@EVERY
def test_it_learns_digits_better_than_the_readout_alone(name, settings, data, control):
    if name == "readout-only":
        assert 30 < control < 75  # room above, and something learnt
        return
    # one dense direction for a whole batch carries too little to beat anything in three epochs
    margin = -10 if settings == {"shared": True} else 5
    assert accuracy_after(name, settings, data) > control + margin


@pytest.fixture
def autograd_raises(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("autograd was called")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)


def trained(name, settings, *, readout="leaky", steps=6, update_every=4, seed=0, x=None):
    """A recurrent network with all the trimmings after two sequences."""
    generator = torch.Generator().manual_seed(seed)
    lif = LIF(reset="hard", reset_gradient="attached", tau_syn=2e-3, decay_bits=None)
    network = feed_forward(
        5, [8, 7], 3, neuron=lif, readout=readout, bias=True, recurrent=True, dropout=0.1, generator=generator
    )
    learner = Trainer(
        network,
        rule_named(name, **settings),
        update_every=update_every,
        rate_regulariser=RateRegulariser(),
        generator=generator,
        engine="reference",
    )
    if x is None:
        x = (torch.rand(steps, 4, 5, generator=generator) < 0.5).float() * 2.0
    with torch.enable_grad():  # a caller's grad mode must not leak in
        for _ in range(2):
            stats = learner.step(x, LABELS)
    return learner, stats


@EVERY
@pytest.mark.parametrize("readout", ["leaky", "spike-count"])
def test_no_autograd_no_nan_and_the_same_again(autograd_raises, name, settings, readout):
    learner, stats = trained(name, settings, readout=readout)
    assert stats.scores.shape == (4, 3)
    assert torch.isfinite(stats.loss)
    state = [t for t in tree_leaves(tuple(learner.rule_state or ())) if isinstance(t, torch.Tensor)]
    assert all(t.grad_fn is None and not t.requires_grad and torch.isfinite(t).all() for t in state)
    again, stats_again = trained(name, settings, readout=readout)
    assert torch.equal(stats.loss, stats_again.loss)
    for a, b in zip(learner.network.parameters(), again.network.parameters(), strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


@EVERY
def test_training_goes_on_from_a_saved_state(name, settings):
    whole, _ = trained(name, settings)
    saved = {key: value.clone() for key, value in pack(whole, {}).items()}
    resumed, _ = trained(name, settings, seed=5)
    unpack(saved, resumed, {})
    x = torch.ones(5, 4, 5)
    for learner in (whole, resumed):
        learner.step(x, LABELS)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


@EVERY
def test_silence_teaches_nothing_wrong(name, settings):
    learner, stats = trained(name, settings, x=torch.zeros(6, 4, 5))
    assert torch.isfinite(stats.loss)
    assert all(torch.isfinite(p).all() for p in learner.network.parameters())


@EVERY
def test_memory_does_not_grow_with_the_sequence(name, settings):
    held = []
    for steps in (4, 20):
        learner, _ = trained(name, settings, steps=steps)
        x = torch.ones(4, 5)
        stream = learner.stream(4, horizon=steps)
        for _ in range(steps - 1):
            stream.step(x, LABELS)
        tensors = tree_leaves((tuple(learner.rule_state or ()), stream.loop.sequence))
        held.append(sum(t.numel() for t in tensors if isinstance(t, torch.Tensor)))
    assert rule_named(name, **settings).local_in_time
    assert held[0] == held[1]


def heard_by(rule, network, steps, error, batch):
    """What the layers are told over a recorded sequence: λ per step and layer, or their direct gradients."""
    state = rule.begin(network, rule.init(network, torch.Generator().manual_seed(3)), Shard(batch))
    for index, tensor in enumerate(rule.trainable(state)):  # feedback that starts at zero tells nothing
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(index)))
    for t, step in enumerate(steps):
        target = torch.tensor([2]).expand(batch)
        signals, state = rule.signals(
            network, step, Broadcast(t, len(steps), 1.0 / len(steps), error[t], target), state
        )
        yield signals


def recorded(rule, network, x):
    """The steps of a network on what the rule shows it."""
    batch = x.shape[1]
    state = rule.begin(network, rule.init(network, torch.Generator().manual_seed(3)), Shard(batch))
    shown = [rule.present(network, x_t, torch.tensor([2]).expand(batch), state) for x_t in x]
    return list(network.steps(torch.stack(shown)))


def told(rule, network, steps, error, layer):
    """λ of one layer over time, or its direct weight gradients up to the scalar that is broadcast."""
    out = []
    for signals in heard_by(rule, network, steps, error, 1):
        if signals.hidden[layer] is not None:
            out.append(signals.hidden[layer])
        elif signals.direct is not None and signals.direct[layer] is not None:
            gradient = torch.cat([g.flatten() for g in signals.direct[layer] if g is not None])
            norm = gradient.norm()
            if norm > 0:
                gradient = gradient / norm
                out.append(gradient * torch.sign(gradient[gradient.abs().argmax()]))
    return out


@EVERY
@torch.no_grad()
def test_a_layer_that_claims_locality_ignores_all_others(name, settings):
    """Other layers are replaced by another network's, weights and spikes; the broadcast stays what it was."""
    rule = rule_named(name, **settings)
    network, other = tiny((6, 5, 4), recurrent=True), tiny((6, 5, 4), recurrent=True, seed=8)
    generator = torch.Generator().manual_seed(0)
    x, elsewhere = ((torch.rand(7, 1, 7, generator=generator) < 0.6).double() for _ in range(2))
    error = torch.randn(7, rule.passes, 3, generator=generator, dtype=torch.float64)
    steps, foreign = recorded(rule, network, x), recorded(rule, other, elsewhere)
    unmoved = []
    for layer in range(3):
        hybrid = copy.deepcopy(other)
        with torch.no_grad():
            for theirs, own in zip(
                hybrid.hidden[layer].parameters(), network.hidden[layer].parameters(), strict=True
            ):
                theirs.copy_(own)
        mixed = [
            NetworkStep((*b.layers[:layer], a.layers[layer], *b.layers[layer + 1 :]), b.readout)
            for a, b in zip(steps, foreign, strict=True)
        ]
        alone, before = told(rule, hybrid, mixed, error, layer), told(rule, network, steps, error, layer)
        if name != "readout-only":
            assert before
            assert any(signal.abs().max() > 0 for signal in before)
        unmoved.append(
            all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(alone, before, strict=True))
        )
    assert all(unmoved) == rule.local_in_space


def test_names_and_settings_are_checked():
    with pytest.raises(UserError, match="unknown rule 'backprop'"):
        rule_named("backprop")
    with pytest.raises(UserError, match="does not take"):
        rule_named("drtp", speed=3)
    with pytest.raises(UserError, match="unknown trace 'forever'"):
        rule_named("e-prop", trace="forever")
    with pytest.raises(UserError, match="trace 'instant' does not take"):
        rule_named("sltt", trace={"kind": "instant", "filtered": True})
    assert rule_named("e-prop", trace="per-neuron").trace == PerNeuron()
    timing = rule_named("s-tllr", trace={"kind": "spike-timing", "decay_pre": 0.5}).trace
    assert timing == SpikeTiming(decay_pre=0.5)
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.source
