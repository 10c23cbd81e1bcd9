"""Forward-mode derivatives of a whole network, carried along in time beside the network itself.

    i̇ = α i̇⁻ + p + W ẋ_pre + V (ṡ⁻ + v⁻);   u̇ = d u̇⁻ + i̇;   ṡ = ψ u̇;   ẏ = κ ẏ⁻ + W_o ẋ_L;   ẋ = mask·ṡ + v

p is a push on the drive. v is a probe: a perturbation of what a layer TRANSMITS. Its own reset never sees it,
so that a derivative along v holds only the path downstream of the layer. Dropout masks what the layer above
hears; recurrent synapses hear every neuron.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.delay import DelayLines
from neurofdfa.nn.lif import LIFTangent
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.readout import ReadoutTangent


class NetworkTangent(NamedTuple):
    """Tangents of all layers and of the readout; `own`: what recurrent synapses hear next, ṡ + v; lines:
    those on their way.
    """

    layers: tuple[LIFTangent, ...]
    own: tuple[Tensor, ...]
    readout: ReadoutTangent
    lines: DelayLines = ()


def initial_tangent(network: Network, batch: int) -> NetworkTangent:
    """All zero, `[B, n]` per layer."""
    layers = tuple(layer.initial_tangent(batch) for layer in network.hidden)
    own, readout = tuple(x.s for x in layers), network.readout.initial_tangent(batch)
    return NetworkTangent(layers, own, readout, network.initial_lines(batch))


def tangent_step(
    network: Network,
    step: NetworkStep,
    probes: tuple[Tensor, ...] | None,
    tangent: NetworkTangent,
    *,
    pushes: tuple[Tensor, ...] | None = None,
    recurrent: bool = True,
) -> NetworkTangent:
    """Advance all tangents by the step that the network just made.

    probes: v per hidden layer, pushes: p, `[B, n]` each, None for none. recurrent: let tangents flow through
    recurrent synapses; in strongly recurrent networks they grow without bound and are better left out.
    """
    layers: list[LIFTangent] = []
    own: list[Tensor] = []

    def follow(index: int, pre_dot: Tensor) -> Tensor:
        seen, push = step.layers[index], None if pushes is None else pushes[index]
        own_dot = tangent.own[index] if recurrent else None
        below = pre_dot if index else None  # nothing perturbs the input
        after = network.hidden[index].tangent_step(below, own_dot, tangent.layers[index], seen, push)
        sent = after.s if seen.mask is None else after.s * seen.mask
        layers.append(after)
        own.append(after.s if probes is None else after.s + probes[index])
        return sent if probes is None else sent + probes[index]

    x_dot, lines = network.walk(torch.zeros_like(step.layers[0].pre), tangent.lines, follow)
    readout = network.readout.tangent_step(x_dot, tangent.readout, step.readout)
    return NetworkTangent(tuple(layers), tuple(own), readout, lines)
