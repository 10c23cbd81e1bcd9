"""Convolutional networks against autograd, and every rule on them against its dense self.

The oracle is the dense one of `tests.oracles.reference`, on matrices in which the shared weights stand.
"""

from itertools import product

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DFA, DKP, FDFA, RULES, SBD, EProp, WeightForwardGradient, rule_named
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.layers import conv_layer, pool_layer
from tests.oracles.convolution import dense_twin, lowered, matrix_of, tied
from tests.oracles.reference import (
    SURROGATE,
    hard_spike,
    named,
    relative,
    remembering,
    sequence_loss,
    simulate,
    spec_of,
    weights_of,
)

SHAPE = (2, 6, 6)
LABELS = torch.tensor([0, 1, 2, 1])
ONE = [conv_layer(3, 3), pool_layer(2)]
DEEP = [pool_layer(2), conv_layer(3, 3, padding=1), conv_layer(2, 3, padding=1), pool_layer(3), 5]
RESETS = list(product(("soft", "hard"), ("detached", "attached")))


def network_of(hidden, reset="soft", gradient="detached", tau_syn=2e-3, seed=6, **settings):
    lif = LIF(
        tau_mem=6e-3,
        tau_syn=tau_syn,
        reset=reset,
        reset_gradient=gradient,
        surrogate=SURROGATE,
        decay_bits=None,
    )
    generator = torch.Generator().manual_seed(seed)
    settings = {"readout": "leaky", "tau_out": 5e-3} | settings
    network = feed_forward(72, hidden, 3, shape=SHAPE, neuron=lif, **settings).double()
    network.initialise(generator, gain=1.6, recurrent_gain=0.6, readout_gain=0.8)
    with torch.no_grad():
        for name, tensor in named(network):
            if name.endswith("bias"):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return network


def spikes(steps=8, batch=4, rate=0.4, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, 72, generator=generator) < rate).double()


def reference_gradients(network, x, when, spec=None):
    w = weights_of(network, requires_grad=True)
    done = simulate(lowered(network, w), x, spec or spec_of(network))
    loss = sequence_loss(done.y, LABELS, when)
    return torch.autograd.grad(loss, list(w.values()), materialize_grads=True)


@pytest.mark.parametrize("settings", [{}, {"bias": True}, {"recurrent": True, "bias": True}])
def test_spikes_are_those_of_the_dense_twin(settings):
    network, x = network_of(DEEP, **settings), spikes(steps=12)
    wanted = simulate(lowered(network, weights_of(network)), x, spec_of(network))
    found = network.run(x)
    torch.testing.assert_close(found.y, wanted.y)
    for ours, theirs in zip(found.spikes, wanted.spikes, strict=True):
        assert 5 < ours.sum() < 0.9 * ours.numel()
        assert torch.equal(ours, theirs.detach())


@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize("when", ["every-step", "last"])
def test_with_the_transposed_path_the_online_gradient_is_the_gradient(reset, gradient, when):
    """One convolution, a pool and a readout; traces per synapse are exact for every reset."""
    network, x = network_of(ONE, reset, gradient, bias=True), spikes()
    wanted = reference_gradients(network, x, when)
    rule = EProp(feedback="symmetric", trace=PerSynapse())
    for found in (
        Trainer(network, rule, loss=CrossEntropy(when=when), engine="reference").gradients(x, LABELS),
        Trainer(network, BPTT(), loss=CrossEntropy(when=when), engine="reference").gradients(x, LABELS),
    ):
        for ours, theirs in zip(found, wanted, strict=True):
            assert float(theirs.norm()) > 1e-4
            assert relative(ours, theirs) < 1e-10


def test_traces_per_neuron_are_exact_where_they_say_so():
    """A soft, detached reset and a readout without memory."""
    network, x = network_of(ONE, bias=True, **remembering(0.0)), spikes()
    rule = EProp(feedback="symmetric", trace=PerNeuron())
    found = Trainer(network, rule, engine="reference").gradients(x, LABELS)
    for ours, theirs in zip(found, reference_gradients(network, x, "every-step"), strict=True):
        assert relative(ours, theirs) < 1e-10


def test_a_mismatched_reset_is_noticed():
    network, x = network_of(ONE), spikes()
    wrong = spec_of(network)._replace(hard=True)
    found = Trainer(network, EProp(feedback="symmetric"), engine="reference").gradients(x, LABELS)
    assert relative(found[0], reference_gradients(network, x, "every-step", wrong)[0]) > 1e-2


@pytest.mark.parametrize("recurrent", [False, True])
def test_backpropagation_through_time_of_a_deep_one(recurrent):
    network, x = network_of(DEEP, gradient="attached", bias=True, recurrent=recurrent), spikes()
    found = Trainer(network, BPTT(), engine="reference").gradients(x, LABELS)
    for ours, theirs in zip(found, reference_gradients(network, x, "every-step"), strict=True):
        assert relative(ours, theirs) < 1e-10


