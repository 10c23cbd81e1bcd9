"""With λ = W_oᵀ e the online gradient IS the gradient: one hidden layer, per-synapse trace, float64."""

from itertools import product

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError
from neurofdfa.rules import DFA
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import (
    SURROGATE,
    reference_gradients,
    relative,
    remembering,
    simulate,
    small_network,
    spec_of,
    spike_train,
    weights_of,
)
from tests.oracles.rules import Symmetric

RESETS = list(product(("soft", "hard"), ("detached", "attached")))
LABELS = torch.tensor([0, 1, 2, 1])


def lif(reset="soft", reset_gradient="detached", tau_syn=0.0) -> LIF:
    return LIF(
        tau_mem=6e-3,
        tau_syn=tau_syn,
        reset=reset,
        reset_gradient=reset_gradient,
        surrogate=SURROGATE,
        decay_bits=None,
    )


def online(network, rule, x, target, loss):
    return Trainer(network, rule, loss=loss, engine="reference").gradients(x, target)


@pytest.mark.parametrize(("reset", "reset_gradient"), RESETS)
@pytest.mark.parametrize("when", ["every-step", "last", 7])
@pytest.mark.parametrize("tau_syn", [0.0, 4e-3])
@pytest.mark.parametrize("readout", ["integrator", "leaky"])
@pytest.mark.parametrize("bias", [False, True])
def test_online_gradient_is_the_gradient(reset, reset_gradient, when, tau_syn, readout, bias):
    network = small_network(lif=lif(reset, reset_gradient, tau_syn), readout=readout, tau_out=5e-3, bias=bias)
    x = spike_train()
    fired = network.run(x).spikes[0].mean()
    assert 0.08 < fired < 0.8, "a silent or saturated layer would prove nothing"
    expected = reference_gradients(network, x, LABELS, when)
    got = online(network, Symmetric(trace=PerSynapse()), x, LABELS, CrossEntropy(when=when))
    bptt = Trainer(network, BPTT(), loss=CrossEntropy(when=when), engine="reference").gradients(x, LABELS)
    assert len(expected) == len(got) == len(bptt) == (4 if bias else 2)
    for e, g, b in zip(expected, got, bptt, strict=True):
        assert float(e.norm()) > 1e-4
        assert relative(g, e) < 1e-10
        assert relative(b, e) < 1e-10


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_regression_on_a_moving_target(reset):
    network = small_network(lif=lif(reset), readout="leaky", tau_out=5e-3)
    x = spike_train()
    target = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = reference_gradients(network, x, target, "every-step")
    got = online(network, Symmetric(trace=PerSynapse()), x, target, MeanSquaredError())
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


@pytest.mark.parametrize("modes", [(a, b) for a in RESETS for b in RESETS if a != b])
def test_a_mismatched_reset_mode_fails(modes):
    """The same comparison must notice each of the other three reset modes."""
    mine, other = modes
    network = small_network(lif=lif(*mine))
    x = spike_train()
    spec = spec_of(network)._replace(hard=other[0] == "hard", attached=other[1] == "attached")
    expected = reference_gradients(network, x, LABELS, "every-step", spec=spec)
    got = online(network, Symmetric(trace=PerSynapse()), x, LABELS, CrossEntropy())
    assert relative(got[0], expected[0]) > 1e-2


def test_an_unfiltered_trace_is_not_the_gradient():
    network = small_network(lif=lif())
    expected = reference_gradients(network, spike_train(), LABELS, "every-step")
    got = online(network, Symmetric(trace=PerSynapse(filtered=False)), spike_train(), LABELS, CrossEntropy())
    assert relative(got[0], expected[0]) > 1e-1
    assert relative(got[1], expected[1]) < 1e-10, "the readout's own gradient does not depend on the trace"


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("tau_syn", [0.0, 4e-3])
def test_per_neuron_trace_is_exact_for_soft_detached_reset_and_memoryless_readout(filtered, tau_syn):
    network = small_network(lif=lif(tau_syn=tau_syn), bias=True, **remembering(0.0))
    expected = reference_gradients(network, spike_train(), LABELS, "every-step")
    got = online(network, Symmetric(trace=PerNeuron(filtered)), spike_train(), LABELS, CrossEntropy())
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


@pytest.mark.parametrize(
    ("reset", "reset_gradient", "kappa"),
    [
        ("soft", "attached", 0.0),
        ("hard", "detached", 0.0),
        ("hard", "attached", 0.0),
        ("soft", "detached", 1.0),
    ],
)
def test_per_neuron_trace_is_an_approximation_elsewhere(reset, reset_gradient, kappa):
    """And no worse a one than the documentation says: it still points the right way."""
    network = small_network(lif=lif(reset, reset_gradient), **remembering(kappa))
    expected = reference_gradients(network, spike_train(), LABELS, "every-step")[0]
    got = online(network, Symmetric(trace=PerNeuron()), spike_train(), LABELS, CrossEntropy())[0]
    assert relative(got, expected) > 1e-3
    assert torch.cosine_similarity(got.flatten(), expected.flatten(), 0) > 0.5


