"""Backpropagation through space alone: from the outputs down the layers within one time step.

    λ_L[t] = W_oᵀ ε[t],   λ_l[t] = W_{l+1}ᵀ (ψ_{l+1}[t] λ_{l+1}[t]),   ε = e (times ψ of a spiking readout)

Nothing of other steps takes part. It is not local in space: a layer hears the layers above it. It serves
the rules that are local in time only.
"""

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.synapse import Synapse


def synapses_above(network: Network) -> tuple[Synapse, ...]:
    """For each hidden layer the synapses that its spikes drive."""
    return (*(layer.synapse for layer in network.hidden[1:]), network.readout.synapse)


def check_no_delay_above(network: Network, name: str) -> None:
    """Raise `UserError` where spikes of a hidden layer arrive later than they are sent: an error that comes
    down within the step would meet the wrong spikes.
    """
    if any(synapse.delay is not None for synapse in synapses_above(network)):
        raise UserError(
            f"'{name}' sends errors down within one step, so it takes no delay behind a hidden layer: "
            "delay the input only, or choose a rule that broadcasts"
        )


def output_delta(step: NetworkStep, error: Tensor) -> Tensor:
    """∂loss/∂(drive of the readout) within the step, `[B, k]`."""
    population = step.readout.population
    return error if population is None else error * population.psi


def spatial_signals(
    network: Network,
    step: NetworkStep,
    error: Tensor,
    weights: tuple[Tensor, ...] | None = None,
    slopes: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:
    """λ of every hidden layer, bottom up, sent back through the transposed synapses above it; with `weights`
    (one per hidden layer, of the shape of those synapses' own) in place of theirs, and with `slopes`,
    `[B, n]` each, in place of the layers' ψ.
    """
    delta = output_delta(step, error)
    signals: list[Tensor] = []
    stand_ins = (None,) * len(step.layers) if weights is None else weights
    psis = tuple(seen.psi for seen in step.layers) if slopes is None else slopes
    way = zip(step.layers, synapses_above(network), stand_ins, psis, strict=True)
    for seen, synapse, weight, psi in reversed(list(way)):
        signal = synapse.transpose(delta, weight)
        signal = signal if seen.mask is None else signal * seen.mask
        signals.append(signal)
        delta = signal * psi
    return tuple(reversed(signals))
