"""From and to Norse: a `SequentialState` of `nn.Linear`, LIF cells, recurrent LIF cells, integrators.

Norse integrates by forward Euler, so that α = 1 − dt/τ_syn and β = 1 − dt/τ_mem there, and scales the current
by dt/τ_mem = 1 − β: its weights are ours divided by 1 − β.

    here                           Norse                          its derivative of the reset
    reset "hard", τ_syn > 0        LIFCell                        "attached"
    reset "hard", τ_syn = 0        LIFBoxCell                     "attached"
    reset "hard", recurrent        LIFRecurrentCell               "detached"
    leaky                          LIBoxCell
    spike-count                    a spiking last layer, its spikes summed over time

Read from Norse 1.1's code and tested against it. What it computes otherwise is refused by name.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.interop.chain import (
    Decay,
    Population,
    linear_of,
    network_of,
    neurons_of,
    peer_module,
    per_row,
    populations,
    read_decay,
    recognise,
    scalar,
    weights_of,
)
from neurofdfa.nn.lif import ResetGradient, filters
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import FastSigmoid, Sigmoid, Surrogate, Triangular

_INSTALL = "--no-deps norse nirtorch"
_SPIKING = ("LIFCell", "LIFBoxCell", "LIF", "LIFRecurrentCell", "LIFRecurrent")
_RECURRENT = ("LIFRecurrentCell", "LIFRecurrent")
_INTEGRATORS = ("LICell", "LIBoxCell", "LI")


def to_norse(network: Network, *, same_gradient: bool = True) -> nn.Module:
    """A `norse.torch.SequentialState` with the network's weights (copied) and neurons, one step per call:
    `output, state = chain(x_t, state)`.

    same_gradient: refuse what would run the same and learn differently under BPTT, because Norse
    differentiates the reset otherwise or has no such ψ. Dropout and the learning of rounded weights are not
    part of the chain.

    Raises `UserError` where Norse is missing or has no such neuron.
    """
    norse = peer_module("norse.torch", _INSTALL)
    modules: list[nn.Module] = []
    chain = populations(network, "Norse")
    dt = network.hidden[0].neuron.dt
    for index, population in enumerate(chain, 1):
        where = "the readout" if index == len(chain) else f"layer {index}"
        modules += _modules(norse, population, where, dt, same_gradient)
    return norse.SequentialState(*modules)


def from_norse(modules: Iterable[nn.Module], *, surrogate: Surrogate | None = None) -> Network:
    """A network with the weights (copied) and neurons of a chain of Norse.

    modules: a `SequentialState`, or its modules in order. The last one is the readout: LICell or LIBoxCell,
    or a LIF layer that is counted by its spikes. surrogate: ψ, None to recognise it.
    Synapses from a neuron to itself, which Norse leaves out (`autapses=False`), are zero and learn here.

    Raises `UserError`, naming the module, for what has no identical counterpart here.
    """
    norse = peer_module("norse.torch", _INSTALL)
    threshold = peer_module("norse.torch.functional.threshold", _INSTALL).threshold
    chain: list[Population] = []
    linear: nn.Linear | None = None
    steps: set[float] = set()
    for index, outer in enumerate(modules):
        module: Any = outer.lifted_module if isinstance(outer, norse.Lift) else outer
        kind = type(module).__name__
        where = f"Norse module {index} ({kind})"
        known = kind in (*_SPIKING, *_INTEGRATORS) and isinstance(module, getattr(norse, kind))
        if isinstance(module, nn.Linear) and linear is None:
            linear = module
        elif known and (linear is None) == (kind in _RECURRENT):
            chain.append(_population(module, linear, kind, where, threshold, surrogate))
            steps.add(_step(module))
            linear = None
        elif known:
            raise UserError(
                f"{where} has weights of its own: leave out the nn.Linear before it"
                if kind in _RECURRENT
                else f"{where}: neurons need an nn.Linear of their own before them"
            )
        elif not (isinstance(module, nn.Identity) or (isinstance(module, nn.Flatten) and not chain)):
            raise UserError(
                f"{where} is not converted: use nn.Linear with {', '.join(_SPIKING[:3])}, or a recurrent LIF,"
                " and LICell or LIBoxCell at the end (dropout is an option of our layers)"
            )
    if len(steps) > 1:
        raise UserError(f"dt differs between the modules ({sorted(steps)}): give all the same dt")
    dt = steps.pop() if steps else 1e-3
    if linear is not None:
        chain.append(Population(*weights_of(linear), None, None, 0.0))
    return network_of(chain, dt)


def _modules(
    norse: Any, population: Population, where: str, dt: float, same_gradient: bool
) -> list[nn.Module]:
    def number(value: float | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().to(population.weight).clone()
        return population.weight.new_tensor(value)

    lif = population.neuron
    if lif is None:
        if population.kappa == 1.0:
            raise UserError(f"{where}: Norse has no integrator that keeps everything: use readout='leaky'")
        p = norse.LIBoxParameters(number((1.0 - population.kappa) / dt), number(0.0))
        return [linear_of(population, 1.0 - population.kappa), norse.LIBoxCell(p, dt=dt)]
    if lif.reset == "soft":
        raise UserError(
            f"{where}: Norse subtracts the threshold before the membrane decays: "
            "use reset='hard', or snnTorch"
        )
    recurrent = population.recurrent is not None
    theirs: ResetGradient = "detached" if recurrent else "attached"
    if same_gradient and lif.reset_gradient != theirs:
        raise UserError(
            f"{where}: Norse's derivative of this reset is '{theirs}' and the network's is "
            f"'{lif.reset_gradient}': change reset_gradient, or pass same_gradient=False for inference"
        )
    constants = lif.time_constants
    if same_gradient and constants is not None and constants.learn:
        raise UserError(
            f"{where}: Norse's cells do not learn their time constants: fix them, "
            "or pass same_gradient=False for inference"
        )
    method, steepness = _method(lif.surrogate, where, same_gradient)
    alpha, beta = population.dynamics.alpha, population.dynamics.beta
    gain = 1.0 - (beta.detach() if isinstance(beta, Tensor) else beta)
    membrane: dict[str, Any] = {
        "tau_mem_inv": number(gain / dt),
        "v_leak": number(0.0),
        "v_th": number(lif.v_threshold),
        "v_reset": number(0.0),
        "method": method,
        "alpha": number(steepness),
    }
    current = {"tau_syn_inv": number((1.0 - alpha) / dt)}
    if population.recurrent is None:
        cell = (
            norse.LIFCell(norse.LIFParameters(**membrane, **current), dt=dt)
            if filters(alpha)
            else norse.LIFBoxCell(norse.LIFBoxParameters(**membrane), dt=dt)
        )
        return [linear_of(population, gain), cell]
    if population.bias is not None:
        raise UserError(f"{where}: Norse's recurrent layers have no bias: use bias=False, or snnTorch")
    n, n_in = population.weight.shape
    return [
        norse.LIFRecurrentCell(
            n_in,
            n,
            norse.LIFParameters(**membrane, **current),
            input_weights=nn.Parameter(population.weight / per_row(gain)),
            recurrent_weights=nn.Parameter(population.recurrent / per_row(gain)),
            autapses=True,
            dt=dt,
        )
    ]


def _method(shape: Surrogate, where: str, same_gradient: bool) -> tuple[str, float]:
    """Norse's name and steepness of a surrogate; its "super" has width 1 whatever its steepness."""
    if shape == FastSigmoid(1.0, 1.0):
        return "super", 1.0
    if isinstance(shape, Triangular) and shape.width == 1.0:
        return "triangle", shape.height
    if isinstance(shape, Sigmoid) and shape.height == 1.0:
        return "tanh", 0.5 / shape.width
    if same_gradient:
        raise UserError(
            f"{where}: Norse has no surrogate {shape}: use FastSigmoid(1, 1), Triangular(1, h) or "
            "Sigmoid(w, 1), or pass same_gradient=False for inference"
        )
    return "super", 1.0


