"""e-prop against autograd on a graph that is cut where e-prop cuts it."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.dropout import Dropout
from neurofdfa.rules import DFA, FDFA, EProp
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.rules.slow import (
    LABELS,
    RESETS,
    errors,
    expect,
    filtered,
    input_spikes,
    layer_leaves,
    learnt,
    run_layers,
    tiny,
)


def cut_graph_gradients(network, matrices, x):
    """Gradients of Σ_t ⟨B_l e[t], z_l[t]⟩ with e a constant: the e-prop update by definition."""
    leaves = layer_leaves(network)
    spikes = run_layers(network, x, leaves)
    e = errors(network, spikes[-1])
    for own, s, b in zip(leaves, spikes, matrices, strict=True):
        reward = (filtered(network.readout.kappa, s) * (e @ b.T)).sum()
        yield own, torch.autograd.grad(reward, list(own.values()))


@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_random_feedback_is_the_cut_graph(reset, gradient, recurrent):
    network = tiny(recurrent=recurrent, bias=True, reset=reset, reset_gradient=gradient)
    x = input_spikes()
    learner, found = learnt(network, EProp(), x)
    matrices = learner.rule_state.matrices
    for index, (own, wanted) in enumerate(cut_graph_gradients(network, matrices, x)):
        expect(found, index, own, wanted)


@pytest.mark.parametrize("recurrent", [False, True])
def test_symmetric_feedback_is_the_weights_transposed(recurrent):
    network = tiny(recurrent=recurrent)
    x = input_spikes()
    _, found = learnt(network, EProp(feedback="symmetric"), x)
    last = network.readout.synapse.weight.detach().T
    matrices = [network.hidden[1].synapse.weight.detach().T @ last, last]
    for index, (own, wanted) in enumerate(cut_graph_gradients(network, matrices, x)):
        expect(found, index, own, wanted)


@pytest.mark.parametrize(("reset", "gradient"), RESETS)
def test_one_layer_with_symmetric_feedback_and_dropout_is_bptt(reset, gradient):
    steps = []
    for rule in (EProp(feedback="symmetric"), BPTT()):
        network = tiny((8,), reset=reset, reset_gradient=gradient)
        network.hidden[0].dropped = Dropout(0.4)
        before = [p.detach().clone() for p in network.parameters()]
        sgd, generator = torch.optim.SGD(network.parameters(), lr=1.0), torch.Generator().manual_seed(3)
        Trainer(network, rule, sgd, generator=generator, engine="reference").step(input_spikes(), LABELS)
        steps.append([a - b.detach() for a, b in zip(before, network.parameters(), strict=True)])
    for ours, exact in zip(*steps, strict=True):
        assert exact.abs().max() > 1e-6
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-12)


def test_a_wrong_reset_is_noticed():
    x = input_spikes()
    network = tiny((6,), reset="soft", reset_gradient="detached")
    learner, found = learnt(network, EProp(), x)
    other = tiny((6,), reset="soft", reset_gradient="attached")
    ((own, wanted),) = cut_graph_gradients(other, learner.rule_state.matrices, x)
    with pytest.raises(AssertionError):
        expect(found, 0, own, wanted)


def test_per_neuron_trace_is_exact_without_readout_memory():
    """Without the filter there is no order of ψ and κ to neglect."""
    network = tiny((6,), reset="soft", reset_gradient="detached")
    x = input_spikes()
    _, fine = learnt(network, EProp(trace=PerSynapse(filtered=False)), x)
    _, cheap = learnt(network, EProp(trace=PerNeuron(filtered=False)), x)
    for name, gradient in fine.items():
        torch.testing.assert_close(cheap[name], gradient, rtol=1e-10, atol=1e-13)


def test_feedback_comes_from_the_rules_it_names():
    x = input_spikes()
    pairs = [(EProp(), DFA(trace=PerSynapse())), (EProp(feedback="learnt"), FDFA(trace=PerSynapse()))]
    for rule, same in pairs:
        network = tiny()
        ours, _ = learnt(network, rule, x)
        theirs, _ = learnt(tiny(), same, x)
        for learner in (ours, theirs):
            for _ in range(3):
                learner.step(x, torch.tensor([0, 2, 1, 2]))
        for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(ours.rule_state.matrices, theirs.rule_state.matrices, strict=True):
            assert torch.equal(a, b)
            assert a.abs().max() > 0


def test_locality_is_told_truthfully():
    assert EProp().local_in_space
    assert EProp(feedback="learnt").local_in_space
    assert not EProp(feedback="symmetric").local_in_space
    with pytest.raises(UserError, match="random, symmetric or learnt"):
        EProp(feedback="none")
