"""Forms in which snnTorch, Norse and SpikingJelly networks are written, and what becomes of each on the chip.

`python -m tests.interop.coverage > docs/coverage.md` writes the table; `test_coverage.py` holds it.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import norse.torch as norse
import numpy as np
import snntorch as snn
import torch
from norse.torch.functional.reset import reset_subtract
from spikingjelly.activation_based import functional, layer
from spikingjelly.activation_based import neuron as jelly
from torch import Tensor, nn
from torch.nn import functional as F

from neurofdfa.errors import UserError
from neurofdfa.interop import nir_from_torch
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import Network, float_simulate
from neurofdfa_hardware.quantization.quantize import quantize

STEPS, BATCH = 20, 6
VECTOR, IMAGE, LINE = (20,), (1, 12, 12), (2, 16)


class Form(NamedTuple):
    """One way of writing a network. settings: what `nir_from_torch` is told."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = VECTOR
    settings: dict[str, Any] = {}  # noqa: RUF012


class Found(NamedTuple):
    """What became of a form: "equal", "approximation" or "refused"; agreement with the source's spikes."""

    name: str
    outcome: str
    detail: str
    integers: float | None


class Tutorial(nn.Module):
    """The class of snnTorch's tutorials: layers, and a loop over time in forward."""

    def __init__(self, first: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(20, 30)
        self.lif1 = first
        self.fc2 = nn.Linear(30, 5)
        self.lif2 = last

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.lif1.reset_mem(), self.lif2.reset_mem()
        first = first if isinstance(first, tuple) else (first,)
        last = last if isinstance(last, tuple) else (last,)
        spikes = []
        for step in range(x.size(0)):
            spike, *first = self.lif1(self.fc1(x[step]), *first)
            spike, *last = self.lif2(self.fc2(spike), *last)
            spikes.append(spike)
        return torch.stack(spikes)


class ConvTutorial(nn.Module):
    """snnTorch's convolutional tutorial: functional pools of currents, a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.lif1 = snn.Leaky(beta=0.8)
        self.conv2 = nn.Conv2d(4, 6, 2)
        self.lif2 = snn.Leaky(beta=0.8)
        self.fc1 = nn.Linear(6 * 2 * 2, 5)
        self.lif3 = snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2, mem3 = (lif.init_leaky() for lif in (self.lif1, self.lif2, self.lif3))
        spikes = []
        for step in range(x.size(0)):
            cur1 = F.max_pool2d(self.conv1(x[step]), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = F.max_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(1), -1)), mem3)
            spikes.append(spk3)
        return torch.stack(spikes)


class NorseConv(nn.Module):
    """Norse's convolutional tutorial: pools of spikes, a factor, a readout with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        p = norse.LIFParameters(v_th=torch.tensor(0.25))
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 6, 2)
        self.fc1 = nn.Linear(6 * 2 * 2, 10)
        self.lif0, self.lif1, self.lif2 = norse.LIFCell(p), norse.LIFCell(p), norse.LIFCell(p)
        self.out = norse.LILinearCell(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        s0 = s1 = s2 = so = None
        voltages = []
        for step in range(x.size(0)):
            z, s0 = self.lif0(self.conv1(x[step]), s0)
            z = F.max_pool2d(z, 2, 2)
            z = 10 * self.conv2(z)
            z, s1 = self.lif1(z, s1)
            z = F.max_pool2d(z, 2, 2).view(x.size(1), -1)
            z, s2 = self.lif2(self.fc1(z), s2)
            v, so = self.out(F.relu(z), so)
            voltages.append(v)
        return torch.stack(voltages)


class Steps(nn.Module):
    """A chain of modules, stepped through time."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.chain = norse.SequentialState(*modules)

    def forward(self, x: Tensor) -> Tensor:
        state, rows = None, []
        for step in range(x.size(0)):
            y, state = self.chain(x[step], state)
            rows.append(y[0] if isinstance(y, tuple) else y)
        return torch.stack(rows)


class Plain(nn.Module):
    """A chain of modules that keep their states."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.chain = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.chain(x[step]) for step in range(x.size(0))]
        return torch.stack([y[0] if isinstance(y, tuple) else y for y in rows])


def hidden(kind: Any, *values: Any, last: bool = False, **settings: Any) -> nn.Module:
    return kind(*values, init_hidden=True, output=last, **settings)


def snn_chain(neuron: Callable[[bool, int], nn.Module]) -> Callable[[], nn.Module]:
    """Two dense layers of one kind of neuron."""
    return lambda: Plain(nn.Linear(20, 30), neuron(False, 30), nn.Linear(30, 5), neuron(True, 5))


def leaky(**settings: Any) -> Callable[[], nn.Module]:
    return snn_chain(
        lambda last, n: hidden(
            snn.Leaky,
            settings.get("beta", 0.8),
            last=last,
            **{k: v for k, v in settings.items() if k != "beta"},
        )
    )


def snn_conv(*behind: nn.Module, front: tuple[nn.Module, ...] = (), places: int = 100) -> nn.Module:
    """One convolution, and what stands before and behind its neurons."""
    return Plain(
        nn.Conv2d(1, 4, 3),
        *front,
        hidden(snn.Leaky, 0.8),
        *behind,
        nn.Flatten(),
        nn.Linear(4 * places, 5),
        hidden(snn.Leaky, 0.8, last=True),
    )


SNNTORCH = (
    Form(
        "Leaky, the tutorials' class with its loop over time",
        lambda: Tutorial(snn.Leaky(0.8), snn.Leaky(0.8)),
    ),
    Form("Synaptic, the same class", lambda: Tutorial(snn.Synaptic(0.6, 0.8), snn.Synaptic(0.6, 0.8))),
    Form(
        "RLeaky all to all, in a chain",
        lambda: Plain(
            nn.Linear(20, 30),
            hidden(snn.RLeaky, 0.8, linear_features=30),
            nn.Linear(30, 5),
            hidden(snn.Leaky, 0.8, last=True),
        ),
    ),
    Form("the convolutional tutorial: maximum of currents", ConvTutorial, IMAGE, {"max_pool": "spikes"}),
    Form("Leaky, reset to zero", leaky(reset_mechanism="zero")),
    Form("Leaky without reset as a spiking readout", leaky(reset_mechanism="none")),
    Form("Leaky, reset_delay=False", leaky(reset_delay=False)),
    Form("Leaky, one learnt beta", leaky(learn_beta=True)),
    Form(
        "Leaky, beta and threshold per neuron",
        snn_chain(
            lambda last, n: hidden(
                snn.Leaky, torch.linspace(0.6, 0.95, n), threshold=torch.linspace(0.8, 1.2, n), last=last
            )
        ),
    ),
    Form("Leaky, beta=1", leaky(beta=1.0)),
    Form(
        "Synaptic, reset to zero",
        snn_chain(lambda last, n: hidden(snn.Synaptic, 0.6, 0.8, last=last, reset_mechanism="zero")),
    ),
    Form(
        "RLeaky one to one",
        lambda: Plain(
            nn.Linear(20, 30),
            hidden(snn.RLeaky, 0.8, V=0.5, all_to_all=False),
            nn.Linear(30, 5),
            hidden(snn.Leaky, 0.8, last=True),
        ),
    ),
    Form(
        "RSynaptic",
        lambda: Plain(
            nn.Linear(20, 30),
            hidden(snn.RSynaptic, 0.6, 0.8, linear_features=30),
            nn.Linear(30, 5),
            hidden(snn.Leaky, 0.8, last=True),
        ),
    ),
    Form("Lapicque", snn_chain(lambda last, n: hidden(snn.Lapicque, 0.8, last=last))),
    Form(
        "Alpha without reset, layers without bias",
        lambda: Plain(
            nn.Linear(20, 30, False),
            hidden(snn.Alpha, 0.8, 0.6, reset_mechanism="none"),
            nn.Linear(30, 5, False),
            hidden(snn.Alpha, 0.8, 0.6, last=True, reset_mechanism="none"),
        ),
    ),
    Form("convolution, neurons, maximum pool", lambda: snn_conv(nn.MaxPool2d(2), places=25), IMAGE),
    Form(
        "convolution, BatchNorm, Dropout, average pool",
        lambda: snn_conv(nn.Dropout(0.5), nn.AvgPool2d(2), front=(nn.BatchNorm2d(4),), places=25),
        IMAGE,
    ),
    Form("SLSTM", lambda: Plain(nn.Linear(20, 30), snn.SLSTM(30, 30, init_hidden=True), nn.Linear(30, 5))),
)


def lif_parameters(**more: float) -> Any:
    return norse.LIFParameters(**{k: torch.tensor(v) for k, v in ({"v_th": 0.3} | more).items()})


def box(**more: Any) -> Any:
    values = {"tau_mem_inv": 200.0, "v_th": 0.3} | {k: v for k, v in more.items() if k != "reset_method"}
    extra = {k: v for k, v in more.items() if k == "reset_method"}
    return norse.LIFBoxParameters(**{k: torch.tensor(v) for k, v in values.items()}, **extra)


def norse_chain(first: Callable[[], nn.Module], last: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Steps(nn.Linear(20, 30), first(), nn.Linear(30, 5), last())


def li_box() -> nn.Module:
    return norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=torch.tensor(100.0)))


