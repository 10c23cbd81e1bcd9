"""Neurons of a user's own: eligibility and tangents derived from the step are the gradient, and equal the
hand-written ones of LIF and ALIF.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

import neurofdfa as nf
from neurofdfa.interop.nir import to_nir
from neurofdfa.nn.lif import LIFState, lif_step
from neurofdfa.rules import DFA, DKP, FDFA, EProp
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, named, relative, spike_train
from tests.oracles.rules import Symmetric

LABELS = torch.tensor([0, 1, 2, 1])
RESETS = list(product(("soft", "hard"), ("detached", "attached")))


class Quadratic(nf.Neuron):
    """Quadratic integrate-and-fire, reset before the next step (Ermentrout & Kopell 1986)."""

    states = ("v",)
    decays = (0.8,)

    def step(self, drive, state):
        v = state.v * (1 - state.s.detach())
        v = v + 0.2 * v * (v - 0.8) + drive
        return self.spike(v - 1.0), (v,)


class Resonator(nf.Neuron):
    """Resonate-and-fire (Izhikevich 2001): a damped rotation; the reset is part of the derivative."""

    states = ("x", "y")
    decays = (0.9,)

    def step(self, drive, state):
        x = 0.9 * (0.95 * state.x - 0.31 * state.y) + drive
        y = 0.9 * (0.31 * state.x + 0.95 * state.y) - 0.5 * state.s
        return self.spike(x - 1.0), (x, y)


class TwoCompartment(nf.Neuron):
    """A dendrite that charges a soma, saturating on the way."""

    states = ("dendrite", "soma")
    decays = (0.7, 0.8)

    def step(self, drive, state):
        dendrite = 0.7 * state.dendrite + drive
        soma = 0.8 * state.soma * (1 - state.s.detach()) + torch.tanh(dendrite)
        return self.spike(soma - 0.5), (dendrite, soma)


OWN = [Quadratic, Resonator, TwoCompartment]


class Derived(nf.Neuron):
    """LIF and ALIF as a user would write them: their derivatives are found, not written."""

    states = ("i", "u", "a")

    def __init__(self, lif):
        super().__init__(surrogate=lif.surrogate)
        self.lif = lif

    @property
    def decays(self):
        return self.lif.alpha, self.lif.beta

    def step(self, drive, state):
        after = lif_step(drive, LIFState(state.i, state.u, state.s, state.a), self.lif, self.spike)
        return after.s, (after.i, after.u, after.a)


def network_of(*cells, recurrent=False, readout=None):
    chain, n = [], 5
    for cell, width in zip(cells, (6, 4), strict=False):
        cell.wants_recurrent = recurrent
        chain += [nf.Linear(n, width, bias=True), cell]
        n = width
    generator = torch.Generator().manual_seed(3)
    net = nf.Network(*chain, nf.Linear(n, 3), readout or nf.LI(5e-3), generator=generator).double()
    net.initialise(generator, gain=1.6, recurrent_gain=0.8, readout_gain=0.8)
    with torch.no_grad():
        for name, tensor in named(net):
            if name.endswith("bias"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return net


@pytest.mark.parametrize("neuron", OWN)
def test_online_gradient_is_that_of_bptt(neuron):
    network, x = network_of(neuron(surrogate=SURROGATE)), spike_train()
    assert 0.05 < network.run(x).spikes[0].mean() < 0.8
    expected = Trainer(network, BPTT()).gradients(x, LABELS)
    y = network(x)  # and bptt's is autograd's through the plain forward pass
    loss = torch.stack([torch.nn.functional.cross_entropy(y_t, LABELS) for y_t in y]).mean()
    for by_autograd, ours in zip(
        torch.autograd.grad(loss, list(network.parameters())), expected, strict=True
    ):
        assert relative(by_autograd, ours) < 1e-10
    for rule in (Symmetric(trace=PerSynapse()), EProp(feedback="symmetric")):
        for ours, theirs in zip(Trainer(network, rule).gradients(x, LABELS), expected, strict=True):
            assert float(theirs.norm()) > 1e-6
            assert relative(ours, theirs) < 1e-10


@pytest.mark.parametrize("neuron", OWN)
@pytest.mark.parametrize(
    "rule",
    [FDFA(trace=PerSynapse(), momentum=0.1), DFA(trace=PerSynapse()), EProp(), DKP(trace=PerSynapse())],
)
def test_broadcast_rules_learn_a_deep_recurrent_network(neuron, rule):
    # each of the four samples 16 times, so that FDFA has 64 probes a batch to average over
    network, x = network_of(neuron(), neuron(), recurrent=True), spike_train(steps=6).repeat(1, 16, 1)
    trainer = Trainer(network, rule, torch.optim.Adam(network.parameters(), lr=2e-2))
    losses = [float(trainer.step(x, LABELS.repeat(16)).loss) for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("neuron", OWN)
@pytest.mark.parametrize("recurrent", [False, True])
def test_tangents_are_torchs_forward_mode_derivative(neuron, recurrent):
    """Probes enter what a layer transmits; its own reset does not see them."""
    network, x = network_of(neuron(), neuron(), recurrent=recurrent), spike_train(steps=6)
    generator = torch.Generator().manual_seed(2)
    probes = [[torch.randn(4, n, generator=generator, dtype=x.dtype) for n in (6, 4)] for _ in x]

    def outputs(*scales):
        layers, y = [layer.initial_state(4) for layer in network.hidden], x.new_zeros(4, 3)
        own = [state.s for state in layers]
        for t, pre in enumerate(x):
            for k, layer in enumerate(network.hidden):
                drive = layer.synapse(pre)
                if layer.recurrent is not None:
                    drive = drive + layer.recurrent(own[k])
                layers[k] = layer.cell.advance(drive, layers[k])
                pre = own[k] = layers[k].s + scales[0] * probes[t][k]
            y = network.readout.kappa * y + network.readout.synapse(pre)
        return y

    zero = x.new_zeros(())
    with torch.no_grad():
        expected = torch.func.jvp(outputs, (zero,), (zero + 1.0,))[1]
        tangent = initial_tangent(network, 4)
        for step, probe in zip(network.steps(x), probes, strict=True):
            tangent = tangent_step(network, step, tuple(probe), tangent)
    assert relative(tangent.readout.y, expected) < 1e-12


def test_inference_derives_nothing(monkeypatch):
    def asked(*_):
        raise AssertionError("a derivative that nobody reads")

    network, x = network_of(Quadratic(), Resonator(), recurrent=True), spike_train()
    monkeypatch.setattr("neurofdfa.nn.layer.derivative", asked)
    network.run(x)
    Trainer(network, DFA(trace=PerSynapse())).predict(x)
    with pytest.raises(AssertionError, match="nobody reads"):
        Trainer(network, DFA(trace=PerSynapse())).step(x, LABELS)


@pytest.mark.parametrize("adaptation", [0.0, 0.4])
@pytest.mark.parametrize(("reset", "gradient"), RESETS)
@pytest.mark.parametrize(("readout", "tau_syn"), [("leaky", 0.0), ("spike-count", 4e-3)])
def test_the_derived_form_is_the_written_one(adaptation, reset, gradient, readout, tau_syn):
    """Gradients of bptt and of every trace, with FDFA's tangents and estimates, in two recurrent layers."""

    def lif(b=adaptation):
        return nf.LIF(6e-3, tau_syn, reset=reset, reset_gradient=gradient, surrogate=SURROGATE, adaptation=b)

    plain, outputs = (nf.LI(5e-3) if readout == "leaky" else f(lif(0.0)) for f in (nf.LIF.copy, Derived))
    written = network_of(lif(), lif(), recurrent=True, readout=plain)
    derived = network_of(Derived(lif()), Derived(lif()), recurrent=True, readout=outputs)
    networks, x = (written, derived), spike_train(steps=8)

    def equal(ours, theirs):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)

    equal(*(Trainer(n, BPTT()).gradients(x, LABELS) for n in networks))
    for rule in (FDFA(trace=PerSynapse()), DFA(trace=PerSynapse()), DKP(trace=PerSynapse())):
        pair = [
            Trainer(n, rule, engine="reference", generator=torch.Generator().manual_seed(1)) for n in networks
        ]
        equal(*(t.gradients(x, LABELS) for t in pair))
        if isinstance(rule, FDFA):  # B = 0 sends nothing yet: let both learn what they estimate
            for trainer in pair:
                trainer.step(x, LABELS)
            equal(*(t.rule_state.matrices for t in pair))
            assert all(b.any() for b in pair[0].rule_state.matrices)
            equal(*(t.gradients(x, LABELS) for t in pair))


