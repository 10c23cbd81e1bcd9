"""Chains of the real Norse and networks of ours compute the same numbers, forward and backward."""

import norse.torch as norse
import pytest
import torch
from norse.torch.functional.reset import reset_subtract
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.interop import from_norse, to_norse
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.nn.surrogate import FastSigmoid, Sigmoid, Triangular
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer
from tests.interop.chains import Run, alike, draw, ours, same_weights, spike_train

SPIKING = (norse.LIFCell, norse.LIFBoxCell, norse.LIFRecurrentCell)
SHAPES = [("fast-sigmoid", (1.0, 1.0)), ("triangular", (1.0, 0.7)), ("sigmoid", (0.4, 1.0))]


def theirs(chain: nn.Sequential, x: Tensor) -> Run:
    """Drives the chain as a user of Norse would."""
    spiking = [index for index, module in enumerate(chain) if isinstance(module, SPIKING)]
    seen: dict[int, Tensor] = {}
    for index in spiking:
        chain[index].register_forward_hook(
            lambda module, inputs, output, index=index: seen.update({index: output[0]})
        )
    state, ys = None, []
    spikes: dict[int, list[Tensor]] = {index: [] for index in spiking}
    membranes: dict[int, list[Tensor]] = {index: [] for index in spiking}
    for x_t in x:
        y, state = chain(x_t, state)
        ys.append(y)
        for index in spiking:
            spikes[index].append(seen[index])
            membranes[index].append(state[index].v)
    y = torch.stack(ys)
    if spiking[-1] == len(chain) - 1:
        y = y.cumsum(0)
    return Run(y, [torch.stack(s) for s in spikes.values()], [torch.stack(u) for u in membranes.values()])


def kind(seed: int) -> Network:
    recurrent = seed % 3 == 2
    surrogate, shape = SHAPES[seed // 3 % 3]
    readout = ["leaky", "spike-count"][seed % 2] if not recurrent else "leaky"
    settings = {"bias": False} if recurrent else {}
    return draw(
        seed,
        reset="hard",
        gradient="detached" if recurrent else "attached",
        recurrent=recurrent,
        filtered=seed % 4 < 2,
        surrogate=surrogate,
        shape=shape,
        readout=readout,
        **settings,
    )


@pytest.mark.parametrize("seed", range(24))
def test_there_and_back(seed):
    network = kind(seed)
    x = spike_train(network.n_in, seed)
    expected = ours(network, x)
    chain = to_norse(network)
    with torch.no_grad():
        alike(expected, theirs(chain, x))
    back = from_norse(chain)
    same_weights(network, back)
    alike(expected, ours(back, x))
    for a, b in zip(network.hidden, back.hidden, strict=True):
        assert a.neuron.reset_gradient == b.neuron.reset_gradient
        torch.testing.assert_close(
            a.neuron.surrogate(x[0, 0] - 0.3), b.neuron.surrogate(x[0, 0] - 0.3), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 8])
def test_backpropagation_gives_the_same_gradient(seed):
    """∂loss/∂(weights of ours) = ∂loss/∂(weights of theirs) / (1 − β)."""
    network = kind(seed)
    x, labels = spike_train(network.n_in, seed), torch.tensor([0, 2, 1])
    expected = Trainer(network, BPTT(), engine="reference").gradients(x, labels)
    chain = to_norse(network)
    y = theirs(chain, x).y
    loss = nn.functional.cross_entropy(y.flatten(0, 1), labels.repeat(len(y)))
    got = torch.autograd.grad(loss, list(chain.parameters()))
    gains: list[Tensor] = []
    for layer in (*network.hidden, network.readout):
        beta = layer.dynamics.beta if layer is not network.readout else readout_decay(network)
        gains += [1.0 - torch.as_tensor(beta, dtype=torch.float64)] * len(list(layer.parameters()))
    for g, e, gain in zip(got, expected, gains, strict=True):
        scale = gain.unsqueeze(1) if gain.dim() and g.dim() == 2 else gain
        torch.testing.assert_close(g / scale, e, rtol=1e-8, atol=1e-10)


def readout_decay(network: Network) -> float:
    population = network.readout.population
    return network.readout.kappa if population is None else population.neuron.beta


def native(*modules: nn.Module) -> nn.Module:
    return norse.SequentialState(*modules)


def lif(**settings) -> norse.LIFParameters:
    return norse.LIFParameters(alpha=torch.tensor(2.0), **settings)


INSTANT = norse.LIParameters(tau_syn_inv=torch.tensor(1e3))
NATIVE = {
    "current": lambda: native(nn.Linear(8, 6), norse.LIFCell(lif()), nn.Linear(6, 3), norse.LICell(INSTANT)),
    "box": lambda: native(
        nn.Linear(8, 6, bias=False), norse.LIFBoxCell(dt=2e-3), nn.Linear(6, 3), norse.LIBoxCell(dt=2e-3)
    ),
    "recurrent": lambda: native(norse.LIFRecurrentCell(8, 6, lif()), nn.Linear(6, 3), norse.LIFCell(lif())),
}


@pytest.mark.parametrize("name", NATIVE)
def test_a_chain_of_theirs_in_their_single_precision(name):
    torch.manual_seed(5)
    chain = NATIVE[name]()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.mul_(8.0 if name != "recurrent" else 4.0)
        x = spike_train(8, dtype=torch.float32)
        run = theirs(chain, x)
        network = from_norse(chain)
        alike(run, ours(network, x), 3e-6)
        if name != "recurrent":
            assert network.hidden[0].neuron.reset_gradient == "attached"
            alike(run, theirs(to_norse(network), x), 3e-6)


