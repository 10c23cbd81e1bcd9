"""Hand-written tangents = torch's forward-mode derivative = finite differences, float64."""

from itertools import product

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from tests.oracles.reference import (
    SURROGATE,
    hard_spike,
    simulate,
    small_network,
    smooth_spike,
    spec_of,
    spike_train,
    weights_of,
)

STEPS, BATCH = 9, 3
RESETS = list(product(("soft", "hard"), ("detached", "attached")))
X = spike_train(steps=STEPS, batch=BATCH)


def network_with(reset, reset_gradient, readout="leaky", **settings):
    lif = LIF(
        tau_mem=6e-3,
        tau_syn=4e-3,
        reset=reset,
        reset_gradient=reset_gradient,
        surrogate=SURROGATE,
        decay_bits=None,
    )
    return small_network(lif=lif, hidden=[6, 4], readout=readout, tau_out=5e-3, bias=True, **settings)


def draw_probes(seed=2, shape=(6, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [
        tuple(torch.randn(BATCH, n, generator=generator, dtype=torch.float64) for n in shape)
        for _ in range(STEPS)
    ]


@torch.no_grad()
def carried(network, probes, masks=None, *, recurrent=True):
    """ẏ, ẋ `[T, B, k]` and ṡ per layer `[T, B, n]` as the core carries them beside the network."""
    tangent = initial_tangent(network, BATCH)
    ys, drives, spikes = [], [], []
    for step, v in zip(network.steps(X, masks), probes, strict=True):
        tangent = tangent_step(network, step, v, tangent, recurrent=recurrent)
        ys.append(tangent.readout.y)
        drives.append(tangent.readout.drive)
        spikes.append([layer.s for layer in tangent.layers])
    return torch.stack(ys), torch.stack(drives), [torch.stack(s) for s in zip(*spikes, strict=True)]


@torch.no_grad()
def outcome(network, probes, spike, masks=None, *, cut=False):
    done = simulate(
        weights_of(network),
        X,
        spec_of(network),
        spike=spike,
        probes=probes,
        masks=None if masks is None else masks.layers,
        cut_recurrence=cut,
    )
    return (done.y, *done.spikes)


def forward_mode(network, probes, spike, masks=None, *, cut=False):
    zero = [tuple(torch.zeros_like(v) for v in row) for row in probes]
    _, dots = torch.func.jvp(lambda p: outcome(network, p, spike, masks, cut=cut), (zero,), (probes,))
    return dots


@pytest.fixture
def smooth(monkeypatch):
    """The network's spike is replaced by a smooth function whose derivative is ψ."""
    monkeypatch.setattr("neurofdfa.nn.layer.heaviside", smooth_spike)


@pytest.mark.parametrize(("reset", "reset_gradient"), RESETS)
@pytest.mark.parametrize("readout", ["integrator", "leaky", "spike-count"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_smooth_network(smooth, reset, reset_gradient, readout, recurrent):
    network = network_with(reset, reset_gradient, readout, recurrent=recurrent)
    probes = draw_probes()
    y, drive, spikes = carried(network, probes)
    expected_y, *expected_spikes = forward_mode(network, probes, smooth_spike)
    torch.testing.assert_close(y, expected_y, rtol=1e-10, atol=1e-11)
    for got, expected in zip(spikes, expected_spikes, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-11)
    before = torch.cat([torch.zeros_like(y[:1]), y[:-1]])
    torch.testing.assert_close(drive, y - network.readout.kappa * before, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("readout", ["leaky", "spike-count"])
def test_finite_differences(smooth, reset, readout):
    """Only where the reset is attached: a finite difference cannot detach anything."""
    network = network_with(reset, "attached", readout, recurrent=True)
    probes = draw_probes()
    y, _, _ = carried(network, probes)
    h = 1e-5
    ends = [
        outcome(network, [tuple(sign * h * v for v in row) for row in probes], smooth_spike)[0]
        for sign in (1.0, -1.0)
    ]
    numeric = (ends[0] - ends[1]) / (2 * h)
    assert float((y - numeric).norm() / numeric.norm()) < 1e-6


@pytest.mark.parametrize(("reset", "reset_gradient"), RESETS)
@pytest.mark.parametrize("readout", ["leaky", "spike-count"])
def test_spiking_network(reset, reset_gradient, readout):
    """The same on real spikes, with ψ standing for their derivative."""
    network = network_with(reset, reset_gradient, readout, recurrent=True)
    probes = draw_probes()
    y, _, _ = carried(network, probes)
    expected, *_ = forward_mode(network, probes, hard_spike)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-11)


def test_reset_modes_have_different_tangents():
    """The comparisons above would notice a wrong reset term."""
    found = [
        carried(network_with(reset, gradient), draw_probes())[0]
        for reset in ("soft", "hard")
        for gradient in ("detached", "attached")
    ]
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert float((one - other).norm() / one.norm()) > 1e-2


def test_tangents_can_leave_the_recurrence_out():
    network = network_with("soft", "detached", recurrent=True)
    probes = draw_probes()
    y, _, _ = carried(network, probes, recurrent=False)
    expected, *_ = forward_mode(network, probes, hard_spike, cut=True)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-11)
    with_recurrence, _, _ = carried(network, probes)
    assert float((y - with_recurrence).norm() / y.norm()) > 1e-2


@pytest.mark.parametrize("recurrent", [False, True])
def test_dropout(recurrent):
    """Masks scale what the layer above receives; the recurrent synapses hear every neuron."""
    network = network_with("soft", "detached", recurrent=recurrent, dropout=0.5)
    masks = network.draw_masks(BATCH, torch.Generator().manual_seed(1))
    assert (masks.layers[0] == 0).any()
    probes = draw_probes()
    y, _, _ = carried(network, probes, masks)
    expected, *_ = forward_mode(network, probes, hard_spike, masks)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-11)


def test_a_probe_is_not_seen_by_the_reset_of_its_own_neuron():
    """A lone neuron's own tangent stays zero while it transmits v."""
    network = network_with("hard", "attached")
    _, _, spikes = carried(network, draw_probes())
    assert torch.equal(spikes[0], torch.zeros_like(spikes[0]))
    assert spikes[1].abs().sum() > 0
