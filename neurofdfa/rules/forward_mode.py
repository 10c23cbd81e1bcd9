"""Forward-mode derivatives of a whole network, carried along in time beside the network itself.

    i̇ = α i̇⁻ + W ẋ_pre + V (ṡ⁻ + v⁻);   u̇ = d u̇⁻ + i̇;   ṡ = ψ u̇;   ẏ = κ ẏ⁻ + W_o ẋ_L;   ẋ = mask·ṡ + v

v is a probe: a perturbation of what a layer TRANSMITS. Its own reset never sees it, so that a derivative
along v holds only the path downstream of the layer. Dropout masks what the layer above hears; recurrent
synapses hear every neuron.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.delay import DelayLines, DelayPath
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
    probes: tuple[Tensor, ...],
    tangent: NetworkTangent,
    *,
    recurrent: bool = True,
) -> NetworkTangent:
    """Advance all tangents by the step that the network just made.

    probes: v per hidden layer, `[B, n]`. recurrent: let tangents flow through recurrent synapses; in
    strongly recurrent networks they grow without bound and are better left out.
    """
    x_dot = torch.zeros_like(step.layers[0].pre)
    layers: list[LIFTangent] = []
    own: list[Tensor] = []
    way = DelayPath(network.delays, tangent.lines)
    for index, (layer, seen) in enumerate(zip(network.hidden, step.layers, strict=True)):
        x_dot = way.arrive(x_dot)
        own_dot = tangent.own[index] if recurrent else None
        after = layer.tangent_step(x_dot, own_dot, tangent.layers[index], seen)
        own.append(after.s + probes[index])
        x_dot = own[-1] if seen.mask is None else after.s * seen.mask + probes[index]
        layers.append(after)
    readout = network.readout.tangent_step(way.arrive(x_dot), tangent.readout, step.readout)
    return NetworkTangent(tuple(layers), tuple(own), readout, way.after)