@pytest.mark.parametrize("recurrent", [False, True])
def test_tangents_are_those_of_forward_mode(recurrent):
    network, x = network_of(DEEP, gradient="attached", recurrent=recurrent), spikes()
    generator = torch.Generator().manual_seed(2)
    probes = [
        tuple(torch.randn(4, layer.n, generator=generator, dtype=torch.float64) for layer in network.hidden)
        for _ in x
    ]
    tangent, found = initial_tangent(network, 4), []
    with torch.no_grad():
        for step, v in zip(network.steps(x), probes, strict=True):
            tangent = tangent_step(network, step, v, tangent)
            found.append(tangent.readout.y)
    w = {name: tensor.detach() for name, tensor in lowered(network, weights_of(network)).items()}

    def outputs(v):
        return simulate(w, x, spec_of(network), spike=hard_spike, probes=v).y

    zero = [tuple(torch.zeros_like(v) for v in row) for row in probes]
    _, wanted = torch.func.jvp(outputs, (zero,), (probes,))
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(torch.stack(found), wanted, rtol=1e-10, atol=1e-11)


def woken(learner):
    """Feedback that starts at zero would teach nothing: random in its place, the same for equal shapes."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for tensor in learner.rule.trainable(learner.rule_state):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return learner


VARIANTS = [
    *((name, {}) for name in RULES if name not in ("weight-forward-gradient", "fa", "weight-mirror")),
    ("e-prop", {"feedback": "symmetric"}),
    ("e-prop", {"feedback": "learnt"}),
    ("s-tllr", {"feedback": "random"}),
    ("sbd", {"power": 1.0, "decorrelation": 1.0}),
    ("guided-forward-gradient", {"target": "local", "guess": "random"}),
]


@pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=["-".join([n, *map(str, s.values())]) for n, s in VARIANTS]
)
def test_a_rule_learns_shared_weights_as_its_dense_twin_learns_them_apart(name, settings):
    """Draws per neuron are the same in both; every place of a weight adds its share. Recurrent and biased."""
    network = network_of(DEEP, "hard", recurrent=True, bias=True)
    twin = dense_twin(network)
    x = spikes()
    found, apart = (
        woken(
            Trainer(
                net,
                rule_named(name, **settings),
                generator=torch.Generator().manual_seed(4),
                engine="reference",
            )
        )
        for net in (network, twin)
    )
    wanted = tied(network, apart.gradients(x, LABELS))
    names = [n for n, _ in named(network)]
    for which, ours, theirs in zip(names, found.gradients(x, LABELS), wanted, strict=True):
        learns = name != "readout-only" or which.startswith("readout")
        assert (float(theirs.norm()) > 1e-7) == learns, which
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


def hidden_of(network, gradients):
    pairs = zip(named(network), gradients, strict=True)
    return torch.cat([g.flatten() for (name, _), g in pairs if name.startswith("hidden")])


def pushed(network, x, shared, seed):
    """(what a weight-perturbed forward gradient finds, its product with the exact gradient)."""
    generator = torch.Generator().manual_seed(seed)
    rule = WeightForwardGradient(shared=shared)
    found = hidden_of(
        network, Trainer(network, rule, generator=generator, engine="reference").gradients(x, LABELS[:1])
    )
    return found, hidden_of(
        network, Trainer(network, BPTT(), engine="reference").gradients(x, LABELS[:1])
    ) @ found


def test_one_direction_over_shared_weights_has_the_exact_derivative():
    """ĝ = c V with entries ±c and ⟨g, V⟩ = c, so ⟨g, ĝ⟩ = c²."""
    network, x = network_of(DEEP, bias=True), spikes(batch=1)
    for seed in range(3):
        found, product = pushed(network, x, False, seed)
        sizes = found.abs()
        torch.testing.assert_close(sizes, sizes[0].expand_as(sizes), rtol=1e-9, atol=0.0)
        torch.testing.assert_close(product, sizes[0].square(), rtol=1e-8, atol=1e-14)


def test_a_direction_for_the_whole_batch_has_it_too():
    """Two inputs along one V: ĝ = r ĝ′ with r = c/c′, and ⟨g, ĝ⟩ = r² ⟨g′, ĝ′⟩."""
    network = network_of(DEEP, bias=True)
    (found, product), (other, other_product) = (
        pushed(network, spikes(batch=1, seed=seed), True, 1) for seed in (5, 6)
    )
    r = (found @ other) / (other @ other)
    torch.testing.assert_close(found, r * other)
    torch.testing.assert_close(product, r.square() * other_product)
    assert product > 1e-8


@pytest.mark.parametrize("name", ["fa", "weight-mirror"])
def test_errors_come_down_through_kernels_of_the_rules_own(name):
    network, x = network_of(DEEP), spikes(steps=1)
    learner = woken(Trainer(network, rule_named(name, trace=PerSynapse()), engine="reference"))
    matrices = learner.rule_state.backward
    above = [network.hidden[1].synapse, network.hidden[2].synapse, network.readout.synapse]
    assert [b.shape for b in matrices] == [s.weight.shape for s in above]
    step = next(iter(network.steps(x)))
    with torch.no_grad():
        error = torch.softmax(step.y, 1) - torch.eye(3, dtype=torch.float64)[LABELS]
        delta = error
        for index in (2, 1, 0):
            signal = delta @ matrix_of(above[index], matrices[index])
            delta = signal * step.layers[index].psi
        lowest = network.hidden[0].synapse.gradient(delta, x[0]) / 4
    torch.testing.assert_close(learner.gradients(x, LABELS)[0], lowest)


# ---- feedback per channel ------------------------------------------------------------------------------
@torch.no_grad()
def estimated(rule, network, samples, x, seed=11):
    state = rule.begin(network, rule.init(network, torch.Generator().manual_seed(seed)), Shard(samples))
    total = None
    for t, step in enumerate(network.steps(x.expand(-1, samples, -1))):
        now, state = rule.estimate(network, step, t, state)
        total = list(now) if total is None else [a + b for a, b in zip(total, now, strict=True)]
    return [row / len(x) for row in total]


def exact_feedback(network, x):
    """The data-averaged Jacobian for soft, detached resets: W_o P, and Σh W_o P ψ₂ W₂ below."""
    second, readout = network.hidden[1].synapse, network.readout.synapse
    w_out = matrix_of(readout, readout.weight.detach())
    w_2 = matrix_of(second, second.weight.detach())
    lif, gain, total = network.hidden[1].neuron, 0.0, 0.0
    i = u = 0.0
    for t, step in enumerate(network.steps(x)):
        i = lif.alpha * i + (t == 0)
        u = lif.beta * u + i
        gain += u
        total = total + gain * w_out @ (step.layers[1].psi[0].detach().unsqueeze(1) * w_2)
    return [total / len(x), w_out]


def test_feedback_converges_to_the_mean_jacobian_at_rate_one_over_root_n():
    """Through a convolution and a pool above; per neuron and, as the mean over positions, per channel."""
    network, x = (
        network_of([conv_layer(3, 3), conv_layer(2, 2), pool_layer(3)], readout="integrator"),
        spikes(6, 1),
    )
    exact = exact_feedback(network, x)
    channels = [3, 2]
    means = [j.view(3, c, -1).mean(2) for j, c in zip(exact, channels, strict=True)]
    for per, wanted in (("neuron", exact), ("channel", means)):
        rule = FDFA(feedback_per=per)

        def error(samples, seed, rule=rule, wanted=wanted):
            found = estimated(rule, network, samples, x, seed)
            return torch.tensor([relative(a, b) for a, b in zip(found, wanted, strict=True)]).square()

        few = torch.stack([error(200, seed) for seed in range(8)]).mean(0).sqrt()
        many = torch.stack([error(200 * 25, seed) for seed in range(4)]).mean(0).sqrt()
        assert ((few / many - 5.0).abs() < 2.0).all(), (per, few, many)
        assert (many < 0.3).all()


def test_one_probe_per_channel_is_no_noisier_than_the_mean_of_separate_estimates():
    network, x = network_of([conv_layer(3, 3), pool_layer(2)], readout="integrator"), spikes(1, 1)
    apart, shared = (
        torch.stack([estimated(FDFA(feedback_per=per), network, 1, x, seed)[0] for seed in range(400)])
        for per in ("neuron", "channel")
    )
    apart = apart.view(400, 3, 3, 16).mean(3)
    # windows of four equal entries among sixteen of random sign: about a quarter
    assert shared.var(0).sum() < 0.5 * apart.var(0).sum()


@pytest.mark.parametrize("rule", [DFA, DKP, FDFA, SBD])
def test_positions_of_a_channel_share_their_feedback(rule):
    network, x = network_of(DEEP), spikes()
    learner = woken(Trainer(network, rule(feedback_per="channel"), engine="reference"))
    sizes = [layer.synapse.channels for layer in network.hidden]
    assert [b.shape for b in learner.rule_state.matrices] == [(n, 3) for n in sizes]
    # the same as feedback per neuron with the rows repeated
    wide = woken(Trainer(network, rule(), engine="reference"))
    with torch.no_grad():
        for b, row, layer in zip(
            wide.rule_state.matrices, learner.rule_state.matrices, network.hidden, strict=True
        ):
            b.copy_(row.repeat_interleave(layer.synapse.sites, 0))
    for ours, theirs in zip(learner.gradients(x, LABELS), wide.gradients(x, LABELS), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rule", [DKP, SBD])
def test_feedback_per_channel_is_learnt_as_the_mean_over_positions(rule):
    x = spikes()

    def learnt(per):
        network = network_of([conv_layer(3, 3)])
        learner = Trainer(
            network, rule(feedback_per=per), torch.optim.SGD(network.parameters(), lr=0.5), engine="reference"
        )
        with torch.no_grad():
            learner.rule_state.matrices[0].zero_()
        learner.step(x, LABELS)
        return learner.rule_state.matrices[0]

    torch.testing.assert_close(learnt("channel"), learnt("neuron").view(3, 16, 3).mean(1))
