"""Chains of the real snnTorch and networks of ours compute the same numbers, forward and backward."""

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.interop import from_snntorch, to_snntorch
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.nn.surrogate import ArcTan, FastSigmoid, Sigmoid, Triangular
from neurofdfa.nn.time_constants import slope
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer
from tests.interop.chains import Run, alike, draw, ours, same_weights, spike_train, trained
from tests.layers import conv_layer, delay_layer, pool_layer

# reset, its gradient, recurrent, synaptic filter: every combination that snnTorch has
KINDS = [
    ("soft", "detached", False, False),
    ("soft", "detached", False, True),
    ("soft", "detached", True, False),
    ("soft", "detached", True, True),
    ("hard", "detached", False, False),
    ("hard", "attached", False, False),
    ("hard", "attached", False, True),
    ("hard", "attached", True, False),
]


def theirs(chain: nn.Sequential, x: Tensor) -> Run:
    """Drives the chain as a user of snnTorch would; membranes are read from the modules."""
    neurons = [m for m in chain if not isinstance(m, nn.Linear)]
    for neuron in neurons:
        neuron.reset_mem()
    spiking = [m for m in neurons if m.reset_mechanism != "none"]
    seen: dict[int, Tensor] = {}
    for index, neuron in enumerate(spiking):
        neuron.register_forward_hook(
            lambda module, inputs, output, index=index: seen.update(
                {index: output[0] if isinstance(output, tuple) else output}
            )
        )
    ys: list[Tensor] = []
    spikes: list[list[Tensor]] = [[] for _ in spiking]
    membranes: list[list[Tensor]] = [[] for _ in spiking]
    for x_t in x:
        out = chain(x_t)
        ys.append(out[-1] if neurons[-1] not in spiking else out[0])
        for index, neuron in enumerate(spiking):
            spikes[index].append(seen[index])
            cleared = seen[index] if neuron.reset_mechanism == "zero" else 0.0
            membranes[index].append(neuron.mem * (1.0 - cleared))
    y = torch.stack(ys)
    if neurons[-1] in spiking:
        y = y.cumsum(0)
    return Run(y, [torch.stack(s) for s in spikes], [torch.stack(u) for u in membranes])


def kind(seed: int):
    reset, gradient, recurrent, filtered = KINDS[seed % len(KINDS)]
    return draw(seed, reset=reset, gradient=gradient, recurrent=recurrent, filtered=filtered)


@pytest.mark.parametrize("seed", range(24))
def test_there_and_back(seed):
    network = kind(seed)
    x = spike_train(network.n_in, seed)
    expected = ours(network, x)
    chain = to_snntorch(network)
    with torch.no_grad():
        alike(expected, theirs(chain, x))
    back = from_snntorch(chain)
    same_weights(network, back)
    alike(expected, ours(back, x))
    for a, b in zip(network.hidden, back.hidden, strict=True):
        assert (a.neuron.reset, a.neuron.reset_gradient) == (b.neuron.reset, b.neuron.reset_gradient)
        torch.testing.assert_close(
            a.neuron.surrogate(x[0, 0] - 0.3), b.neuron.surrogate(x[0, 0] - 0.3), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("seed", range(8))
def test_backpropagation_gives_the_same_gradient(seed):
    network = kind(seed)
    x, labels = spike_train(network.n_in, seed), torch.tensor([0, 2, 1])
    expected = Trainer(network, BPTT(), engine="reference").gradients(x, labels)
    chain = to_snntorch(network)
    y = theirs(chain, x).y
    loss = nn.functional.cross_entropy(y.flatten(0, 1), labels.repeat(len(y)))
    got = torch.autograd.grad(loss, trained(list(chain.parameters())))
    assert len(got) == len(expected)
    # snnTorch lists a layer's synapses as we do: input weights, bias, recurrent weights
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-11)


def native(neuron: nn.Module, readout: nn.Module, n: int = 6) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, n), neuron, nn.Linear(n, 3, bias=False), readout)