def test_modules_with_time():
    """`LIF`, `LIFRecurrent`, `LI` run whole sequences with the same equations."""
    torch.manual_seed(5)
    with torch.no_grad():
        lifted = norse.Lift(nn.Linear(8, 6))
        lifted.lifted_module.weight.mul_(8.0)
        li = norse.LI(norse.LIParameters(tau_syn_inv=torch.tensor(1e3)))
        chain = native(lifted, norse.LIF(lif()), norse.LIFRecurrent(6, 5, lif()), nn.Linear(5, 3), li)
        x = spike_train(8, dtype=torch.float32)
        y, _ = chain(x)
        run = from_norse(chain).run(x)
    assert run.spikes[1].sum() > 0
    torch.testing.assert_close(run.y, y, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"method": "super", "alpha": torch.tensor(100.0)}, FastSigmoid(1.0, 1.0)),
        ({"method": "triangle", "alpha": torch.tensor(0.25)}, Triangular(1.0, 0.25)),
        ({"method": "tanh", "alpha": torch.tensor(2.0)}, Sigmoid(0.25, 1.0)),
    ],
)
def test_surrogates_are_known_by_their_values(settings, expected):
    """Norse's "super" does not use its alpha."""
    cell = norse.LIFCell(norse.LIFParameters(**settings))
    network = from_norse(native(nn.Linear(4, 3), cell, nn.Linear(3, 2), norse.LIBoxCell()))
    assert network.hidden[0].neuron.surrogate == expected


REFUSED = {
    "v_leak": lambda: norse.LIFCell(lif(v_leak=torch.tensor(-65.0))),
    "v_reset": lambda: norse.LIFCell(lif(v_reset=torch.tensor(-1.0))),
    "reset_method=reset_value": lambda: norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=reset_subtract)),
    "method 'circ'": lambda: norse.LIFCell(lif(method="circ")),
    "tau_mem_inv · dt": lambda: norse.LIFCell(lif(tau_mem_inv=torch.tensor(1500.0))),
    "trained: give every neuron its own": lambda: norse.LIFCell(
        lif(tau_mem_inv=nn.Parameter(torch.tensor(100.0)))
    ),
    "v_th differs": lambda: norse.LIFCell(lif(v_th=torch.linspace(0.5, 1.0, 3))),
    "dt differs": lambda: norse.LIFCell(lif(), dt=2e-3),
    "LIFAdExCell.* is not converted": norse.LIFAdExCell,
    "leave out the nn.Linear": lambda: norse.LIFRecurrentCell(3, 3),
    "never spikes": norse.LIBoxCell,
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(reason):
    with pytest.raises(UserError, match=reason):
        from_norse(native(nn.Linear(4, 3), REFUSED[reason](), nn.Linear(3, 2), norse.LIBoxCell()))


def test_incomplete_chains_are_refused():
    with pytest.raises(UserError, match=r"nn.Linear of their own"):
        from_norse([norse.LIFCell()])
    with pytest.raises(UserError, match="no synaptic filter"):
        from_norse([nn.Linear(4, 3), norse.LIFCell(), nn.Linear(3, 2), norse.LICell()])


MATCHED = LIF(reset="hard", reset_gradient="attached", surrogate=FastSigmoid(1.0, 1.0), decay_bits=None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"neuron": LIF(reset="soft", decay_bits=None)}, "reset='hard'"),
        ({"neuron": LIF(reset="hard", surrogate=FastSigmoid(1.0, 1.0), decay_bits=None)}, "reset_gradient"),
        ({"neuron": LIF(reset="hard", reset_gradient="attached", decay_bits=None)}, "no surrogate"),
        ({"neuron": MATCHED}, "readout='leaky'"),
        ({"neuron": LIF(reset="hard", decay_bits=None), "recurrent": True, "bias": True}, "no surrogate"),
    ],
)
def test_what_norse_cannot_do(settings, reason):
    with pytest.raises(UserError, match=reason):
        to_norse(feed_forward(4, [5], 2, **settings))


def test_learnt_time_constants_are_refused_and_written_as_they_are():
    dynamics = {"reset": "hard", "gradient": "detached", "recurrent": True, "filtered": True}
    settings = {"bias": False, "readout": "leaky", "surrogate": "fast-sigmoid", "shape": (1.0, 1.0)}
    network = draw(2, **dynamics, **settings, mixed=True, learn=True)
    with pytest.raises(UserError, match="do not learn their time constants"):
        to_norse(network)
    x = spike_train(network.n_in)
    with torch.no_grad():
        alike(ours(network, x), theirs(to_norse(network, same_gradient=False), x))


def test_a_recurrent_layer_with_a_bias_is_refused():
    network = feed_forward(4, [5], 2, neuron=LIF(reset="hard", decay_bits=None), recurrent=True, bias=True)
    with pytest.raises(UserError, match="no bias"):
        to_norse(network, same_gradient=False)


def test_inference_does_not_need_the_gradient():
    network = draw(1, reset="hard", gradient="detached", recurrent=False, filtered=True, readout="leaky")
    x = spike_train(network.n_in)
    with torch.no_grad():
        alike(ours(network, x), theirs(to_norse(network, same_gradient=False), x))


def test_without_norse(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "norse.torch", None)
    with pytest.raises(UserError, match="pip install --no-deps norse"):
        from_norse([])