class Gossip(nf.Neuron):
    states = ("v",)

    def step(self, drive, state):
        v = state.v + drive.mean(1, keepdim=True) + 0 * drive
        return self.spike(v - 1.0), (v,)


class Forgetful(nf.Neuron):
    states = ("v", "w")

    def step(self, drive, state):
        return self.spike(drive), (drive,)


class Trained(Quadratic):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))

    def step(self, drive, state):
        return super().step(self.gain * drive, state)


def test_what_cannot_be_is_said_in_one_line():
    with pytest.raises(nf.UserError, match="the step of Gossip mixes neurons or samples in 'v'"):
        network_of(Gossip())
    with pytest.raises(nf.UserError, match=r"a tuple of its 2 states \(v, w\)"):
        network_of(Forgetful())
    with pytest.raises(nf.UserError, match="does not say what it remembers"):
        nf.Neuron()
    network, x = network_of(Quadratic()), spike_train()
    with pytest.raises(nf.UserError, match="a trace per neuron does not fit Quadratic"):
        Trainer(network, DFA(trace=PerNeuron())).step(x, LABELS)
    with pytest.raises(nf.UserError, match="the event engine does not know the neuron Quadratic"):
        Trainer(network, DFA(trace=PerSynapse()), engine="events")
    with pytest.raises(nf.UserError, match="Quadratic in layer1 is not a LIF neuron, and NIR holds"):
        to_nir(network)
    with pytest.raises(nf.UserError, match="the parameters of Trained have no eligibility"):
        Trainer(network_of(Trained()), DFA(trace=PerSynapse())).step(x, LABELS)
    assert all(g.any() for g in Trainer(network_of(Trained()), BPTT()).gradients(x, LABELS))
