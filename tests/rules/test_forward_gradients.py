"""Forward gradients, random and guided, against backpropagation through time by autograd."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.rules import ActivityForwardGradient, GuidedForwardGradient, WeightForwardGradient
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named
from tests.rules.slow import (
    LABELS,
    RESETS,
    expect,
    filtered,
    input_spikes,
    layer_leaves,
    run_layers,
    spike,
    tiny,
)

RANDOM = [WeightForwardGradient(), ActivityForwardGradient()]


def hidden(network, gradients):
    """All hidden gradients as one vector."""
    pairs = zip(named(network), gradients, strict=True)
    return torch.cat([g.flatten() for (name, _), g in pairs if name.startswith("hidden")])


def estimate(network, rule, x, target, copies, seed=0, loss=None):
    """Mean over `copies` directions: the batch is so many copies of itself."""
    learner = Trainer(
        network, rule, loss=loss, generator=torch.Generator().manual_seed(seed), engine="reference"
    )
    return hidden(network, learner.gradients(x.repeat(1, copies, 1), target.repeat(copies)))


@pytest.mark.parametrize("rule", RANDOM)
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_unbiased_with_an_error_that_falls_as_one_over_root_n(rule, reset, gradient):
    network = tiny(
        (4, 3), recurrent=True, bias=True, reset=reset, reset_gradient=gradient, readout="spike-count"
    )
    x = input_spikes(steps=6, batch=2)
    target = torch.tensor([0, 2])
    exact = hidden(network, Trainer(network, BPTT(), engine="reference").gradients(x, target))

    def error(copies):
        runs = [estimate(network, rule, x, target, copies, seed) for seed in range(6)]
        return torch.stack([(run - exact).norm() for run in runs]).square().mean().sqrt() / exact.norm()

    few, many = error(50), error(50 * 64)
    assert few / many == pytest.approx(8.0, rel=0.45)
    assert many < 0.35


@pytest.mark.parametrize("rule", [*RANDOM, WeightForwardGradient(shared=True)])
def test_a_final_loss_through_a_leaky_readout(rule):
    network = tiny((4,), readout="leaky")
    x, target, loss = input_spikes(steps=6, batch=2), torch.tensor([0, 2]), CrossEntropy("last")
    exact = hidden(network, Trainer(network, BPTT(), loss=loss, engine="reference").gradients(x, target))
    shared = rule == WeightForwardGradient(shared=True)
    if shared:
        generator = torch.Generator().manual_seed(1)
        learner = Trainer(network, rule, loss=loss, generator=generator, engine="reference")
        runs = []
        for _ in range(250):
            runs.append(hidden(network, learner.gradients(x, target)))
            torch.rand(1, generator=generator)  # gradients() leaves the generator as it was
        found = torch.stack(runs).mean(0)
    else:
        found = estimate(network, rule, x, target, 4000, loss=loss)
    assert (found - exact).norm() / exact.norm() < (0.5 if shared else 0.25)


@pytest.mark.parametrize("rule", RANDOM)
def test_unbiased_under_dropout(rule):
    """Both draw their masks first, so the same seed drops the same neurons of the same copies."""
    steps = []
    for each in (rule, BPTT()):
        network = tiny((4, 3), recurrent=True)
        for layer in network.hidden:
            layer.dropped = Dropout(0.4)
        before = [p.detach().clone() for p in network.parameters()]
        x = input_spikes(steps=6, batch=2).repeat(1, 12000, 1)
        sgd, generator = torch.optim.SGD(network.parameters(), lr=1.0), torch.Generator().manual_seed(3)
        learner = Trainer(network, each, sgd, generator=generator, engine="reference")
        learner.step(x, torch.tensor([0, 2]).repeat(12000))
        steps.append(hidden(network, [a - b for a, b in zip(before, network.parameters(), strict=True)]))
    found, exact = steps
    assert (found - exact).norm() / exact.norm() < 0.25


def test_one_weight_direction_has_the_exact_directional_derivative():
    """ĝ = c V with entries ±c, so ⟨g, ĝ⟩ = c ⟨g, V⟩ = c² by the very definition of c."""
    network = tiny((5, 4))
    x, target = input_spikes(steps=7, batch=1), torch.tensor([1])
    exact = hidden(network, Trainer(network, BPTT(), engine="reference").gradients(x, target))
    for seed in range(5):
        found = estimate(network, WeightForwardGradient(), x, target, 1, seed)
        sizes = found.abs()
        torch.testing.assert_close(sizes, sizes[0].expand_as(sizes), rtol=1e-9, atol=0.0)
        torch.testing.assert_close(exact @ found, sizes[0].square(), rtol=1e-8, atol=1e-14)


def transmitted_gradients(network, x, layer):
    """∂loss/∂(what a layer transmits), `[T, B, n]`, through everything downstream."""
    leaves = layer_leaves(network)
    with torch.no_grad():
        spikes = [s.detach() for s in run_layers(network, x, leaves)]
    nudge = torch.zeros_like(spikes[layer]).requires_grad_()
    sent = spikes[layer] + nudge
    for above, own in zip(network.hidden[layer + 1 :], leaves[layer + 1 :], strict=True):
        sent = run_from(above.neuron, sent, own["weight"].detach())
    y = filtered(network.readout.kappa, sent @ network.readout.synapse.weight.detach().T)
    steps = x.shape[0]
    loss = torch.nn.functional.cross_entropy(y.reshape(-1, 3), LABELS.repeat(steps), reduction="sum") / steps
    return torch.autograd.grad(loss, nudge)[0]


def run_from(lif, pre, weight):
    i = u = s = pre.new_zeros(pre.shape[1], weight.shape[0])
    out = []
    for p in pre:
        i = lif.alpha * i + p @ weight.T
        u = lif.beta * u + i - lif.v_threshold * s.detach()
        s = spike(u - lif.v_threshold)
        out.append(s)
    return torch.stack(out)


@pytest.mark.parametrize("target", ["global", "local"])
@pytest.mark.parametrize("guess", ["local", "random"])
def test_the_guided_gradient_is_the_projection_of_the_true_one(target, guess):
    network, x = tiny((5, 4)), input_spikes(steps=7)
    generator = torch.Generator().manual_seed(4)
    learner = Trainer(
        network, GuidedForwardGradient(target=target, guess=guess), generator=generator, engine="reference"
    )
    projections = [g.clone() for g in learner.rule_state.local.projections]
    drawn = torch.Generator().manual_seed(0)
    drawn.set_state(generator.get_state())
    found = dict(zip((n for n, _ in named(network)), learner.gradients(x, LABELS), strict=True))

    signs = [[], []]
    for _ in range(7):
        for kept, n in zip(signs, (5, 4), strict=True):
            kept.append(torch.randint(0, 2, (4, n), generator=drawn) * 2.0 - 1.0)
    leaves = layer_leaves(network)
    kappa = network.readout.kappa
    for index, (own, s) in enumerate(zip(leaves, run_layers(network, x, leaves), strict=True)):
        s_leaf = s.detach().clone().requires_grad_()
        scores = (filtered(kappa, s_leaf) @ projections[index].T).requires_grad_()
        loss = torch.nn.functional.cross_entropy(scores.reshape(-1, 3), LABELS.repeat(7), reduction="sum") / 7
        local_error, local_gradient = torch.autograd.grad(loss, [scores, s_leaf])
        d = local_error @ projections[index] if guess == "local" else torch.stack(signs[index]).double()
        g = transmitted_gradients(network, x, index) if target == "global" else local_gradient
        rho = (g * d).sum((0, 2)) / d.square().sum((0, 2))
        projected = rho[None, :, None] * d
        expect(found, index, own, torch.autograd.grad((projected * s).sum(), list(own.values())))
        residual = g - projected
        assert ((residual * d).sum((0, 2)).abs() < 1e-12).all()
        assert residual.norm() < g.norm()


def test_guided_settings():
    with pytest.raises(UserError, match="target global or local"):
        GuidedForwardGradient(target="somewhere")


def test_directions_are_fresh_in_every_sequence_and_repeatable():
    network, x = tiny(), input_spikes()
    for rule in RANDOM:
        learner = Trainer(network, rule, generator=torch.Generator().manual_seed(0), engine="reference")
        first, again = learner.gradients(x, LABELS), learner.gradients(x, LABELS)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        learner.executor.begin(4, 9)
        learner.executor.begin(4, 9)
        later = learner.gradients(x, LABELS)
        assert not torch.equal(first[0], later[0])
        assert torch.equal(first[-1], later[-1])
