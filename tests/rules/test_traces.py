"""Traces by hand, and each form against the definition written as a sum over the past."""

import math

import pytest
import torch
from torch.utils._pytree import tree_leaves

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import LIF, NO_ADAPTATION, LIFState
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import feed_forward
from neurofdfa.nn.surrogate import Triangular
from neurofdfa.rules.traces import PerNeuron, PerSynapse, cascade, cascade_state
from tests.layers import double_layer
from tests.oracles.reference import SURROGATE, small_network, spike_train

HALF, QUARTER = 1e-3 / math.log(2), 1e-3 / math.log(4)


def test_cascade_by_hand():
    """Two filters in series on a unit pulse: (½)ⁿ then the sum of products with (¼)ⁿ."""
    state: tuple[float, ...] = (0.0, 0.0)
    out = []
    for x in (1.0, 0.0, 0.0):
        y, state = cascade((0.5, 0.25), x, state)
        out.append(y)
    assert out == [1.0, 0.75, 0.4375]


def test_a_decay_of_zero_passes_through_and_holds_nothing():
    zero = torch.zeros(2)
    assert len(cascade_state((0.0, 0.5, 0.0), zero)) == 1
    y, state = cascade((0.0, 0.5, 0.0), torch.ones(2), (torch.full((2,), 4.0),))
    assert y.tolist() == [3.0, 3.0]
    assert len(state) == 1


def follow(trace, layer, kappa, records):
    state = trace.init(layer, kappa, records[0].pre.shape[0])
    for seen in records:
        state = trace.step(layer, kappa, seen, state)
    return state


def record(pre, psi, s=0.0, u=0.0):
    one = torch.ones(1, 1, dtype=torch.float64)
    state = LIFState(one, u * one, s * one)
    return LayerStep(pre * one, state, state, psi * one, None)


def test_per_neuron_by_hand():
    """κ = ½, β = ½: spikes at 0 and 2 leave 1, 1, 1.75 behind two filters; ψ of the last step counts."""
    layer = double_layer(Linear(1, 1, bias=True), LIF(tau_mem=HALF, reset="soft", decay_bits=None))
    records = [record(1, 0.1), record(0, 0.2), record(1, 0.5)]
    state = follow(PerNeuron(), layer, 0.5, records)
    gradient = PerNeuron().gradient(layer, torch.full((1, 1), 2.0, dtype=torch.float64), records[-1], state)
    assert float(gradient.weight) == pytest.approx(2 * 0.5 * (1 + 2 * 0.5 * 0.5 + 0.25))
    # the constant 1 behind both filters: Σ (n + 1) ½ⁿ = 1 + 1 + ¾
    assert float(gradient.bias) == pytest.approx(2 * 0.5 * 2.75)
    assert gradient.recurrent is None


def test_per_synapse_by_hand():
    """ē = κ ē⁻ + ψ ε with ε = β ε⁻ + s: ψ of every step counts."""
    layer = double_layer(Linear(1, 1), LIF(tau_mem=HALF, reset="soft", decay_bits=None))
    records = [record(1, 0.5), record(0, 0.25), record(1, 1.0)]
    state = follow(PerSynapse(), layer, 0.5, records)
    # ε = 1, ½, 1¼;  ψε = ½, ⅛, 1¼;  ē = ½, ⅜, 1 7/16
    signal = torch.full((1, 1), 2.0, dtype=torch.float64)
    gradient = PerSynapse().gradient(layer, signal, records[-1], state)
    assert float(gradient.weight) == pytest.approx(2 * 1.4375)
    assert gradient.bias is None
    unfiltered = follow(PerSynapse(filtered=False), layer, 0.5, records)
    assert float(unfiltered.pre.eligibility.filtered[0, 0, 0, 0]) == pytest.approx(1.25)


def test_hard_reset_clears_the_trace():
    layer = double_layer(Linear(1, 1), LIF(tau_mem=HALF, reset="hard", decay_bits=None))
    state = follow(PerSynapse(filtered=False), layer, 0.0, [record(1, 1.0), record(0, 1.0, s=1.0)])
    assert float(state.pre.eligibility.membrane[0, 0, 0, 0]) == 0.0


def test_attached_reset_by_hand():
    """d = β − θψ⁻ with u⁻ = 1.25 and a triangle of width 1: ½ − ¾ = −¼."""
    lif = LIF(
        tau_mem=HALF,
        reset_gradient="attached",
        surrogate=Triangular(width=1.0),
        reset="soft",
        decay_bits=None,
    )
    layer = double_layer(Linear(1, 1), lif)
    state = follow(PerSynapse(filtered=False), layer, 0.0, [record(1, 1.0), record(0, 1.0, s=1.0, u=1.25)])
    assert float(state.pre.eligibility.membrane[0, 0, 0, 0]) == pytest.approx(-0.25)


def test_synaptic_filter_comes_first():
    layer = double_layer(Linear(1, 1), LIF(tau_mem=HALF, tau_syn=QUARTER, reset="soft", decay_bits=None))
    records = [record(1, 1.0), record(0, 1.0)]
    assert float(follow(PerSynapse(filtered=False), layer, 0.0, records).pre.p[0, 0, 0]) == 0.25
    assert (
        float(follow(PerSynapse(filtered=False), layer, 0.0, records).pre.eligibility.membrane[0, 0, 0, 0])
        == 0.75
    )
    assert float(follow(PerNeuron(filtered=False), layer, 0.0, records).out[0]) == 0.75


@pytest.mark.parametrize("recurrent", [False, True])
def test_both_forms_agree_where_both_are_exact(recurrent):
    """Soft detached reset, nothing filtered: one value per neuron says all that one per synapse does."""
    lif = LIF(tau_mem=6e-3, tau_syn=2e-3, surrogate=SURROGATE, reset="soft", decay_bits=None)
    network = small_network(lif=lif, bias=True, recurrent=recurrent)
    layer = network.hidden[0]
    steps = [step.layers[0] for step in network.steps(spike_train())]
    signal = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for trace in (PerNeuron(filtered=False), PerSynapse(filtered=False)):
        found.append(trace.gradient(layer, signal, steps[-1], follow(trace, layer, 0.9, steps)))
    for a, b in zip(*found, strict=True):
        if a is None:
            assert b is None
        else:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert (found[0].recurrent is not None) == recurrent


@pytest.mark.parametrize(("trace", "size"), [(PerNeuron(), 2 * 40), (PerSynapse(), 40 + 2 * 30 * 40)])
def test_memory_is_what_the_documentation_says(trace, size):
    """Values per sample: filter stages of 40 inputs, or two per synapse."""
    network = feed_forward(40, [30], 2, neuron=LIF(reset="soft", decay_bits=None))
    state = follow(trace, network.hidden[0], 1.0, [next(iter(network.steps(torch.ones(1, 1, 40)))).layers[0]])
    held = [part for part in tree_leaves(state.pre) if part is not NO_ADAPTATION]
    assert sum(part.numel() for part in held) == size
