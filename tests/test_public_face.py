"""What `import neurofdfa as nf` offers, and that it costs nothing before it is used."""

import subprocess
import sys

import pytest
import torch

import neurofdfa as nf


def test_a_network_is_composed_and_runs():
    net = nf.Network(nf.Linear(64, 128), nf.LIF(tau_mem=5e-3), nf.Linear(128, 10), nf.LI())
    assert net(torch.rand(16, 2, 64)).shape == (16, 2, 10)
    assert list(net.state_dict()) == ["layers.0.weight", "layers.2.weight"]
    assert "Linear(64, 128)" in repr(net)
    assert "LIF(n=128, tau_mem=0.005, reset='hard')" in repr(net)


def test_a_convolutional_network_takes_images_and_equals_its_modules_one_by_one():
    modules = [
        nf.Conv2d(1, 8, 3, padding=1), nf.LIF(), nf.AvgPool2d(2), nf.Delay(1), nf.Flatten(),
        nf.Linear(128, 10), nf.I(),
    ]  # fmt: skip
    net = nf.Network(*modules, input_shape=(1, 8, 8))
    with torch.no_grad():
        net.hidden[0].synapse.weight.mul_(4)
    x = torch.rand(6, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    states, outputs = [None] * len(modules), []
    for x_t in x:
        for index, module in enumerate(modules):
            x_t, states[index] = module(x_t, states[index])
        outputs.append(x_t)
    assert net.run(x).spikes[0].any()
    torch.testing.assert_close(net(x), torch.stack(outputs), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net(x.flatten(2)), net(x))


def test_autograd_goes_through_a_network():
    net = nf.Network(nf.Linear(5, 6), nf.LIF(recurrent=True), nf.Linear(6, 2), nf.LIF())
    net(torch.rand(4, 3, 5)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("modules", "settings", "words"),
    [
        ((nf.Linear(5, 4), nf.LIF(), nf.Linear(3, 2), nf.I()), {}, r"layers.2 .*takes 3 inputs and finds 4"),
        ((nf.Linear(5, 4), nf.Linear(4, 2), nf.I()), {}, "synapses follow synapses: put neurons between"),
        ((nf.LIF(), nf.Linear(4, 2), nf.I()), {}, r"layers.0 .*no synapses below it"),
        ((nf.Linear(5, 4), nf.LIF(), nf.Linear(4, 2)), {}, "the last layer is the readout"),
        ((nf.Linear(5, 4), nf.I(), nf.Linear(4, 2), nf.I()), {}, "only the last layer may be an integrator"),
        ((nf.Linear(5, 2), nf.LIF()), {}, "at least one layer of neurons below its readout"),
        ((nf.Conv2d(1, 2, 3), nf.LIF(), nf.Linear(8, 2), nf.I()), {}, "give the network input_shape"),
        (
            (nf.Conv2d(1, 2, 3), nf.LIF(), nf.Linear(8, 2), nf.I()),
            {"input_shape": (1, 4, 4)},
            r"image of \(2, 2, 2\) below it: put Flatten",
        ),
        ((torch.nn.Linear(5, 4), nf.LIF(), nf.Linear(4, 2), nf.I()), {}, "take neurofdfa's Linear"),
        ((nf.Linear(5, 4), nf.LIF(dt=2e-3), nf.Linear(4, 2), nf.LI()), {}, "share one dt"),
        ((nf.Linear(5, 4), nf.Dropout(0.1), nf.LIF(), nf.Linear(4, 2), nf.I()), {}, "right behind a neuron"),
    ],
)
def test_what_does_not_fit_is_said(modules, settings, words):
    with pytest.raises(nf.UserError, match=words):
        nf.Network(*modules, **settings)


def test_other_shapes_are_refused():
    net = nf.Network(nf.Linear(64, 8), nf.LIF(), nf.Linear(8, 2), nf.I())
    with pytest.raises(nf.UserError, match=r"takes \[T, B, 64\].* got \[2, 64\]"):
        net(torch.rand(2, 64))


def test_the_same_module_twice_is_refused():
    lif = nf.LIF()
    with pytest.raises(nf.UserError, match="stands in two places"):
        nf.Network(nf.Linear(5, 4), lif, nf.Linear(4, 2), lif)


def test_nothing_heavy_is_imported_before_it_is_used():
    heavy = ("numba", "sklearn", "matplotlib", "scipy", "pydantic", "nir")
    code = (
        "import sys, neurofdfa; assert 'torch' not in sys.modules; neurofdfa.Network; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
