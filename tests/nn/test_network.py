import math

import pytest
import torch

import neurofdfa as nf
from neurofdfa.errors import UserError
from neurofdfa.events import Events
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward, scale_to_rate

HALF = 1e-3 / math.log(2)


def spikes(steps=10, batch=4, n=5, seed=1):
    return (torch.rand(steps, batch, n, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def test_a_chain_by_hand():
    """One neuron a layer: the second hears the first in the same step, the readout both add up."""
    network = feed_forward(
        1, [1, 1], 1, neuron=LIF(tau_mem=HALF, reset="soft", decay_bits=None), readout="integrator", bias=True
    )
    with torch.no_grad():
        for synapse, w, b in (
            (network.hidden[0].synapse, 1.5, 0.0),
            (network.hidden[1].synapse, 2.0, 0.0),
            (network.readout.synapse, 0.5, 0.25),
        ):
            synapse.weight.fill_(w)
            synapse.bias.fill_(b)
    run = network.run(torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1))
    # layer 1: u = 1.5, 1.25, −0.375; layer 2: u = 2, 2, 0; y adds 0.25 and ½ per spike
    assert run.spikes[0].flatten().tolist() == [1, 1, 0]
    assert run.spikes[1].flatten().tolist() == [1, 1, 0]
    assert run.y.flatten().tolist() == [0.75, 1.5, 1.75]
    assert run.readout_spikes is None


def test_leaky_and_counting_readouts_by_hand():
    lif = LIF(tau_mem=HALF, reset="soft", decay_bits=None)
    leaky = feed_forward(1, [1], 1, neuron=lif, readout="leaky", tau_out=HALF)
    count = feed_forward(1, [1], 1, neuron=lif, readout="spike-count")
    for network in (leaky, count):
        with torch.no_grad():
            network.hidden[0].synapse.weight.fill_(1.5)
            network.readout.synapse.weight.fill_(1.75)
    x = torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1)
    assert leaky.run(x).y.flatten().tolist() == pytest.approx([1.75, 2.625, 1.3125])
    run = count.run(x)
    assert run.readout_spikes.flatten().tolist() == [1, 1, 0]  # u = 1.75, 1.625, −0.1875
    assert run.y.flatten().tolist() == [1, 2, 2]


def test_shapes_and_decoding():
    x = spikes()
    for kind, decode in (("integrator", "last"), ("leaky", "mean"), ("spike-count", "count")):
        network = feed_forward(5, [7, 6], 3, readout=kind)
        run = network.run(x)
        assert run.y.shape == (10, 4, 3)
        assert [s.shape for s in run.spikes] == [(10, 4, 7), (10, 4, 6)]
        assert network.readout.decode == decode
        expected = run.y.mean(0) if decode == "mean" else run.y[-1]
        assert torch.equal(network.decode(run.y), expected)
        assert not run.y.requires_grad


def test_samples_do_not_see_each_other():
    network = feed_forward(5, [7], 3, recurrent=True)
    x = spikes()
    torch.testing.assert_close(network.run(x[:, 1:2]).y, network.run(x).y[:, 1:2])


def test_weights_come_from_the_generator_alone():
    nets = [feed_forward(5, [7], 3, generator=torch.Generator().manual_seed(s)) for s in (4, 4, 5)]
    a, b, c = (torch.cat([p.flatten() for p in n.parameters()]) for n in nets)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_double_precision_agrees_with_single():
    single = feed_forward(5, [7, 6], 3, readout="leaky", recurrent=True)
    x = spikes()
    y = single.run(x).y
    double = single.double().run(x.double()).y
    assert double.dtype == torch.float64
    torch.testing.assert_close(y.double(), double, rtol=1e-5, atol=1e-5)