def _population(
    module: Any,
    linear: nn.Linear | None,
    kind: str,
    where: str,
    threshold: Callable[[Tensor, str, Any], Tensor],
    surrogate: Surrogate | None,
) -> Population:
    p, dt = module.p, _step(module)
    beta = _decay(dt, p.tau_mem_inv, f"{where}: tau_mem_inv")
    alpha = _decay(dt, p.tau_syn_inv, f"{where}: tau_syn_inv") if hasattr(p, "tau_syn_inv") else Decay(0.0)
    gain = 1.0 - beta.value
    if scalar(p.v_leak, f"{where}: v_leak") != 0.0:
        raise UserError(f"{where}: v_leak is not 0: subtract it from v_th, v_reset and itself")
    if linear is None:
        weight, bias = module.input_weights, None
        recurrent = module.recurrent_weights.detach() * per_row(gain)
    else:
        (weight, bias), recurrent = weights_of(linear), None
    weight = weight.detach() * per_row(gain)
    bias = None if bias is None else bias * gain
    if kind in _INTEGRATORS:
        if alpha.value or isinstance(beta.value, Tensor):
            raise UserError(
                f"{where}: a readout has no synaptic filter and one decay here: use LIBoxCell, "
                "or tau_syn_inv = 1/dt"
            )
        return Population(weight, bias, None, None, beta.value)
    lif = neurons_of(
        alpha,
        beta,
        dt,
        weight,
        v_threshold=scalar(p.v_th, f"{where}: v_th"),
        reset="hard",
        reset_gradient="detached" if kind in _RECURRENT else "attached",
        surrogate=surrogate if surrogate is not None else _recognised(p, where, threshold),
    )
    if scalar(p.v_reset, f"{where}: v_reset") != 0.0:
        raise UserError(f"{where}: v_reset is not 0: membranes are reset to 0 here")
    if hasattr(p, "reset_method") and p.reset_method.__name__ != "reset_value":
        raise UserError(
            f"{where}: it subtracts the threshold before the membrane decays: use reset_method=reset_value"
        )
    return Population(weight, bias, recurrent, lif)


