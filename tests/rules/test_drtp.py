"""DRTP: the update is the gradient of Σ_t w ⟨B y*, z⟩, whatever the network puts out."""

import pytest
import torch

from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.rules import DRTP
from neurofdfa.rules.traces import PerSynapse
from tests.rules.slow import LABELS, expect, filtered, input_spikes, layer_leaves, learnt, run_layers, tiny


@pytest.mark.parametrize("when", ["every-step", "last"])
def test_targets_alone_teach(when):
    network, x = tiny(recurrent=True, bias=True), input_spikes()
    learner, found = learnt(network, DRTP(trace=PerSynapse()), x, loss=CrossEntropy(when))
    leaves = layer_leaves(network)
    spikes = run_layers(network, x, leaves)
    wanted = torch.eye(3, dtype=torch.float64)[LABELS]
    for index, (own, s, b) in enumerate(zip(leaves, spikes, learner.rule_state.matrices, strict=True)):
        z = filtered(network.readout.kappa, s) * (wanted @ b.T)
        reward = z.sum() / x.shape[0] if when == "every-step" else z[-1].sum()
        expect(found, index, own, torch.autograd.grad(reward, list(own.values())))


def test_the_output_is_never_read():
    network, x = tiny(), input_spikes()
    _, before = learnt(network, DRTP(), x)
    with torch.no_grad():
        network.readout.synapse.weight.mul_(-7.0)
    _, after = learnt(network, DRTP(), x)
    for name, gradient in before.items():
        assert torch.equal(after[name], gradient) == name.startswith("hidden")


def test_regression_targets_are_sent_as_they_are():
    network, x = tiny(), input_spikes()
    target = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    learner, found = learnt(network, DRTP(trace=PerSynapse()), x, target, loss=MeanSquaredError())
    leaves = layer_leaves(network)
    spikes = run_layers(network, x, leaves)
    for index, (own, s, b) in enumerate(zip(leaves, spikes, learner.rule_state.matrices, strict=True)):
        reward = (filtered(network.readout.kappa, s) * (target @ b.T)).sum() / x.shape[0]
        expect(found, index, own, torch.autograd.grad(reward, list(own.values())))
