"""What the converters share: a chain of populations in plain tensors, and a surrogate known by its values."""

import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.integrator import I
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.leaky_integrator import LI
from neurofdfa.nn.lif import LIF, Dynamics
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import SURROGATES, Surrogate
from neurofdfa.nn.synapse import Dense, Synapse


class Population(NamedTuple):
    """Weights `[n, n_in]`, biases `[n]`, recurrent weights `[n, n]`, and the neurons; None for an integrator.

    kappa: decay of an integrator's output per step.
    """

    weight: Tensor
    bias: Tensor | None
    recurrent: Tensor | None
    neuron: LIF | None
    kappa: float = 0.0

    @property
    def dynamics(self) -> Dynamics:
        """The neurons as a step sees them."""
        assert self.neuron is not None
        return self.neuron.dynamics


def peer_module(name: str, install: str) -> Any:
    """Import a module of another simulator; raises `UserError` when it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name.split('.')[0]} is not installed: pip install {install}") from error


def populations(network: Network, peer: str) -> list[Population]:
    """The hidden layers of a network and its readout, with the weights that spikes see, detached.

    Raises `UserError`, naming the layer, for layers that no other simulator has in the same form.
    """
    found: list[Population] = []
    for index, layer in enumerate(network.hidden, 1):
        if layer.neuron.adaptation:
            raise UserError(f"layer {index} has adaptive thresholds, which {peer} does not have in this form")
        found.append(_population(layer, f"layer {index}", peer))
    readout = network.readout
    if readout.population is not None:
        return [*found, _population(readout.population, "the readout", peer)]
    synapse = _plain(readout.synapse, "the readout", peer)
    return [
        *found,
        Population(_copy(synapse.quantized_weight), _copied(synapse.bias), None, None, readout.kappa),
    ]


def network_of(chain: list[Population], dt: float) -> Network:
    """A network of these populations, the last one its readout; raises `UserError` without a hidden one."""
    if len(chain) < 2:
        raise UserError("a network needs at least one hidden layer of spiking neurons and a readout")
    *hidden, last = chain
    modules: list[nn.Module] = []
    for index, population in enumerate(hidden, 1):
        if population.neuron is None:
            raise UserError(f"layer {index} never spikes: only the last one may be an integrator")
        if population.recurrent is not None:
            population.neuron.recurrent = _linear(population.recurrent, None)
        modules += [_linear(population.weight, population.bias), population.neuron]
    if last.recurrent is not None:
        raise UserError("a recurrent readout has no counterpart here: put a dense one behind it")
    outputs: nn.Module
    if last.neuron is not None:
        outputs = last.neuron
    elif last.kappa == 1.0:
        outputs = I()
    else:
        outputs = LI(_time_constant(last.kappa, dt), dt=dt, decay_bits=None)
    return Network(*modules, _linear(last.weight, last.bias), outputs, initialise=False).to(last.weight)


class Decay(NamedTuple):
    """A decay of all neurons (a number) or of each, `[n]`; learnt: whether training changes it."""

    value: float | Tensor
    learnt: bool = False

    def map(self, f: Callable[[Tensor], Tensor]) -> "Decay":
        """The same decays, computed otherwise."""
        if isinstance(self.value, Tensor):
            return self._replace(value=f(self.value))
        return self._replace(value=float(f(torch.tensor(self.value, dtype=torch.float64))))


def read_decay(value: Any, what: str) -> Decay:
    """What a simulator holds as the decay of a layer; raises `UserError` for one that all neurons learn."""
    learnt = isinstance(value, nn.Parameter) and value.requires_grad
    tensor = torch.as_tensor(value).detach()
    if learnt and tensor.numel() == 1:
        raise UserError(
            f"{what} is one for all neurons and trained: give every neuron its own, or freeze it with "
            "requires_grad_(False)"
        )
    if not learnt and tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
        return Decay(float(tensor.flatten()[0]))
    if tensor.dim() != 1:
        raise UserError(
            f"{what} has the shape {list(tensor.shape)}: one value per layer or per neuron is read"
        )
    return Decay(tensor, learnt)


def neurons_of(alpha: Decay, beta: Decay, dt: float, like: Tensor, **settings: Any) -> LIF:
    """LIF neurons with these decays per step."""
    own = [x for x in (alpha, beta) if isinstance(x.value, Tensor)]
    if len({x.learnt for x in own}) > 1:
        raise UserError(
            "decays of current and membrane are learnt both or neither here: freeze or train both"
        )

    def tau(decay: Decay) -> float | Tensor:
        if isinstance(decay.value, Tensor):
            return -dt / decay.value.to(like.device, torch.float64).log()
        return _time_constant(decay.value, dt)

    tau_syn = tau(alpha) if isinstance(alpha.value, Tensor) or alpha.value else 0.0
    learnt = any(x.learnt for x in own)
    return LIF(tau(beta), tau_syn, dt=dt, decay_bits=None, learn_tau=learnt, **settings)


def _time_constant(decay: float, dt: float) -> float:
    """τ with exp(−dt/τ) = decay, 0 ≤ decay < 1, in seconds; positive for decay 0 too."""
    return dt / 1000.0 if decay == 0.0 else -dt / math.log(decay)


def scalar(value: Any, what: str) -> float:
    """A parameter as one number; raises `UserError` where it differs between neurons or is being trained."""
    if isinstance(value, nn.Parameter) and value.requires_grad:
        raise UserError(f"{what} is trained: freeze it with requires_grad_(False)")
    tensor = torch.as_tensor(value).detach().double()
    if tensor.numel() == 0 or bool((tensor != tensor.flatten()[0]).any()):
        raise UserError(f"{what} differs between neurons: one value per layer is converted")
    return float(tensor.flatten()[0])


def recognise(spike: Callable[[Tensor], Tensor]) -> Surrogate | None:
    """The surrogate whose ψ is the derivative of a spike function under autograd, or None if there is none.

    Known by its values at some distances from threshold, not by its name.
    """
    near = 0.01
    height, there = map(float, _derivative(spike, torch.tensor([0.0, near], dtype=torch.float64)))
    if not 0.0 < there < height < math.inf:
        return None
    ratio = there / height
    widths = {
        "fast-sigmoid": near / (ratio**-0.5 - 1.0),
        "triangular": near / (1.0 - ratio),
        "arctan": near * math.pi / math.sqrt(1.0 / ratio - 1.0),
        "sigmoid": 0.5 * near / math.acosh(ratio**-0.5),  # 4σ(1 − σ) = sech²(d / 2w)
    }
    distances = torch.tensor([-2.0, -0.7, -0.1, -0.02, 0.0, 0.005, 0.03, 0.4, 1.3], dtype=torch.float64)
    expected = _derivative(spike, distances)
    for name, width in widths.items():
        shape = SURROGATES[name](_round(width), _round(height))
        if torch.allclose(shape(distances), expected, rtol=1e-6, atol=1e-9 * height):
            return shape
    return None


def _round(value: float) -> float:
    """The short number that a value most likely was before rounding errors."""
    short = float(f"{value:.6g}")
    return short if abs(short - value) < 1e-9 * value else value


def weights_of(linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a torch layer, without their graph."""
    bias = linear.get_parameter("bias") if "bias" in dict(linear.named_parameters()) else None
    return linear.weight.detach(), None if bias is None else bias.detach()


