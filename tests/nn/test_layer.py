import math

import torch

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import LIF, LIFState
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import Triangular
from tests.layers import double_layer

HALF = 1e-3 / math.log(2)


def test_recurrent_layer_hears_its_own_spikes_one_step_later():
    lif = LIF(tau_mem=HALF, surrogate=Triangular(1.0), reset="soft", decay_bits=None, recurrent=Linear(2, 2))
    layer = double_layer(Linear(1, 2), lif)
    with torch.no_grad():
        layer.synapse.weight.copy_(torch.tensor([[2.0], [0.0]]))
        layer.recurrent.weight.copy_(torch.tensor([[0.0, 0.0], [1.5, 0.0]]))
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    first = layer.step(one, layer.initial_state(1))
    second = layer.step(zero, first)
    third = layer.step(zero, second)
    assert first.u.tolist() == [[2.0, 0.0]]
    assert second.u.tolist() == [[0.0, 1.5]]  # ½ · 2 − 1 and V s
    assert third.u.tolist() == [[0.0, -0.25]]
    assert [s.s.tolist()[0] for s in (first, second, third)] == [[1, 0], [0, 1], [0, 0]]


def test_tangent_step_by_hand():
    lif = LIF(tau_mem=HALF, reset="soft", decay_bits=None, recurrent=Linear(1, 1))
    layer = double_layer(Linear(1, 1, bias=True), lif)
    with torch.no_grad():
        layer.synapse.weight.fill_(2.0)
        layer.synapse.bias.fill_(100.0)
        layer.recurrent.weight.fill_(0.5)
    one = torch.ones(1, 1, dtype=torch.float64)
    state = layer.initial_state(1)
    seen = LayerStep(one, state, state, 0.5 * one, None)
    with torch.no_grad():
        heard = layer.tangent_step(3 * one, 4 * one, layer.initial_tangent(1), seen)
        deaf = layer.tangent_step(3 * one, None, layer.initial_tangent(1), seen)
    assert [float(x) for x in heard[:3]] == [8.0, 8.0, 4.0]  # 2·3 + ½·4; a bias has no tangent
    assert [float(x) for x in deaf[:3]] == [6.0, 6.0, 3.0]


def test_sent_spikes_are_masked_and_first_takes_the_first_samples():
    x = torch.arange(6.0).view(3, 2)
    state = LIFState(x, x + 10, torch.ones(3, 2))
    mask = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    psi = x / 2
    step = LayerStep(x, state, state, psi, mask)
    assert torch.equal(step.sent, mask)
    assert torch.equal(LayerStep(x, state, state, psi, None).sent, state.s)
    head = step.first(2)
    for part, whole in ((head.pre, x), (head.psi, psi), (head.mask, mask), (head.after.u, state.u)):
        assert torch.equal(part, whole[:2])
        assert part.data_ptr() == whole.data_ptr(), "a view, not a copy"


def test_state_is_not_in_the_state_dict_and_follows_the_dtype():
    network = Network(Linear(3, 4, bias=True), LIF(recurrent=True), Linear(4, 2), LIF()).double()
    layer = network.hidden[0]
    layer.step(torch.ones(2, 3, dtype=torch.float64), layer.initial_state(2))
    assert set(network.state_dict()) == {
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.recurrent.weight",
        "layers.2.weight",
    }
    assert layer.initial_state(2).u.dtype == torch.float64
    assert layer.initial_tangent(2).u.shape == (2, 4)