HIDDEN = {"init_hidden": True}
LAST = HIDDEN | {"output": True}
INTEGRATOR = LAST | {"reset_mechanism": "none"}
AFTER = {"reset_mechanism": "zero", "reset_delay": False}
STEEP = {"spike_grad": surrogate.fast_sigmoid(slope=10)}
NATIVE = {
    "leaky": lambda: native(snn.Leaky(0.8, **HIDDEN), snn.Leaky(1.0, **INTEGRATOR)),
    "zero": lambda: native(
        snn.Leaky(0.7, 0.6, reset_mechanism="zero", **HIDDEN), snn.Leaky(0.9, **INTEGRATOR)
    ),
    "synaptic": lambda: native(snn.Synaptic(0.5, 0.8, **HIDDEN), snn.Leaky(0.9, **LAST)),
    "rleaky": lambda: native(
        snn.RLeaky(0.8, linear_features=6, **HIDDEN), snn.Synaptic(0.3, 0.9, **AFTER, **LAST)
    ),
    "rsynaptic": lambda: native(
        snn.RSynaptic(0.4, 0.8, linear_features=6, **STEEP, **HIDDEN), snn.Leaky(0.9, **INTEGRATOR)
    ),
}


@pytest.mark.parametrize("name", NATIVE)
def test_a_chain_of_theirs_in_their_single_precision(name):
    chain = NATIVE[name]()
    x = spike_train(8, dtype=torch.float32)
    network = from_snntorch(chain)
    with torch.no_grad():
        run = theirs(nn.Sequential(*list(chain)[1:]), x)
        alike(run, ours(network, x), 1e-6)
        again = to_snntorch(network, same_gradient=False)
        alike(run, theirs(again, x), 1e-6)


def test_the_modules_of_a_class_in_their_order():
    """A bias of the recurrent weights becomes one of the layer; a last Linear is read step by step."""
    torch.manual_seed(0)
    fc1, lif, fc2 = nn.Linear(8, 5, bias=False), snn.RLeaky(0.6, linear_features=5), nn.Linear(5, 2)
    network = from_snntorch([fc1, lif, fc2], dt=2e-3)
    x, spk, mem, ys = spike_train(8, dtype=torch.float32), *lif.init_rleaky(), []
    with torch.no_grad():
        for x_t in x:
            spk, mem = lif(fc1(x_t), spk, mem)
            ys.append(fc2(spk))
    torch.testing.assert_close(network.run(x).y, torch.stack(ys), rtol=1e-6, atol=1e-6)
    assert torch.equal(network.hidden[0].synapse.bias, lif.recurrent.bias)
    assert network.hidden[0].neuron.dt == 2e-3
    assert network.hidden[0].neuron.tau_mem == pytest.approx(-2e-3 / torch.tensor(0.6).log().item())


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (surrogate.fast_sigmoid(slope=25), FastSigmoid(0.04, 1.0)),
        (surrogate.atan(alpha=2.0), ArcTan(1.0, 1.0)),
        (surrogate.sigmoid(slope=20), Sigmoid(0.05, 5.0)),
    ],
)
def test_surrogates_are_known_by_their_values(theirs, expected):
    chain = native(snn.Leaky(0.5, spike_grad=theirs), snn.Leaky(0.5, reset_mechanism="none"))
    assert from_snntorch(chain).hidden[0].neuron.surrogate == expected


def test_an_unknown_surrogate_can_be_named():
    def chain() -> nn.Sequential:
        return native(
            snn.Leaky(0.5, spike_grad=surrogate.straight_through_estimator()),
            snn.Leaky(0.5, reset_mechanism="none"),
        )

    with pytest.raises(UserError, match="pass surrogate="):
        from_snntorch(chain())
    assert from_snntorch(chain(), surrogate=Triangular()).hidden[0].neuron.surrogate == Triangular()


@pytest.mark.parametrize("seed", [1, 3, 5, 7])
def test_learnt_decays_stay_learnt(seed):
    """Theirs are β itself, ours the logit of β: the gradients differ by β(1 − β)."""
    reset, gradient, recurrent, filtered = KINDS[seed]
    dynamics = {"reset": reset, "gradient": gradient, "recurrent": recurrent, "filtered": filtered}
    network = draw(seed, **dynamics, mixed=True, learn=True, bits=None)
    x, labels = spike_train(network.n_in, seed), torch.tensor([0, 2, 1])
    chain = to_snntorch(network)
    y = theirs(chain, x).y
    loss = nn.functional.cross_entropy(y.flatten(0, 1), labels.repeat(len(y)))
    expected = dict(
        zip(
            dict(network.named_parameters()),
            Trainer(network, BPTT(), engine="reference").gradients(x, labels),
            strict=True,
        )
    )
    for index, layer in enumerate(network.hidden):
        for name, decay in (("membrane", "beta"), ("synapse", "alpha")):
            logit = getattr(layer.time_constants, name)
            if logit is not None:
                (got,) = torch.autograd.grad(loss, getattr(chain[2 * index + 1], decay), retain_graph=True)
                wanted = expected[f"layers.{2 * index + 1}.time_constants.{name}"]
                torch.testing.assert_close(got * slope(logit), wanted, rtol=1e-8, atol=1e-11)
    with torch.no_grad():
        alike(ours(network, x), theirs(chain, x))
    back = from_snntorch(chain)
    same_weights(network, back)
    assert all(layer.time_constants.learn for layer in back.hidden)