def linear_of(population: Population, gain: float | Tensor = 1.0) -> nn.Linear:
    """A torch layer with the population's weights and biases divided by `gain`, one for all or `[n]`."""
    n, n_in = population.weight.shape
    linear = nn.Linear(n_in, n, bias=population.bias is not None).to(population.weight)
    with torch.no_grad():
        linear.weight.copy_(population.weight / per_row(gain))
        if population.bias is not None:
            linear.bias.copy_(population.bias / gain)
    return linear


def per_row(gain: float | Tensor) -> float | Tensor:
    """A factor per neuron as one per row of its weights."""
    return gain.unsqueeze(1) if isinstance(gain, Tensor) else gain


def _derivative(spike: Callable[[Tensor], Tensor], distance: Tensor) -> Tensor:
    with torch.enable_grad():
        x = distance.clone().requires_grad_()
        y = spike(x).sum()
        if not y.requires_grad:
            return torch.zeros_like(distance)
        return torch.autograd.grad(y, x)[0]


def _linear(weight: Tensor, bias: Tensor | None) -> Linear:
    """Synapses with these weights."""
    n, n_in = weight.shape
    made = Linear(n_in, n, bias is not None).to(weight)
    with torch.no_grad():
        made.weight.copy_(weight)
        if made.bias is not None and bias is not None:
            made.bias.copy_(bias)
    return made


def _population(layer: SpikingLayer, where: str, peer: str) -> Population:
    synapse = _plain(layer.synapse, where, peer)
    recurrent = (
        None if layer.recurrent is None else _copy(_plain(layer.recurrent, where, peer).quantized_weight)
    )
    return Population(
        _copy(synapse.quantized_weight),
        _copied(synapse.bias),
        recurrent,
        layer.neuron,
    )


def _plain(synapse: Synapse, where: str, peer: str) -> Synapse:
    if synapse.delay is not None:
        raise UserError(f"{where} has delays, which are not converted to {peer}: export it to NIR")
    if type(synapse) is not Dense or synapse.pool is not None:
        kind = (
            "a pool in front of it"
            if type(synapse) is Dense
            else f"synapses of kind {type(synapse.module).__name__}"
        )
        raise UserError(f"{where} has {kind}, which is not converted to {peer}: export it to NIR")
    return synapse


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _copy(tensor)
