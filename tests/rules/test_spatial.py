"""OTTT, SLTT and feedback alignment against autograd on graphs detached where each rule cuts time."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.rules import FA, OTTT, SLTT, Broadcast
from neurofdfa.rules.traces import PerSynapse
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


def step_loss(network, record, weights, presynaptic):
    """Cross-entropy of one step: values as recorded, derivatives within the step alone.

    presynaptic(layer, sent): what the weights of a layer act on.
    """
    sent = record.layers[0].pre
    for index, (seen, weight) in enumerate(zip(record.layers, weights, strict=True)):
        current = presynaptic(index, sent) @ weight.T
        sent = seen.after.s + psi(seen.after.u - 1.0) * (current - current.detach())
    out = sent @ network.readout.synapse.weight.detach().T
    return torch.nn.functional.cross_entropy(record.y + (out - out.detach()), LABELS, reduction="sum")


def summed(network, x, presynaptic_of):
    """Σ_t of the gradients of each step's own loss, 1/T each."""
    leaves = layer_leaves(network)
    weights = [own["weight"] for own in leaves]
    total = [torch.zeros_like(w) for w in weights]
    with torch.no_grad():
        records = list(network.steps(x))
    for t, record in enumerate(records):
        loss = step_loss(network, record, weights, presynaptic_of(t)) / x.shape[0]
        total = [a + b for a, b in zip(total, torch.autograd.grad(loss, weights), strict=True)]
    return leaves, [(g.detach(),) for g in total]


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("tau_syn", [0.0, 2e-3])
def test_ottt_is_spatial_backpropagation_onto_a_decaying_past(reset, tau_syn):
    network = tiny((6, 5, 4), reset=reset, tau_syn=tau_syn)
    x = input_spikes()
    lif = network.hidden[0].neuron
    with torch.no_grad():
        inputs = [torch.stack([r.layers[k].pre for r in network.steps(x)]) for k in range(3)]
        past = [filtered(lif.beta, filtered(lif.alpha, s)) - s for s in inputs]
    leaves, wanted = summed(network, x, lambda t: lambda index, sent: past[index][t] + sent)
    _, found = learnt(network, OTTT(), x)
    for index, own in enumerate(leaves):
        expect(found, index, own, wanted[index])


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_sltt_is_spatial_backpropagation_alone(reset):
    network = tiny((6, 5, 4), reset=reset)
    x = input_spikes()
    leaves, wanted = summed(network, x, lambda t: lambda index, sent: sent)
    _, found = learnt(network, SLTT(), x)
    for index, own in enumerate(leaves):
        expect(found, index, own, wanted[index])


def test_sltt_every_third_step_counts_from_the_end():
    network, x = tiny(), input_spikes(steps=9)
    learner, _ = learnt(network, SLTT(every=3), x)
    stream = learner.stream(4, horizon=9)
    learning = []
    for x_t in x:
        before = network.hidden[0].synapse.weight.grad.clone()
        stream.step(x_t, LABELS)
        learning.append(not torch.equal(before, network.hidden[0].synapse.weight.grad))
    assert learning == [False, False, True] * 3
    with pytest.raises(UserError, match="every = 0"):
        SLTT(every=0)


def test_sltt_is_ottt_when_neurons_forget_at_once():
    network = tiny(tau_mem=1e-5, tau_syn=0.0)
    x = input_spikes()
    _, ottt = learnt(network, OTTT(), x)
    _, sltt = learnt(network, SLTT(), x)
    for name, gradient in ottt.items():
        torch.testing.assert_close(sltt[name], gradient, rtol=1e-9, atol=1e-12)


def test_feedback_alignment_goes_down_through_its_own_matrices():
    network, x = tiny((6, 5, 4)), input_spikes()
    learner, found = learnt(network, FA(trace=PerSynapse()), x)
    backward = learner.rule_state.backward
    assert [tuple(b.shape) for b in backward] == [(5, 6), (4, 5), (3, 4)]
    leaves = layer_leaves(network)
    spikes = run_layers(network, x, leaves)
    signals = [[] for _ in leaves]
    with torch.no_grad():
        records = list(network.steps(x))
    for record in records:
        # each layer's spikes as leaves of the step's graph: their gradients are λ
        sent = [seen.after.s.detach().clone().requires_grad_() for seen in record.layers]
        below = []
        for index, seen in enumerate(record.layers):
            value = sent[index]
            if index:
                push = below[-1] @ backward[index - 1].T
                value = value + psi(seen.after.u - 1.0) * (push - push.detach())
            below.append(value)
        y = record.y.detach() + (below[-1] @ backward[-1].T - (below[-1] @ backward[-1].T).detach())
        loss = torch.nn.functional.cross_entropy(y, LABELS, reduction="sum") / x.shape[0]
        for kept, gradient in zip(signals, torch.autograd.grad(loss, sent), strict=True):
            kept.append(gradient)
    for index, (own, s) in enumerate(zip(leaves, spikes, strict=True)):
        reward = (filtered(network.readout.kappa, s) * torch.stack(signals[index])).sum()
        expect(found, index, own, torch.autograd.grad(reward, list(own.values())))


def test_a_spiking_readout_passes_the_error_through_its_own_slope():
    network, x = tiny(readout="spike-count"), input_spikes()
    signals = []
    rule = OTTT()
    with torch.no_grad():
        records = list(network.steps(x))
    for record in records:
        y = record.y.clone().requires_grad_()
        error = torch.autograd.grad(torch.nn.functional.cross_entropy(y, LABELS, reduction="sum") / 9, y)[0]
        sent = record.layers[-1].after.s.clone().requires_grad_()
        drive = sent @ network.readout.synapse.weight.detach().T
        slope = psi(record.readout.population.after.u - 1.0)
        signals.append(torch.autograd.grad((slope * (drive - drive.detach()) * error).sum(), sent)[0])
    broadcasts = [
        Broadcast(t, 9, 1 / 9, (torch.softmax(r.y, 1) - torch.eye(3)[LABELS]) / 9, LABELS)
        for t, r in enumerate(records)
    ]
    ours = [rule.signals(network, r, b, None)[0].hidden[-1] for r, b in zip(records, broadcasts, strict=True)]
    torch.testing.assert_close(torch.stack(ours).detach(), torch.stack(signals))
    assert torch.stack(signals).abs().max() > 1e-6


def test_none_of_them_is_local_in_space():
    for rule in (OTTT(), SLTT(), FA()):
        assert not rule.local_in_space
        assert rule.local_in_time