def _step(module: Any) -> float:
    return float(module.dt)


def _recognised(p: Any, where: str, threshold: Callable[[Tensor, str, Any], Tensor]) -> Surrogate:
    shape = None
    if p.method != "adjoint":
        shape = recognise(lambda distance: threshold(distance, p.method, p.alpha))
    if shape is None:
        raise UserError(
            f"{where}: its method '{p.method}' has no counterpart here: use 'super', 'triangle' or 'tanh',"
            " or pass surrogate=, the ψ to learn with"
        )
    return shape


def _decay(dt: float, inverse: Any, what: str) -> Decay:
    """1 − dt/τ as Norse computes it, with what rounding leaves of a zero removed."""
    read = read_decay(inverse, what)  # its gradient, if any, is lost in what follows
    if read.learnt:
        raise UserError(f"{what} is trained: freeze it with requires_grad_(False)")
    rate = dt * torch.as_tensor(inverse).detach()
    precision = 4 * torch.finfo(rate.dtype).eps
    decay = read_decay(1.0 - rate.double(), what).map(lambda x: torch.where(x.abs() <= precision, 0.0, x))
    low, high = (float(x) for x in torch.as_tensor(decay.value).aminmax())
    if low < 0.0 or high >= 1.0 or (low == 0.0 and high > 0.0):
        raise UserError(
            f"{what} · dt must be in (0, 1], and below 1 for all neurons or none: "
            f"got {1 - high:g} to {1 - low:g}"
        )
    return decay