NORSE = (
    Form("LIFCell and LICell", norse_chain(lambda: norse.LIFCell(lif_parameters()), norse.LICell)),
    Form("the convolutional tutorial", NorseConv, IMAGE),
    Form("LIFBoxCell and LIBoxCell", norse_chain(lambda: norse.LIFBoxCell(box()), li_box)),
    Form(
        "LIFBoxCell, reset_subtract",
        norse_chain(lambda: norse.LIFBoxCell(box(reset_method=reset_subtract)), li_box),
    ),
    Form(
        "LIFCell, v_reset=-0.2",
        norse_chain(lambda: norse.LIFCell(lif_parameters(v_reset=-0.2)), norse.LICell),
    ),
    Form("LIFCell, v_leak=0.1", norse_chain(lambda: norse.LIFCell(lif_parameters(v_leak=0.1)), norse.LICell)),
    Form("IAFCell", norse_chain(lambda: norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(1.5))), li_box)),
    Form(
        "LIFRecurrentCell",
        lambda: Steps(norse.LIFRecurrentCell(20, 30, p=lif_parameters()), nn.Linear(30, 5), norse.LICell()),
    ),
    Form(
        "LILinearCell as readout",
        lambda: Steps(nn.Linear(20, 30), norse.LIFCell(lif_parameters()), norse.LILinearCell(30, 5)),
    ),
    Form(
        "convolution, BatchNorm, LIFBoxCell, Flatten",
        lambda: Steps(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            norse.LIFBoxCell(box(v_th=0.15)),
            nn.Flatten(),
            nn.Linear(400, 5),
            li_box(),
        ),
        IMAGE,
    ),
    Form("LIFAdExCell", norse_chain(norse.LIFAdExCell, norse.LICell)),
    Form("LSNNCell", lambda: Steps(nn.Linear(20, 30), norse.LSNNCell(), nn.Linear(30, 5), norse.LICell())),
    Form("LIFExCell", norse_chain(norse.LIFExCell, norse.LICell)),
)