NONE = {"reset_mechanism": "none"}
REFUSED = {
    "reset_delay=True": lambda: snn.Leaky(0.8, reset_delay=False),
    "reset_delay=False": lambda: snn.Synaptic(0.5, 0.8, reset_mechanism="zero"),
    "RLeaky": lambda: snn.RSynaptic(0.5, 0.8, linear_features=6, reset_mechanism="zero", reset_delay=False),
    "linear_features": lambda: snn.RLeaky(0.8, all_to_all=False),
    "never forgets": lambda: snn.Leaky(1.0),
    "never spikes": lambda: snn.Leaky(0.9, **NONE),
    "converted from Leaky alone": lambda: snn.Synaptic(0.5, 0.9, **NONE),
    "state_quant": lambda: snn.Leaky(0.9, state_quant=lambda x: x),
    "scale the next layer": lambda: snn.Leaky(0.9, graded_spikes_factor=2.0),
    "threshold is trained": lambda: snn.Leaky(0.9, learn_threshold=True),
    "Alpha.* is not converted": lambda: snn.Alpha(0.9, 0.8),
    "Dropout.* is not converted": lambda: nn.Dropout(0.5),
    "beta is one for all neurons": lambda: snn.Leaky(0.9, learn_beta=True),
    "threshold differs": lambda: snn.Leaky(0.9, threshold=torch.arange(1.0, 7.0)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(reason):
    with pytest.raises(UserError, match=reason):
        from_snntorch(native(REFUSED[reason](), snn.Leaky(0.9, **NONE)))


@pytest.mark.filterwarnings("ignore:Inhibition")
def test_inhibition_is_refused():
    with pytest.raises(UserError, match="inhibition"):
        from_snntorch(native(snn.Leaky(0.9, inhibition=True), snn.Leaky(0.9, **NONE)))


def test_incomplete_chains_are_refused():
    with pytest.raises(UserError, match=r"nn.Linear of their own"):
        from_snntorch([snn.Leaky(0.9)])
    with pytest.raises(UserError, match="at least one hidden layer"):
        from_snntorch([nn.Linear(3, 2)])
    with pytest.raises(UserError, match="recurrent readout"):
        from_snntorch(native(snn.Leaky(0.9), snn.RLeaky(0.9, linear_features=3)))


@pytest.mark.parametrize(
    ("neuron", "recurrent", "reason"),
    [
        (LIF(reset="soft", reset_gradient="attached", decay_bits=None), False, "same_gradient=False"),
        (LIF(reset="hard", tau_syn=4e-3, decay_bits=None), False, "derivative of this reset is 'attached'"),
        (LIF(reset="hard", tau_syn=4e-3, reset_gradient="attached", decay_bits=None), True, "Norse"),
    ],
)
def test_what_snntorch_cannot_do(neuron, recurrent, reason):
    with pytest.raises(UserError, match=reason):
        to_snntorch(feed_forward(4, [5], 2, neuron=neuron, recurrent=recurrent))


def test_inference_does_not_need_the_gradient():
    network = draw(1, reset="hard", gradient="detached", recurrent=False, filtered=True)
    x = spike_train(network.n_in)
    with torch.no_grad():
        alike(ours(network, x), theirs(to_snntorch(network, same_gradient=False), x))


def test_layers_of_other_kinds_are_refused():
    for hidden, reason in (
        ([conv_layer(2, 3)], "layer 1 has synapses of kind Conv2d"),
        ([pool_layer(2), 3], "layer 1 has a pool"),
        ([3, delay_layer(2)], "the readout has delays"),
    ):
        with pytest.raises(UserError, match=f"{reason}.* not converted to snnTorch"):
            to_snntorch(
                feed_forward(16, hidden, 2, shape=(1, 4, 4), neuron=LIF(reset="soft", decay_bits=None))
            )
    with pytest.raises(UserError, match="layer 1 has adaptive thresholds"):
        to_snntorch(feed_forward(4, [5], 2, neuron=LIF(adaptation=0.1, reset="soft", decay_bits=None)))


def test_without_snntorch(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "snntorch", None)
    with pytest.raises(UserError, match="pip install snntorch"):
        to_snntorch(feed_forward(4, [5], 2, neuron=LIF(reset="soft", decay_bits=None)))
