"""Delays: by hand, as shifts in time, and gradients and tangents against autograd."""

import pytest
import torch

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.events.support import why_not_network
from neurofdfa.measure.locality.audit import certify
from neurofdfa.nn.delay import new_line, send
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import FDFA, RULES, rule_named
from neurofdfa.rules.bptt import BPTT
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.train.trainer import Trainer
from tests.layers import conv_layer, delay_layer, pool_layer
from tests.oracles.convolution import lowered, matrix_of
from tests.oracles.reference import (
    SURROGATE,
    hard_spike,
    relative,
    sequence_loss,
    simulate,
    spec_of,
    weights_of,
)

LABELS = torch.tensor([0, 1, 2, 1])
DEEP = [delay_layer(0, 2), pool_layer(2), conv_layer(3, 3, padding=1), delay_layer(0, 3), 6, delay_layer(2)]


def network_of(hidden, *, readout="leaky", gradient="attached", **settings):
    lif = LIF(
        tau_mem=6e-3,
        tau_syn=2e-3,
        reset_gradient=gradient,
        surrogate=SURROGATE,
        reset="soft",
        decay_bits=None,
    )
    generator = torch.Generator().manual_seed(4)
    network = feed_forward(
        32,
        hidden,
        3,
        shape=(2, 4, 4),
        neuron=lif,
        readout=readout,
        tau_out=5e-3,
        generator=generator,
        **settings,
    ).double()
    network.initialise(generator, gain=1.6, recurrent_gain=0.6, readout_gain=0.8)
    return network


def spikes(steps=10, batch=4):
    return (torch.rand(steps, batch, 32, generator=torch.Generator().manual_seed(5)) < 0.4).double()


def test_by_hand():
    delay = torch.tensor([0, 2, 1])
    line = new_line(delay, torch.zeros(1, 3))
    assert line.shape == (2, 1, 3)
    seen = []
    for value in (1.0, 2.0, 3.0, 4.0):
        arrived, line = send(delay, torch.full((1, 3), value), line)
        seen.append(arrived[0].tolist())
    assert seen == [[1, 0, 0], [2, 0, 1], [3, 1, 2], [4, 2, 3]]


def test_a_delay_of_zero_keeps_nothing():
    delay = torch.zeros(3, dtype=torch.int64)
    x = torch.randn(2, 3)
    arrived, line = send(delay, x, new_line(delay, x))
    assert torch.equal(arrived, x)
    assert line.numel() == 0


def test_a_delay_of_all_neurons_shifts_everything_behind_it():
    now, late = network_of([7, 5]), network_of([7, delay_layer(3), 5])
    late.load_state_dict(now.state_dict(), strict=False)
    a, b = now.run(spikes()), late.run(spikes())
    assert torch.equal(a.spikes[0], b.spikes[0])
    assert torch.equal(b.spikes[1][3:], a.spikes[1][:-3])
    assert not b.spikes[1][:3].any()
    torch.testing.assert_close(b.y[3:], a.y[:-3])
    assert a.spikes[1].any()


@pytest.mark.parametrize("recurrent", [False, True])
def test_spikes_gradients_and_tangents_are_those_of_the_oracle(recurrent):
    network, x = network_of(DEEP, recurrent=recurrent), spikes(16)
    delays = network.delays
    assert [d is None for d in delays] == [False, False, False]
    assert len(delays[1].unique()) > 2
    w = weights_of(network, requires_grad=True)
    wanted = simulate(lowered(network, w), x, spec_of(network), delays=delays)
    found = network.run(x)
    for ours, theirs in zip(found.spikes, wanted.spikes, strict=True):
        assert ours.any()
        assert torch.equal(ours, theirs.detach())
    exact = torch.autograd.grad(sequence_loss(wanted.y, LABELS, "every-step"), list(w.values()))
    for ours, theirs in zip(
        Trainer(network, BPTT(), engine="reference").gradients(x, LABELS), exact, strict=True
    ):
        assert relative(ours, theirs) < 1e-10

    generator = torch.Generator().manual_seed(2)
    probes = [
        tuple(torch.randn(4, layer.n, generator=generator, dtype=torch.float64) for layer in network.hidden)
        for _ in x
    ]
    tangent, carried = initial_tangent(network, 4), []
    with torch.no_grad():
        for step, v in zip(network.steps(x), probes, strict=True):
            tangent = tangent_step(network, step, v, tangent)
            carried.append(tangent.readout.y)
    fixed = {name: tensor.detach() for name, tensor in lowered(network, w).items()}

    def outputs(v):
        return simulate(fixed, x, spec_of(network), spike=hard_spike, probes=v, delays=delays).y

    zero = [tuple(torch.zeros_like(v) for v in row) for row in probes]
    _, dots = torch.func.jvp(outputs, (zero,), (probes,))
    torch.testing.assert_close(torch.stack(carried), dots, rtol=1e-10, atol=1e-11)


