import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DFA
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import spike_train


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_feedback_is_normalised(scale):
    network = feed_forward(5, [400, 100], 50, neuron=LIF(reset="soft", decay_bits=None))
    matrices = Trainer(network, DFA(scale=scale), engine="reference").rule_state.matrices
    for b, n in zip(matrices, (400, 100), strict=True):
        assert b.shape == (n, 50)
        assert float(b.std()) == pytest.approx(scale / (n * 50) ** 0.5, rel=0.03)


def test_feedback_never_changes():
    learner = Trainer(
        feed_forward(5, [8, 7], 3, neuron=LIF(reset="soft", decay_bits=None)), DFA(), engine="reference"
    )
    before = [b.clone() for b in learner.rule_state.matrices]
    for _ in range(3):
        learner.step(spike_train().float(), torch.tensor([0, 1, 2, 1]))
    assert all(torch.equal(a, b) for a, b in zip(before, learner.rule_state.matrices, strict=True))


def test_feedback_comes_from_the_generator():
    draws = [
        Trainer(
            feed_forward(5, [8], 3, neuron=LIF(reset="soft", decay_bits=None)),
            DFA(),
            generator=torch.Generator().manual_seed(s),
            engine="reference",
        ).rule_state
        for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0].matrices[0], draws[1].matrices[0])
    assert not torch.equal(draws[0].matrices[0], draws[2].matrices[0])


def test_only_the_taught_neurons_of_a_layer_learn():
    learner = Trainer(
        feed_forward(5, [8, 7], 3, neuron=LIF(reset="soft", decay_bits=None)),
        DFA(taught=2),
        engine="reference",
    )
    gradients = learner.gradients(spike_train().float(), torch.tensor([0, 1, 2, 1]))
    for gradient in gradients[:2]:
        assert gradient[:2].abs().sum() > 0
        assert not gradient[2:].any()
    with pytest.raises(UserError, match="at least 1 neuron"):
        DFA(taught=0)
