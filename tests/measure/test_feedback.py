"""The true gain of a path, and how near a rule's feedback matrices are to it."""

import torch

from neurofdfa.measure.feedback import feedback_quality, true_gain
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate
from neurofdfa.nn.surrogate import FastSigmoid
from neurofdfa.rules import DFA, DKP, LocalLoss, ReadoutOnly
from neurofdfa.train.trainer import Trainer


def inputs(seed: int = 0) -> torch.Tensor:
    return (torch.rand(20, 5, 12, generator=torch.Generator().manual_seed(seed)) < 0.3).double()


def test_the_gain_of_the_last_layer_is_the_readouts_weight() -> None:
    network = feed_forward(12, [9, 7], 4, readout="leaky", neuron=LIF(reset="soft", decay_bits=None)).double()
    gain = true_gain(network, inputs(), 1)
    assert torch.allclose(gain, network.readout.synapse.weight.t(), rtol=1e-12)


def test_the_gain_below_is_what_autograd_finds() -> None:
    """A layer above whose input is shifted by a variable at the onset, differentiated through time."""
    network = feed_forward(
        12, [9, 7], 4, neuron=LIF(reset="soft", surrogate=FastSigmoid(0.5), decay_bits=None), readout="leaky"
    )
    network = network.double()
    x = inputs()
    scale_to_rate(network, x, 0.2)
    expected = torch.zeros(9, 4, dtype=torch.float64)
    for sample in range(5):
        onset = int((sample + 0.5) * 4)
        spike = torch.zeros(9, dtype=torch.float64, requires_grad=True)
        upper = feed_forward(
            9, [7], 4, neuron=LIF(reset="soft", surrogate=FastSigmoid(0.5), decay_bits=None), readout="leaky"
        )
        upper = upper.double()
        upper.hidden[0].synapse.weight.data.copy_(network.hidden[1].synapse.weight)
        upper.readout.synapse.weight.data.copy_(network.readout.synapse.weight)
        sent = network.run(x[:, sample : sample + 1]).spikes[0].clone()
        sent[onset] = sent[onset] + spike
        total = torch.zeros(4, dtype=torch.float64)
        for step in upper.steps(sent, differentiable=True):
            total = total + upper.readout.synapse(step.layers[0].after.s)[0]
        expected += torch.stack([torch.autograd.grad(y, spike, retain_graph=True)[0] for y in total], 1)
    assert float(expected.norm()) > 0.1
    assert torch.allclose(true_gain(network, x, 0), expected / 5, rtol=1e-9, atol=1e-12)


def test_quality_is_a_cosine_to_the_gain() -> None:
    network = feed_forward(12, [9], 4, neuron=LIF(reset="soft", decay_bits=None)).double()
    learner = Trainer(network, DFA(), engine="reference")
    assert abs(feedback_quality(learner, inputs())[0]) < 0.8
    learner.rule_state.matrices[0].copy_(3.0 * network.readout.synapse.weight.t())
    assert feedback_quality(learner, inputs())[0] > 1 - 1e-12
    assert feedback_quality(Trainer(network, DKP(), engine="reference"), inputs()) is not None


def test_rules_without_feedback_have_no_quality() -> None:
    network = feed_forward(12, [9], 4, neuron=LIF(reset="soft", decay_bits=None)).double()
    for rule in (ReadoutOnly(), LocalLoss()):
        assert feedback_quality(Trainer(network, rule, engine="reference"), inputs()) is None