def test_an_early_step_knows_nothing_of_a_window_that_ended():
    """Truncated in windows of 4: what was sent before a window carries no gradient into it."""
    network, x = network_of(DEEP), spikes()
    whole, cut = (
        Trainer(network, BPTT(), engine="reference").gradients(x, LABELS),
        Trainer(network, BPTT(window=4), engine="reference").gradients(x, LABELS),
    )
    assert relative(cut[0], whole[0]) > 1e-3
    assert (
        relative(Trainer(network, BPTT(window=10), engine="reference").gradients(x, LABELS)[0], whole[0])
        < 1e-12
    )


def test_with_the_input_delayed_the_online_gradient_is_exact():
    network, x = network_of([delay_layer(0, 3), 7], gradient="attached"), spikes()
    for ours, theirs in zip(
        Trainer(network, rule_named("e-prop", feedback="symmetric"), engine="reference").gradients(x, LABELS),
        Trainer(network, BPTT(), engine="reference").gradients(x, LABELS),
        strict=True,
    ):
        assert relative(ours, theirs) < 1e-10


@pytest.mark.parametrize(
    "hidden", [[conv_layer(3, 3), delay_layer(0, 3), pool_layer(2)], [8, delay_layer(4)]]
)
def test_fdfa_finds_the_gain_of_a_path_that_takes_its_time(hidden):
    """The last layer's target is W_o (through the pool), however late each neuron's spikes arrive."""
    network, x = network_of(hidden, readout="integrator", gradient="detached"), spikes(7, 1)
    rule = FDFA()
    state = rule.begin(network, rule.init(network, torch.Generator().manual_seed(1)), Shard(6000))
    found = []
    with torch.no_grad():
        for t, step in enumerate(network.steps(x.expand(-1, 6000, -1))):
            (now,), state = rule.estimate(network, step, t, state)
            found.append(now)
    late = int(network.delays[-1].max())
    w_out = matrix_of(network.readout.synapse, network.readout.synapse.weight.detach())
    assert relative(torch.stack(found[late:]).mean(0), w_out) < 0.1
    unborn = network.delays[-1] > 0
    assert not found[0][:, unborn].any(), "no news of what has not arrived: the estimate is B itself"


@pytest.mark.parametrize("name", RULES)
def test_rules_learn_through_delays_or_say_why_not(name):
    network, x = network_of(DEEP, recurrent=True), spikes()
    rule = rule_named(name)
    if rule.local_in_space or rule.through_time is not None:
        before = network.hidden[0].synapse.weight.detach().clone()
        Trainer(network, rule_named(name), engine="reference").step(x, LABELS)
        Trainer(network, rule_named(name), engine="reference").step(x, LABELS)
        moved = not torch.equal(before, network.hidden[0].synapse.weight)
        assert moved == (name not in ("readout-only", "fdfa", "opzo", "sbd"))  # B of these starts at 0
        return
    with pytest.raises(UserError, match=f"'{name}' sends errors down within one step"):
        Trainer(network, rule_named(name), engine="reference")
    Trainer(network_of([delay_layer(0, 3), 7]), rule_named(name), engine="reference").step(
        x, LABELS
    )  # of the input: no obstacle


def test_delays_are_audited():
    network = network_of([delay_layer(0, 2), 7, delay_layer(1), 6])
    assert certify("fdfa", network, spikes(5), LABELS).local
    found = certify("bptt", network, spikes(5), LABELS)
    assert not found.local_in_space
    assert "delays" in why_not_network(network)
