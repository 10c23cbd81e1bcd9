"""From and to snnTorch: a chain of `nn.Linear` and Leaky, Synaptic, RLeaky or RSynaptic neurons.

    here                     snnTorch                                        its derivative of the reset
    reset "soft"             reset_mechanism "subtract", reset_delay=True    none: "detached"
    reset "hard", τ_syn = 0  Leaky, "zero", reset_delay=True                 none: "detached"
    reset "hard"             "zero", reset_delay=False                       through the spike: "attached"
    integrator, leaky        Leaky, "none", its membrane
    spike-count              a spiking last layer, its spikes summed over time

Read from snnTorch 1.0's code and tested against it. What it computes otherwise is refused by name.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.interop.chain import (
    Population,
    linear_of,
    network_of,
    neurons_of,
    peer_module,
    populations,
    read_decay,
    recognise,
    scalar,
    weights_of,
)
from neurofdfa.nn.lif import Reset, ResetGradient, filters
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import Surrogate, surrogate_spike

_NEURONS = ("Leaky", "Synaptic", "RLeaky", "RSynaptic")


def to_snntorch(network: Network, *, same_gradient: bool = True) -> nn.Sequential:
    """An `nn.Sequential` of the network's weights (copied) and snnTorch's neurons with `init_hidden=True`.

    Call `reset_mem()` of every neuron (`snntorch.utils.reset` leaves RSynaptic's spikes), then the chain once
    per step: it returns the last layer's spikes and membrane (between them a Synaptic's current). ψ is the
    network's own surrogate.
    same_gradient: refuse what would run the same and learn differently under BPTT, because snnTorch
    differentiates the reset otherwise. Dropout and the learning of rounded weights are not part of the chain.

    Raises `UserError` where snnTorch is missing or has no such neuron.
    """
    snn = peer_module("snntorch", "snntorch")
    modules: list[nn.Module] = []
    chain = populations(network, "snnTorch")
    for index, population in enumerate(chain, 1):
        where = "the readout" if index == len(chain) else f"layer {index}"
        modules += [
            linear_of(population),
            _neuron(snn, population, where, last=index == len(chain), same_gradient=same_gradient),
        ]
    return nn.Sequential(*modules)


def from_snntorch(
    modules: Iterable[nn.Module], *, dt: float = 1e-3, surrogate: Surrogate | None = None
) -> Network:
    """A network with the weights (copied) and neurons of a chain of snnTorch.

    modules: an `nn.Sequential`, or the modules of a network in the order in which spikes pass them: Linear,
    neuron, Linear, neuron. The last neuron is the readout: an integrator where it never resets, else counted
    by its spikes; a last Linear without a neuron is read as it is at every step.
    dt: the length of a step in seconds, which snnTorch does not say. surrogate: ψ, None to recognise it.

    Raises `UserError`, naming the module, for what has no identical counterpart here.
    """
    snn = peer_module("snntorch", "snntorch")
    chain: list[Population] = []
    linear: nn.Linear | None = None
    for index, module in enumerate(modules):
        where = f"snnTorch module {index} ({type(module).__name__})"
        if isinstance(module, nn.Linear) and linear is None:
            linear = module
        elif isinstance(module, tuple(getattr(snn, name) for name in _NEURONS)):
            if linear is None:
                raise UserError(f"{where}: neurons need an nn.Linear of their own before them")
            chain.append(_population(snn, linear, module, where, dt, surrogate))
            linear = None
        elif not (isinstance(module, nn.Identity) or (isinstance(module, nn.Flatten) and not chain)):
            raise UserError(
                f"{where} is not converted: use nn.Linear and {', '.join(_NEURONS)} in turns"
                " (dropout is an option of our layers)"
            )
    if linear is not None:
        chain.append(Population(*weights_of(linear), None, None, 0.0))
    return network_of(chain, dt)


def _neuron(snn: Any, population: Population, where: str, *, last: bool, same_gradient: bool) -> nn.Module:
    def number(value: float | Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().to(population.weight).clone()
        return population.weight.new_tensor(value)

    options: dict[str, Any] = {"init_hidden": True, "output": last}
    lif = population.neuron
    if lif is None:
        return snn.Leaky(number(population.kappa), reset_mechanism="none", **options)
    recurrent, dynamics = population.recurrent is not None, population.dynamics
    filtered = filters(dynamics.alpha)
    if lif.reset == "hard" and recurrent and filtered:
        raise UserError(
            f"{where}: snnTorch's RSynaptic has no reset that clears the membrane alone: use reset='soft', "
            "or tau_syn=0, or Norse"
        )
    plain = not recurrent and not filtered
    delayed = lif.reset == "soft" or (plain and lif.reset_gradient == "detached")
    theirs: ResetGradient = "detached" if delayed else "attached"
    if same_gradient and lif.reset_gradient != theirs:
        raise UserError(
            f"{where}: snnTorch's derivative of this reset is '{theirs}' and the network's is "
            f"'{lif.reset_gradient}': change reset_gradient, or pass same_gradient=False for inference"
        )
    options |= {
        "beta": number(dynamics.beta),
        "threshold": number(lif.v_threshold),
        "spike_grad": surrogate_spike(lif.surrogate),
        "reset_mechanism": "subtract" if lif.reset == "soft" else "zero",
        "reset_delay": delayed,
    }
    if filtered:
        options["alpha"] = number(dynamics.alpha)
    constants = lif.time_constants
    if constants is not None and constants.learn:
        options |= {"learn_beta": constants.membrane is not None}
        options |= {"learn_alpha": constants.synapse is not None} if filtered else {}
    if population.recurrent is None:
        return (snn.Synaptic if filtered else snn.Leaky)(**options)
    neuron = (snn.RSynaptic if filtered else snn.RLeaky)(linear_features=len(population.weight), **options)
    neuron.to(population.weight)
    with torch.no_grad():
        neuron.recurrent.weight.copy_(population.recurrent)
        neuron.recurrent.bias.zero_()
        neuron.recurrent.bias.requires_grad_(False)
    return neuron


def _population(
    snn: Any, linear: nn.Linear, neuron: Any, where: str, dt: float, surrogate: Surrogate | None
) -> Population:
    weight, bias = weights_of(linear)
    _refuse_extras(neuron, where)
    if neuron.reset_mechanism == "none":
        if type(neuron) is not snn.Leaky:
            raise UserError(f"{where}: a readout that never resets is converted from Leaky alone")
        return Population(weight, bias, None, None, min(max(scalar(neuron.beta, f"{where}: beta"), 0.0), 1.0))
    alpha, beta = (
        read_decay(getattr(neuron, name, 0.0), f"{where}: {name}").map(lambda x: x.clamp(0.0, 1.0))
        for name in ("alpha", "beta")
    )
    if any(float(torch.as_tensor(x.value).max()) == 1.0 for x in (alpha, beta)):
        raise UserError(f"{where}: a decay of 1 never forgets: use one below it, such as 0.9999")
    reset, gradient = _reset(snn, neuron, where)
    shape = surrogate if surrogate is not None else recognise(neuron.spike_grad)
    if shape is None:
        raise UserError(
            f"{where}: its spike_grad is none of fast_sigmoid, atan and sigmoid: "
            "pass surrogate=, the ψ to learn with"
        )
    lif = neurons_of(
        alpha,
        beta,
        dt,
        weight,
        v_threshold=scalar(neuron.threshold, f"{where}: threshold"),
        reset=reset,
        reset_gradient=gradient,
        surrogate=shape,
    )
    recurrent = None
    if isinstance(neuron, snn.RLeaky | snn.RSynaptic):
        if not isinstance(neuron.recurrent, nn.Linear):
            raise UserError(f"{where}: its recurrence is not all to all: use linear_features=")
        recurrent = neuron.recurrent.weight.detach()
        bias = _with(bias, weights_of(neuron.recurrent)[1])
    return Population(weight, bias, recurrent, lif)


def _reset(snn: Any, neuron: Any, where: str) -> tuple[Reset, ResetGradient]:
    delayed = bool(neuron.reset_delay)
    if neuron.reset_mechanism == "subtract":
        if delayed:
            return "soft", "detached"
        raise UserError(
            f"{where}: with reset_delay=False it subtracts the threshold before the membrane decays: "
            "use reset_delay=True"
        )
    if type(neuron) is snn.Leaky and delayed:
        return "hard", "detached"
    if type(neuron) is snn.RSynaptic:
        raise UserError(
            f"{where}: a reset to zero clears the next step's input too: "
            "use reset_mechanism='subtract', or RLeaky"
        )
    if delayed:
        raise UserError(
            f"{where}: with reset_delay=True a reset to zero clears the next step's input too: "
            "use reset_delay=False"
        )
    return "hard", "attached"


def _refuse_extras(neuron: Any, where: str) -> None:
    if neuron.inhibition:
        raise UserError(f"{where}: inhibition has no counterpart here: set it to False")
    if neuron.state_quant:
        raise UserError(f"{where}: a quantised state has no counterpart here: set state_quant=False")
    if scalar(neuron.graded_spikes_factor, f"{where}: graded_spikes_factor") != 1.0:
        raise UserError(f"{where}: spikes are 0 or 1 here: scale the next layer's weights instead")


def _with(bias: Tensor | None, recurrent: Tensor | None) -> Tensor | None:
    """Both biases as one; zeros, which stand for none, add nothing."""
    if recurrent is None or not bool(recurrent.any()):
        return bias
    return recurrent if bias is None else bias + recurrent
