import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import ReadoutOnly
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named, spike_train


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_hidden_layers_keep_their_weights_whatever_else_is_set(make):
    network = feed_forward(5, [8, 7], 3, bias=True, recurrent=True, neuron=LIF(reset="soft", decay_bits=None))
    before = {n: p.detach().clone() for n, p in named(network)}
    learner = Trainer(
        network,
        ReadoutOnly(),
        make(network.parameters(), lr=0.1, weight_decay=0.1),
        rate_regulariser=RateRegulariser(strength=1.0),
        update_every=2,
        engine="reference",
    )
    x, labels = spike_train().float(), torch.tensor([0, 1, 2, 1])
    for _ in range(3):
        learner.gradients(x, labels)
        learner.step(x, labels)
    for name, p in named(network):
        assert torch.equal(p, before[name]) == name.startswith("hidden"), name


@pytest.mark.parametrize("engine", ["events", "reference"])
def test_a_trace_that_nothing_learns_from_may_be_of_any_kind(engine):
    """Neurons of different time constants have no trace per neuron; a frozen layer needs none."""

    def losses(**options):
        network = feed_forward(5, [8], 3, tau_mem_spread=1.0, generator=torch.Generator().manual_seed(0))
        learner = Trainer(network, ReadoutOnly(**options), engine=engine)
        x, labels = spike_train().float(), torch.tensor([0, 1, 2, 1])
        return [float(learner.step(x, labels).loss) for _ in range(3)]

    assert losses(trace=PerNeuron()) == losses()
