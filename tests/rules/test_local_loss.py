"""Local losses and Mono-Forward: autograd of each layer's own loss, and of nothing else."""

import pytest
import torch

from neurofdfa.nn.loss import MeanSquaredError
from neurofdfa.rules import LocalLoss, MonoForward
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from tests.rules.slow import (
    LABELS,
    RESETS,
    expect,
    filtered,
    input_spikes,
    layer_leaves,
    learnt,
    run_layers,
    tiny,
)


def own_losses(network, x, projections, kappa):
    leaves = layer_leaves(network)
    steps = x.shape[0]
    for own, s, g in zip(leaves, run_layers(network, x, leaves), projections, strict=True):
        scores = (filtered(kappa, s) @ g.T).reshape(-1, 3)
        yield own, torch.nn.functional.cross_entropy(scores, LABELS.repeat(steps), reduction="sum") / steps


@pytest.mark.parametrize("rule", [LocalLoss, MonoForward])
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_each_layer_follows_the_gradient_of_its_own_loss(rule, reset, gradient):
    network, x = tiny(recurrent=True, bias=True, reset=reset, reset_gradient=gradient), input_spikes()
    learner, found = learnt(network, rule(trace=PerSynapse()), x)
    projections = [g.detach() for g in learner.rule_state.projections]
    for index, (own, loss) in enumerate(own_losses(network, x, projections, network.readout.kappa)):
        wanted = torch.autograd.grad(loss, list(own.values()))
        expect(found, index, own, wanted)


def test_decolle_reads_each_step_alone():
    network, x = tiny(), input_spikes()
    learner, found = learnt(network, LocalLoss(trace=PerNeuron(filtered=False)), x)
    for index, (own, loss) in enumerate(own_losses(network, x, learner.rule_state.projections, 0.0)):
        expect(found, index, own, torch.autograd.grad(loss, list(own.values())))


def test_fixed_readouts_stay_and_learnt_ones_follow_their_gradient():
    network, x = tiny(), input_spikes()
    fixed, _ = learnt(network, LocalLoss(), x)
    before = [g.clone() for g in fixed.rule_state.projections]
    fixed.step(x, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, fixed.rule_state.projections, strict=True))

    network = tiny()
    learner, _ = learnt(network, MonoForward(), x)
    projections = [g.clone().requires_grad_() for g in learner.rule_state.projections]
    losses = [loss for _, loss in own_losses(network, x, projections, network.readout.kappa)]
    stream = learner.stream(4, horizon=9)
    for x_t in x:
        stream.step(x_t, LABELS)
    for g, ours, loss in zip(projections, learner.rule_state.projections, losses, strict=True):
        (wanted,) = torch.autograd.grad(loss, g)
        torch.testing.assert_close(ours.grad * 4, wanted, rtol=1e-9, atol=1e-12)
    before = [g.clone() for g in learner.rule_state.projections]
    stream.end()
    assert not any(torch.equal(a, b) for a, b in zip(before, learner.rule_state.projections, strict=True))


def test_values_as_targets_are_fitted_by_squares():
    network, x = tiny(), input_spikes()
    target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    learner, found = learnt(network, LocalLoss(trace=PerSynapse()), x, target, loss=MeanSquaredError())
    leaves = layer_leaves(network)
    for index, (own, s, g) in enumerate(
        zip(leaves, run_layers(network, x, leaves), learner.rule_state.projections, strict=True)
    ):
        loss = 0.5 * (filtered(network.readout.kappa, s) @ g.T - target).square().sum() / x.shape[0]
        expect(found, index, own, torch.autograd.grad(loss, list(own.values())))
