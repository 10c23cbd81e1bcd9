"""OPZO against a slow second run of the network: what noise in the spikes does, and what B learns from it."""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.measure.locality.audit import certify
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import FDFA, OPZO
from neurofdfa.train.trainer import Trainer
from tests.rules.slow import LABELS, filtered, input_spikes, learnt, tiny


def drawn(rule, learner, steps, batch):
    """The probes of a sequence, in the order in which the rule draws them."""
    like = learner.rule_state.matrices
    return [[rule.draw(Shard(batch), b, learner.rule_state.generator) for b in like] for _ in range(steps)]


def noisy_outputs(network, x, noise):
    """Outputs of soft-reset LIF layers with `noise[t][layer]` added to what they transmit, written out."""
    lif, kappa = network.hidden[0].neuron, network.readout.kappa
    states = [[torch.zeros(x.shape[1], layer.n, dtype=x.dtype) for _ in range(3)] for layer in network.hidden]
    y, outputs = torch.zeros(x.shape[1], network.n_out, dtype=x.dtype), []
    for x_t, added in zip(x, noise, strict=True):
        sent = x_t
        for layer, state, v in zip(network.hidden, states, added, strict=True):
            i, u, s = state
            i = lif.alpha * i + sent @ layer.synapse.weight.T
            u = lif.beta * u + i - s
            state[:] = i, u, (u > 1.0).to(x.dtype)
            sent = state[2] + v
        y = kappa * y + sent @ network.readout.synapse.weight.T
        outputs.append(y)
    return torch.stack(outputs)


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.05, 0.4])
def test_b_is_the_correlation_of_noise_with_what_it_does_to_the_outputs(sigma):
    network, x = tiny((6, 5)), input_spikes()
    rule = OPZO(sigma=sigma, kernel="output", momentum=1.0)
    learner, _ = learnt(network, rule, x)
    steps, batch = x.shape[:2]
    probes = drawn(rule, learner, steps, batch)
    silence = [[0.0 * v for v in step] for step in probes]
    noisy = noisy_outputs(network, x, [[sigma * v for v in step] for step in probes])
    difference = (noisy - noisy_outputs(network, x, silence)) / sigma
    assert difference.abs().max() > 0.5
    kappa = network.readout.kappa
    norm = filtered(kappa**2, torch.ones(steps, 1, 1, dtype=x.dtype))
    learner = Trainer(
        network, rule, torch.optim.SGD(network.parameters(), lr=0.0),
        generator=torch.Generator().manual_seed(11), engine="reference",
    )  # fmt: skip
    learner.step(x, LABELS)
    for index, b in enumerate(learner.rule_state.matrices):
        z = filtered(kappa, torch.stack([step[index] for step in probes])) / norm
        wanted = torch.einsum("tbk,tbn->nk", difference, z) / (steps * batch)
        torch.testing.assert_close(b, wanted, rtol=1e-9, atol=1e-12)


def test_small_noise_of_the_last_layer_learns_what_tangents_learn():
    """Above the last hidden layer all is linear: differences and tangents are the same number."""
    network, x = tiny((6,)), input_spikes()
    found = []
    for rule in (OPZO(), FDFA()):
        learner = Trainer(network, rule, torch.optim.SGD(network.parameters(), lr=0.0), engine="reference")
        learner.step(x, LABELS)
        found.append(learner.rule_state.matrices[0].clone())
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_what_learns_is_the_run_without_noise():
    network, x = tiny((6, 5)), input_spikes()
    one, two = (learnt(network, OPZO(sigma=sigma), x)[1] for sigma in (0.1, 0.5))
    for name, gradient in one.items():  # B is 0 in the first sequence, and the readout hears true spikes
        torch.testing.assert_close(gradient, two[name])


def test_it_hears_a_broadcast_alone():
    found = certify(OPZO(), tiny((6, 5, 4)))
    assert found.local, found.to_text()
    assert {"outputs", "output tangents", "error"} <= set(found.layers[0].reads)


def test_settings_and_delays():
    with pytest.raises(UserError, match="sigma"):
        OPZO(sigma=0.0)
    assert "noisy copy" in OPZO().engine_facts
    network = feed_forward(7, [6, 5], 3, readout="leaky").double()
    with pytest.warns(UserWarning, match="noisy copy"):
        Trainer(network, OPZO(), engine="auto").step(input_spikes(), LABELS)
