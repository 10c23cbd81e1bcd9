"""Traces that are filtered downstream, against BPTT where that is exact.

With ψ constant (a surrogate far wider than any membrane), soft detached resets and B the gain of the
path, a deep network's Jacobian is B times the membranes' filters, and λ = B e through such traces is exact.
"""

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.surrogate import FastSigmoid
from neurofdfa.rules import DFA
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import relative, small_network, spike_train

X, LABELS = spike_train(steps=12), torch.tensor([0, 1, 2, 1])
LINEAR = FastSigmoid(width=1e12)


def gradients(trace, lif, **settings):
    """Of all parameters: the rule's with the gains as B, and BPTT's."""
    network = small_network(lif=lif, hidden=[6, 4, 5], readout="leaky", tau_out=4e-3, bias=True, **settings)
    learner = Trainer(network, DFA(trace=trace), engine="reference")
    gain = network.readout.synapse.weight.detach()
    for index in (2, 1, 0):
        learner.rule_state.matrices[index].copy_(gain.t())
        if index:
            neuron = network.hidden[index].neuron
            leak = (1 - neuron.alpha) * (1 - neuron.beta)
            gain = gain @ network.hidden[index].synapse.weight.detach() / leak
    return learner.gradients(X, LABELS), Trainer(network, BPTT(), engine="reference").gradients(X, LABELS)


@pytest.mark.parametrize("form", [PerSynapse, PerNeuron])
@pytest.mark.parametrize("tau_syn", [0.0, 2e-3])
def test_a_deep_network_with_constant_derivatives_has_the_exact_gradient(form, tau_syn):
    lif = LIF(tau_mem=5e-3, tau_syn=tau_syn, reset="soft", surrogate=LINEAR, decay_bits=None)
    local, exact = gradients(form(downstream=True), lif)
    assert all(relative(a, b) < 1e-9 for a, b in zip(local, exact, strict=True))


def test_traces_without_it_do_not():
    lif = LIF(tau_mem=5e-3, reset="soft", surrogate=LINEAR, decay_bits=None)
    local, exact = gradients(PerSynapse(), lif)
    errors = [relative(a, b) for a, b in zip(local, exact, strict=True)]
    assert errors[0] > 0.2  # the first layer's weights, two membranes below the readout
    assert errors[4] < 1e-9  # the last hidden layer's: nothing lies in between