def jelly_chain(neuron: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Plain(layer.Linear(20, 30), neuron(), layer.Linear(30, 5), neuron())


SPIKINGJELLY = (
    Form("LIFNode", jelly_chain(lambda: jelly.LIFNode(v_threshold=0.3))),
    Form("LIFNode, decay_input=False", jelly_chain(lambda: jelly.LIFNode(tau=3.0, decay_input=False))),
    Form(
        "LIFNode, soft reset (v_reset=None)",
        jelly_chain(lambda: jelly.LIFNode(v_threshold=0.3, v_reset=None)),
    ),
    Form("LIFNode, v_reset=-0.1", jelly_chain(lambda: jelly.LIFNode(v_threshold=0.3, v_reset=-0.1))),
    Form("ParametricLIFNode", jelly_chain(lambda: jelly.ParametricLIFNode(v_threshold=0.3))),
    Form("IFNode", jelly_chain(lambda: jelly.IFNode())),
    Form("IFNode, soft reset", jelly_chain(lambda: jelly.IFNode(v_reset=None))),
    Form(
        "convolution, BatchNorm, LIFNode, maximum pool, Dropout",
        lambda: Plain(
            layer.Conv2d(1, 4, 3, bias=False),
            layer.BatchNorm2d(4),
            jelly.LIFNode(v_threshold=0.3),
            layer.MaxPool2d(2),
            layer.Flatten(),
            layer.Dropout(0.5),
            layer.Linear(100, 5),
            jelly.LIFNode(v_threshold=0.3),
        ),
        IMAGE,
    ),
    Form(
        "one-dimensional convolution",
        lambda: Plain(
            layer.Conv1d(2, 4, 3),
            jelly.LIFNode(v_threshold=0.3),
            layer.Flatten(),
            layer.Linear(56, 5),
            jelly.LIFNode(v_threshold=0.3),
        ),
        LINE,
    ),
    Form("QIFNode", jelly_chain(jelly.QIFNode)),
)
FORMS = {"snnTorch 1.0": SNNTORCH, "Norse 1.1": NORSE, "SpikingJelly 2.0": SPIKINGJELLY}


def try_form(form: Form) -> Found:
    """Build it, read it, and set its spikes (or the membranes of its readout) beside ours."""
    rng = np.random.default_rng(3)
    spikes = (rng.random((STEPS, BATCH, *form.shape)) < 0.3).astype(np.uint8)
    x = torch.from_numpy(spikes).float()
    model = _model(form, 1.0)
    try:
        network = network_from_graph(nir_from_torch(model, x, **form.settings))
    except (UserError, HardwareError) as error:
        return Found(form.name, "refused", str(error), None)
    for gain in (1.0, 2.0, 3.0, 5.0, 8.0):  # until something fires
        model = _model(form, gain)
        network = network_from_graph(nir_from_torch(model, x, **form.settings))
        _forget(model)
        with torch.no_grad():
            theirs = model(x).flatten(2).numpy()
        if not network.layers[-1].spiking or theirs.mean() > 0.02:
            break
    flat = spikes.reshape(STEPS, BATCH, -1)
    agreement = _agreement(network, flat, theirs)
    program, report = quantize(network, 8, flat)
    simulate(program, flat)
    integers = min(layer.spike_agreement for layer in report.layers)
    if form.settings:
        said = ", ".join(f"{key}={value!r}" for key, value in form.settings.items())
        return Found(form.name, "approximation", f"{said}: {agreement:.1%} of output spikes equal", integers)
    return Found(form.name, "equal" if agreement == 1.0 else "DIFFERS", f"{agreement:.2%}", integers)


def _model(form: Form, gain: float) -> nn.Module:
    """The form's network in evaluation, its weights times `gain`, with statistics as BatchNorm collects."""
    torch.manual_seed(5)
    model = form.make()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= gain
    model.eval()
    _forget(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.3, 0.8)
            module.bias.data.uniform_(-0.1, 0.2)
    return model


def _forget(model: nn.Module) -> None:
    """Every neuron at rest."""
    functional.reset_net(model)
    for module in model.modules():
        if isinstance(module, snn.SpikingNeuron) and hasattr(module, "reset_mem"):
            module.reset_mem()
            if hasattr(module, "spk"):
                module.spk = torch.zeros_like(module.spk)


def _agreement(network: Network, spikes: np.ndarray, theirs: np.ndarray) -> float:
    """Share of equal output spikes or membranes; 1.0 where float32 rounds one in a thousand otherwise."""
    record = float_simulate(network, spikes)
    last = next(one for one in network.layers if one.name == network.output)
    if not last.spiking:
        fired = {one.name: float(record.spikes[one.name].mean()) for one in network.layers if one.spiking}
        assert all(fired.values()), fired
        close = np.isclose(record.output_v, theirs, atol=1e-4 * max(1.0, float(np.abs(theirs).max())))
        return float(close.mean())
    assert 0.005 < theirs.mean() < 0.99, f"a test without spikes tests nothing: {theirs.mean()}"
    same = float((record.spikes[network.output] == theirs).mean())
    return 1.0 if same > 0.999 else same


def table() -> Iterator[str]:
    """The page, line by line."""
    yield "# Which networks of other simulators get onto the chip"
    yield ""
    yield "Made by `python -m tests.interop.coverage > docs/coverage.md`; a test holds it. Every form is"
    yield "built as its simulator's users write it, read by `neurofdfa.interop.nir_from_torch`, and run on"
    yield "the same spikes: *equal* means the same output spikes (or readout membranes) in all"
    yield f"{STEPS} steps of {BATCH} samples, but for one in a thousand that float32 rounds otherwise. The"
    yield "last column is the layer whose integer neurons, 8 bits, agree least with the floats."
    for package, forms in FORMS.items():
        found = [try_form(form) for form in forms]
        runs = sum(one.outcome in ("equal", "approximation") for one in found)
        yield ""
        yield f"## {package}: {runs} of {len(found)}"
        yield ""
        yield "| form | on the chip | detail | integers |"
        yield "|---|---|---|---|"
        for one in found:
            integers = "" if one.integers is None else f"{one.integers:.1%}"
            detail = "" if one.outcome == "equal" else one.detail.replace("|", "\\|")
            yield f"| {one.name} | {one.outcome} | {detail} | {integers} |"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("\n".join(table()))
