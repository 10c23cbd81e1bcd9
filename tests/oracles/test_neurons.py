"""Neurons that differ, learn their time constants or adapt: the oracles of plain neurons hold for them.

Gradients against autograd, tangents against its forward mode, causality, no autograd inside.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.rules import DFA, EProp, GuidedForwardGradient, WeightForwardGradient
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import (
    SURROGATE,
    hard_spike,
    reference_gradients,
    relative,
    simulate,
    small_network,
    smooth_spike,
    spec_of,
    spike_train,
    weights_of,
)
from tests.oracles.rules import Symmetric

LABELS = torch.tensor([0, 1, 2, 1])
RESETS = list(product(("soft", "hard"), ("detached", "attached")))
KINDS = {
    "mixed": ({}, {"tau_mem_spread": 0.6, "learn_tau": True}),
    "mixed synapses": ({"tau_syn": 4e-3}, {"tau_mem_spread": 0.6, "tau_syn_spread": 0.5, "learn_tau": True}),
    "adaptive": ({"adaptation": 0.4, "tau_adapt": 8e-3}, {}),
    "both": (
        {"adaptation": 0.4, "tau_adapt": 8e-3, "tau_syn": 4e-3},
        {"tau_mem_spread": 0.6, "tau_syn_spread": 0.5, "learn_tau": True},
    ),
}


def network_of(kind, reset="soft", gradient="detached", **settings):
    neuron, network = KINDS[kind]
    lif = LIF(
        tau_mem=6e-3, reset=reset, reset_gradient=gradient, surrogate=SURROGATE, decay_bits=None, **neuron
    )
    return small_network(lif=lif, **({"bias": True} | network | settings))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize("when", ["every-step", "last"])
@pytest.mark.parametrize("readout", ["integrator", "leaky"])
def test_online_gradient_is_the_gradient(kind, reset, gradient, when, readout):
    """One hidden layer, λ = W_oᵀ e: of weights, biases and time constants."""
    network = network_of(kind, reset, gradient, readout=readout, tau_out=5e-3)
    x = spike_train()
    assert 0.05 < network.run(x).spikes[0].mean() < 0.8, "a silent or saturated layer would prove nothing"
    expected = reference_gradients(network, x, LABELS, when)
    loss = CrossEntropy(when=when)
    got = Trainer(network, Symmetric(trace=PerSynapse()), loss=loss, engine="reference").gradients(x, LABELS)
    bptt = Trainer(network, BPTT(), loss=loss, engine="reference").gradients(x, LABELS)
    assert (
        len(got)
        == len(expected)
        == 4 + (network.hidden[0].time_constants is not None) * (2 if network.hidden[0].neuron.tau_syn else 1)
    )
    for e, g, b in zip(expected, got, bptt, strict=True):
        assert float(e.norm()) > 1e-6
        assert relative(g, e) < 1e-10
        assert relative(b, e) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layer_drops_only_the_paths_through_other_spikes(kind):
    network = network_of(kind, "hard", "attached", recurrent=True)
    x = spike_train()
    cut = reference_gradients(network, x, LABELS, "every-step", cut_recurrence=True)
    got = Trainer(network, Symmetric(trace=PerSynapse()), engine="reference").gradients(x, LABELS)
    assert max(relative(g, e) for g, e in zip(got, cut, strict=True)) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_bptt_is_the_gradient_of_deep_recurrent_networks(kind):
    network = network_of(kind, "soft", "attached", recurrent=True, hidden=[6, 5], readout="spike-count")
    x = spike_train()
    expected = reference_gradients(network, x, LABELS, "every-step")
    got = Trainer(network, BPTT(), engine="reference").gradients(x, LABELS)
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


def test_an_eligibility_without_the_adaptation_is_not_the_gradient(monkeypatch):
    """The comparison notices a threshold that is taken for fixed: its part of ε dropped."""
    network = network_of("adaptive")
    expected = reference_gradients(network, spike_train(), LABELS, "every-step")
    step = "neurofdfa.rules.traces.step_jacobian"
    from neurofdfa.nn.eligibility import step_jacobian

    monkeypatch.setattr(step, lambda *arguments: step_jacobian(*arguments)._replace(adaptation=0.0))
    got = Trainer(network, Symmetric(trace=PerSynapse()), engine="reference").gradients(spike_train(), LABELS)
    assert relative(got[0], expected[0]) > 1e-2
    assert relative(got[-1], expected[-1]) < 1e-10


@torch.no_grad()
def carried(network, probes, x):
    tangent, ys = initial_tangent(network, x.shape[1]), []
    for step, v in zip(network.steps(x), probes, strict=True):
        tangent = tangent_step(network, step, v, tangent)
        ys.append(tangent.readout.y)
    return torch.stack(ys)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize("smooth", [True, False])
def test_tangents_are_those_of_forward_mode(monkeypatch, kind, reset, gradient, smooth):
    if smooth:
        monkeypatch.setattr("neurofdfa.nn.layer.heaviside", smooth_spike)
    network = network_of(kind, reset, gradient, hidden=[6, 4], readout="leaky", tau_out=5e-3, recurrent=True)
    x, generator = spike_train(steps=9, batch=3), torch.Generator().manual_seed(2)
    probes = [
        tuple(torch.randn(3, n, generator=generator, dtype=torch.float64) for n in (6, 4)) for _ in range(9)
    ]

    def outputs(v):
        spike = smooth_spike if smooth else hard_spike
        return simulate(weights_of(network), x, spec_of(network), spike=spike, probes=v).y

    zero = [tuple(torch.zeros_like(v) for v in row) for row in probes]
    with torch.no_grad():
        _, expected = torch.func.jvp(outputs, (zero,), (probes,))
    torch.testing.assert_close(carried(network, probes, x), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_later_inputs_leave_earlier_learning_untouched(kind):
    def learnt(x):
        network = network_of(kind, "hard", "attached", recurrent=True)
        learner = Trainer(
            network, DFA(trace=PerSynapse()), generator=torch.Generator().manual_seed(3), engine="reference"
        )
        stream = learner.stream(4, horizon=12)
        for x_t in x[:8]:
            stream.step(x_t, LABELS)
        found = [p.grad.clone() for p in network.parameters()]
        for x_t in x[8:]:
            stream.step(x_t, LABELS)
        return found, [p.grad.clone() for p in network.parameters()]

    x = spike_train()
    changed = torch.cat([x[:8], 1.0 - x[8:]])
    (one, one_end), (two, two_end) = learnt(x), learnt(changed)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one_end, two_end, strict=True))


@pytest.mark.parametrize("rule", [EProp(feedback="learnt"), DFA(trace=PerSynapse())])
def test_training_moves_the_time_constants_and_keeps_the_decays_within_bounds(monkeypatch, rule):
    def refuse(*_, **__):
        raise AssertionError("autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    network = network_of("both", readout="leaky").float()
    learner = Trainer(network, rule, torch.optim.Adam(network.parameters(), lr=0.5), engine="reference")
    found = network.hidden[0].time_constants
    before = found.tau("membrane", 1e-3)
    for seed in range(8):
        learner.step(spike_train(seed).float(), LABELS)
    after, lif = found.tau("membrane", 1e-3), network.hidden[0].dynamics
    assert not torch.allclose(before, after, rtol=0.1)
    for decays in (lif.alpha, lif.beta):
        assert decays.min() > 0
        assert decays.max() < 1


def test_what_cannot_learn_them_says_so():
    network = network_of("mixed")
    for rule in (DFA(trace=PerNeuron()), WeightForwardGradient(), GuidedForwardGradient()):
        with pytest.raises(UserError, match=f"rule '{rule.name}' has no eligibility for time constants"):
            Trainer(network, rule, engine="reference")


@pytest.mark.parametrize("kind", ["mixed", "adaptive"])
def test_one_trace_for_all_neurons_refuses_them(kind):
    network = network_of(kind, **({"learn_tau": False} if kind == "mixed" else {}))
    with pytest.raises(UserError, match="trace = 'per-synapse'"):
        Trainer(network, DFA(trace=PerNeuron()), engine="reference").step(spike_train(), LABELS)
    with pytest.raises(UserError, match="neurons that are alike"):
        Trainer(network, GuidedForwardGradient(trace=PerSynapse()), engine="reference").step(
            spike_train(), LABELS
        )
