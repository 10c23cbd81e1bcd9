"""A layer's update depends on nothing that the layer cannot know: bit for bit, not to a tolerance.

A training run is recorded. It is replayed with the weights and internals of every OTHER layer replaced by
noise; what a layer may know stays: its input spikes, its own state, the outputs and their tangents (both
broadcast) and its own probe. Its weight update and its feedback's update must not change in any bit.
"""

import copy

import pytest
import torch

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import LIF, LIFState, LIFTangent
from neurofdfa.rules import DFA, DKP, FDFA
from neurofdfa.rules.forward_mode import NetworkTangent, tangent_step
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, named, small_network, spike_train

X, LABELS = spike_train(steps=10), torch.tensor([0, 1, 2, 1])
NOISE = torch.Generator().manual_seed(77)


def junk(like):
    return torch.randn(like.shape, generator=NOISE, dtype=like.dtype)


def network_for(recurrent, kernel_reset="hard"):
    lif = LIF(tau_mem=6e-3, tau_syn=3e-3, reset=kernel_reset, surrogate=SURROGATE, decay_bits=None)
    return small_network(
        lif=lif, hidden=[6, 5, 4], readout="leaky", bias=True, recurrent=recurrent, dropout=0.2
    )


def learner_for(network, rule):
    learner = Trainer(
        network,
        rule,
        torch.optim.SGD(network.parameters(), lr=0.0),
        rate_regulariser=RateRegulariser(),
        generator=torch.Generator().manual_seed(5),
        engine="reference",
    )
    for matrix in learner.rule_state.matrices:  # FDFA starts at 0, where a leak would be invisible
        matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(6)))
    return learner


def collect(learner):
    """Accumulated gradients of a sequence before any update: of parameters by name, and of feedback."""
    stream = learner.stream(X.shape[1], horizon=len(X))
    for x_t in X:
        stream.step(x_t, LABELS)
    grads = {n: p.grad for n, p in named(learner.network)}
    return grads, [b.grad for b in learner.rule.trainable(learner.rule_state)]


class Log:
    """Records the network's steps and tangents, or plays them back with all but one layer tampered."""

    def __init__(self, monkeypatch):
        self.steps, self.tangents, self.keep = [], [], None
        monkeypatch.setattr("neurofdfa.rules.fdfa.tangent_step", self.tangent_step)

    def tangent_step(self, network, step, probes, tangent, **settings):
        if self.keep is None:
            self.tangents.append(tangent_step(network, step, probes, tangent, **settings))
            return self.tangents[-1]
        true = next(self.replayed_tangents)
        layers = tuple(
            layer if index == self.keep else LIFTangent(*(junk(x) for x in layer))
            for index, layer in enumerate(true.layers)
        )
        return NetworkTangent(layers, tuple(junk(x) for x in true.own), true.readout)

    def record(self, network):
        step = network.step

        def recorded(*arguments):
            self.steps.append(step(*arguments))
            return self.steps[-1]

        network.step = recorded

    def replay(self, network, keep):
        self.keep = keep
        steps = iter(self.steps)
        self.replayed_tangents = iter(self.tangents)

        def played(*_):
            true = next(steps)
            layers = tuple(
                layer if index == keep else tampered(layer) for index, layer in enumerate(true.layers)
            )
            return true._replace(layers=layers, readout=true.readout._replace(pre=junk(true.readout.pre)))

        network.step = played


def tampered(layer):
    before, after = (LIFState(*(junk(x) for x in state)) for state in (layer.before, layer.after))
    return LayerStep(junk(layer.pre), before, after, junk(layer.psi), layer.mask)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("trace", [PerNeuron(), PerSynapse()])
@pytest.mark.parametrize(
    "rule", [DFA, DKP, FDFA, lambda trace: FDFA(kernel="output", fraction=0.5, trace=trace)]
)
def test_update_is_bit_identical_when_all_other_layers_are_replaced(monkeypatch, rule, trace, recurrent):
    log = Log(monkeypatch)
    network = network_for(recurrent)
    original = copy.deepcopy(network)
    log.record(network)
    rule = rule(trace=trace)
    grads, feedback = collect(learner_for(network, rule))
    for keep in range(3):
        other = copy.deepcopy(original)
        with torch.no_grad():
            for name, p in named(other):
                if not name.startswith(f"hidden.{keep}."):
                    p.copy_(junk(p))
        log.replay(other, keep)
        new_grads, new_feedback = collect(learner_for(other, rule))
        for name, gradient in grads.items():
            if name.startswith(f"hidden.{keep}."):
                assert gradient.abs().sum() > 0
                assert torch.equal(new_grads[name], gradient), name
            elif "readout" not in name:
                assert not torch.equal(new_grads[name], gradient), "the tampering must be felt elsewhere"
        if feedback:
            assert feedback[keep].abs().sum() > 0
            assert torch.equal(new_feedback[keep], feedback[keep])


def test_the_readout_learns_from_its_own_input_and_error_alone():
    network = network_for(False)
    original = copy.deepcopy(network)
    steps = []
    step = network.step

    def recorded(*arguments):
        steps.append(step(*arguments))
        return steps[-1]

    network.step = recorded
    grads, _ = collect(learner_for(network, DFA()))
    other = copy.deepcopy(original)
    with torch.no_grad():
        for layer in other.hidden:
            for p in layer.parameters():
                p.copy_(junk(p))
    played = iter(steps)

    def replay(*_):
        true = next(played)
        return true._replace(layers=tuple(tampered(layer) for layer in true.layers))

    other.step = replay
    new_grads, _ = collect(learner_for(other, DFA()))
    for name in ("readout.weight", "readout.bias"):
        assert grads[name].abs().sum() > 0
        assert torch.equal(new_grads[name], grads[name])
