"""The geometric decay of B − W_oᵀ is in oracles/test_controls.py."""

import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.rules import DKP
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import SURROGATE, small_network, spike_train

X, LABELS = spike_train(), torch.tensor([0, 1, 2, 1])


def test_feedback_gradient_is_the_outer_product_of_filtered_spikes_and_error():
    """For every layer, from the definition; for the last one it is the readout's own, transposed."""
    lif = LIF(tau_mem=6e-3, surrogate=SURROGATE, reset="soft", decay_bits=None)
    network = small_network(lif=lif, hidden=[6, 5], readout="leaky", tau_out=5e-3)
    run = network.run(X)
    learner = Trainer(network, DKP(), engine="reference")
    stream = learner.stream(4, horizon=12)
    for x_t in X:
        stream.step(x_t, LABELS)
    onehot = torch.nn.functional.one_hot(LABELS, 3).double()
    for b, spikes in zip(learner.rule_state.matrices, run.spikes, strict=True):
        z = torch.zeros_like(spikes[0])
        expected = torch.zeros_like(b)
        for s, y in zip(spikes, run.y, strict=True):
            z = network.readout.kappa * z + s
            expected += z.t() @ (torch.softmax(y, 1) - onehot) / (4 * 12)
        torch.testing.assert_close(b.grad, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(b.grad, network.readout.synapse.weight.grad.t(), rtol=1e-10, atol=1e-12)