def test_dropout_masks():
    network = feed_forward(1000, [2000], 3, dropout=0.25, input_dropout=0.5)
    masks = network.draw_masks(4, torch.Generator().manual_seed(1))
    assert set(masks.input.unique().tolist()) == {0.0, 2.0}
    assert sorted(masks.layers[0].unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert float(masks.layers[0].mean()) == pytest.approx(1.0, abs=0.03)
    assert float((masks.input == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    again = network.draw_masks(4, torch.Generator().manual_seed(1))
    assert torch.equal(masks.input, again.input)
    assert feed_forward(5, [7], 3).draw_masks(4, torch.Generator()) is None


def test_a_mask_silences_what_is_sent_and_not_the_neuron():
    network = feed_forward(5, [50], 3, dropout=0.5)
    with torch.no_grad():
        network.hidden[0].synapse.weight.mul_(4)
    x = spikes(batch=1)
    masks = network.draw_masks(1, torch.Generator().manual_seed(1))
    for step, plain in zip(network.steps(x, masks), network.steps(x), strict=True):
        assert torch.equal(step.layers[0].after.s, plain.layers[0].after.s)
        assert torch.equal(step.readout.pre, plain.layers[0].after.s * masks.layers[0])


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.25])
def test_scale_to_rate(rate):
    network = feed_forward(20, [60, 60], 3, neuron=LIF(reset="hard", decay_bits=None))
    x = spikes(steps=20, batch=16, n=20)
    before = network.hidden[0].synapse.weight.detach().clone()
    scale_to_rate(network, x, rate)
    for fired in network.run(x).spikes:
        assert float(fired.mean()) == pytest.approx(rate, abs=0.01)
    ratio = network.hidden[0].synapse.weight / before
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))


def test_scale_to_rate_of_silence_says_so():
    network = feed_forward(20, [6], 3)
    before = network.hidden[0].synapse.weight.detach().clone()
    with pytest.raises(UserError, match="layer 1 cannot reach a rate of 0"):
        scale_to_rate(network, torch.zeros(5, 2, 20))
    assert torch.equal(network.hidden[0].synapse.weight, before)


def test_bad_networks():
    with pytest.raises(UserError, match="at least one layer of neurons"):
        feed_forward(3, [], 2)
    with pytest.raises(UserError, match="unknown readout 'mean'"):
        feed_forward(3, [4], 2, readout="mean")
    with pytest.raises(UserError, match=r"dropout must be in \[0, 1\)"):
        feed_forward(3, [4], 2, input_dropout=1.0)
    for tau in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match="tau_mem must be a finite number above 0"):
            feed_forward(3, [4], 2, readout="leaky", tau_out=tau)


class Sparse(nf.Linear):
    @property
    def quantized_weight(self):
        return super().quantized_weight * (torch.arange(self.n_in) % 2)


class Loud(nf.Linear):
    def forward(self, x, state=None):
        return 2 * super().forward(x)[0], None


class Lazy(nf.LIF):
    def step(self, drive, state):
        return super().step(0 * drive, state)


def test_weights_of_ones_own_are_what_spikes_see_and_the_event_engine_leaves_them():
    net = nf.Network(Sparse(4, 6), nf.LIF(), nf.Linear(6, 2), nf.I())
    x = torch.ones(5, 2, 4)
    x[..., 1::2] = 0  # which is all that it hears
    net.initialise(torch.Generator().manual_seed(0), gain=3.0)
    assert net(1 - x).any()
    assert torch.equal(net(torch.ones_like(x)), net(1 - x))
    trainer = nf.Trainer(net, nf.DFA())
    labels = torch.tensor([0, 1])
    assert torch.equal(trainer.predict(torch.ones_like(x)), net(1 - x)[-1])
    with pytest.raises(UserError, match="the event engine does not know the synapses Sparse"):
        nf.Trainer(net, nf.DFA(), engine="events").step(x, labels)


def test_what_would_not_be_called_is_refused():
    with pytest.raises(UserError, match="its own forward would not be called: write quantized_weight"):
        nf.Network(Loud(4, 6), nf.LIF(), nf.Linear(6, 2), nf.I())
    with pytest.raises(UserError, match="derive a step of your own from Neuron"):
        nf.Network(nf.Linear(4, 6), Lazy(), nf.Linear(6, 2), nf.I())


def test_a_network_takes_inputs_of_every_type():
    net = nf.Network(nf.Linear(6, 8), nf.LIF(tau_mem=5e-3), nf.Linear(8, 3), nf.LI())
    x = (torch.rand(12, 4, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    expected, y = net(x).detach(), net.run(x).y
    for given in (x.to(torch.uint8), x.bool(), x.long(), x.half(), x.double(), x.numpy(), Events.of(x)):
        assert torch.equal(net(given).detach(), expected)
        assert torch.equal(net.run(given).y, y)
    for wrong, message in (
        ("spikes", "are numbers"),
        (x.to(torch.complex64), "complex"),
        (x[..., :2], "takes"),
    ):
        with pytest.raises(nf.UserError, match=message):
            net(wrong)
    pushed = x.clone().requires_grad_()
    net(pushed).sum().backward()
    assert pushed.grad is not None