@pytest.mark.parametrize(("reset", "reset_gradient"), RESETS)
@pytest.mark.parametrize("when", ["every-step", "last"])
def test_spiking_readout_learns_from_its_exact_gradient(reset, reset_gradient, when):
    """The readout's own weights; hidden layers are approximate as W_oᵀ leaves out the readout's ψ."""
    network = small_network(
        lif=lif(reset, reset_gradient, 4e-3), readout="spike-count", bias=True, readout_gain=1.8
    )
    x = spike_train()
    assert network.run(x).readout_spikes.mean() > 0.05
    expected = reference_gradients(network, x, LABELS, when)
    got = online(network, Symmetric(trace=PerSynapse()), x, LABELS, CrossEntropy(when=when))
    bptt = Trainer(network, BPTT(), loss=CrossEntropy(when=when), engine="reference").gradients(x, LABELS)
    for g, e, b in zip(got[2:], expected[2:], bptt[2:], strict=True):
        assert relative(g, e) < 1e-10
        assert relative(b, e) < 1e-10
    assert max(relative(b, e) for b, e in zip(bptt, expected, strict=True)) < 1e-10
    assert relative(got[0], expected[0]) > 1e-2


@pytest.mark.parametrize(("reset", "reset_gradient"), RESETS)
def test_recurrent_layer_drops_only_the_paths_through_other_spikes(reset, reset_gradient):
    """V ≠ 0: equal to autograd with the recurrent spikes cut out of the graph, for W, V and b (e-prop)."""
    network = small_network(lif=lif(reset, reset_gradient, 4e-3), recurrent=True, bias=True)
    x = spike_train()
    cut = reference_gradients(network, x, LABELS, "every-step", cut_recurrence=True)
    full = reference_gradients(network, x, LABELS, "every-step")
    got = online(network, Symmetric(trace=PerSynapse()), x, LABELS, CrossEntropy())
    assert max(relative(g, e) for g, e in zip(got, cut, strict=True)) < 1e-10
    assert relative(got[0], full[0]) > 1e-2, "the dropped paths must matter here"


def test_recurrent_layer_is_exact_where_its_weights_are_zero():
    network = small_network(lif=lif(tau_syn=4e-3), recurrent=True, bias=True)
    with torch.no_grad():
        network.hidden[0].recurrent.weight.zero_()
    x = spike_train()
    full = reference_gradients(network, x, LABELS, "every-step")
    got = online(network, Symmetric(trace=PerSynapse()), x, LABELS, CrossEntropy())
    assert max(relative(g, e) for g, e in zip(got, full, strict=True)) < 1e-10


def test_bptt_is_the_gradient_of_deep_recurrent_networks():
    network = small_network(lif=lif("hard", "attached", 4e-3), hidden=[6, 5], recurrent=True, bias=True)
    x = spike_train()
    expected = reference_gradients(network, x, LABELS, "every-step")
    got = Trainer(network, BPTT(), engine="reference").gradients(x, LABELS)
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


def test_dropout_gradient_is_exact_given_the_masks():
    """λ is silenced where the neuron was, and scaled as its spikes were."""
    network = small_network(lif=lif(), dropout=0.4, input_dropout=0.3)
    x = spike_train()
    masks = network.draw_masks(4, torch.Generator().manual_seed(9))
    w = weights_of(network, requires_grad=True)
    y = simulate(w, x * masks.input, spec_of(network), masks=masks.layers).y
    loss = torch.nn.functional.cross_entropy(y.flatten(0, 1), LABELS.repeat(12))
    expected = torch.autograd.grad(loss, list(w.values()))
    learner = Trainer(
        network,
        Symmetric(trace=PerSynapse()),
        torch.optim.SGD(network.parameters(), lr=1.0),
        generator=torch.Generator().manual_seed(9),
        engine="reference",
    )
    before = [p.detach().clone() for p in network.parameters()]
    learner.step(x, LABELS)  # `gradients` leaves dropout out
    got = [old - new.detach() for old, new in zip(before, network.parameters(), strict=True)]
    assert (masks.layers[0] == 0).any()
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10


def test_forward_pass_equals_the_reference_in_every_mode():
    x = spike_train(steps=30)
    for (reset, gradient), readout, tau_syn in product(
        RESETS, ("integrator", "leaky", "spike-count"), (0.0, 4e-3)
    ):
        network = small_network(
            lif=lif(reset, gradient, tau_syn), hidden=[6, 5], recurrent=True, bias=True, readout=readout
        )
        outcome = simulate(weights_of(network), x, spec_of(network))
        got = network.run(x)
        torch.testing.assert_close(got.y, outcome.y, rtol=1e-12, atol=1e-12)
        for mine, theirs in zip(got.spikes, outcome.spikes, strict=True):
            assert torch.equal(mine, theirs)


def test_dfa_with_the_transposed_readout_is_the_symmetric_rule():
    network = small_network(lif=lif())
    learner = Trainer(network, DFA(trace=PerSynapse()), engine="reference")
    learner.rule_state.matrices[0].copy_(network.readout.synapse.weight.t())
    expected = reference_gradients(network, spike_train(), LABELS, "every-step")
    got = learner.gradients(spike_train(), LABELS)
    assert max(relative(g, e) for g, e in zip(got, expected, strict=True)) < 1e-10
