"""Convolutions and pools as dense matrices, one weight at a time: what the core must be equal to."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from neurofdfa.nn.linear import Linear
from neurofdfa.nn.network import Network
from neurofdfa.nn.synapse import Convolution, Synapse
from tests.oracles.reference import Weights, weights_of


def slow_matrix(geometry, weight: Tensor) -> Tensor:
    """The dense matrix `[n_out, n_in]` of a convolution, as a function that autograd follows.

    geometry: image (channels, rows, columns), channels, kernel, stride, padding.
    """
    (depth, rows, columns), channels, kernel, stride, padding = geometry
    out = [(n + 2 * padding - k) // stride + 1 for n, k in zip((rows, columns), kernel, strict=True)]
    which = torch.full((channels, *out, depth, rows, columns), -1)
    number = torch.arange(weight.numel()).view(weight.shape)
    places = torch.cartesian_prod(*(torch.arange(n) for n in (channels, *out, depth, *kernel)))
    for c, y, x, d, i, j in places.tolist():
        row, column = y * stride + i - padding, x * stride + j - padding
        if 0 <= row < rows and 0 <= column < columns:
            which[c, y, x, d, row, column] = number[c, d, i, j]
    which = which.flatten(3).flatten(0, 2)
    return torch.where(which >= 0, weight.flatten()[which.clamp_min(0)], 0.0)


def slow_pool(shape, window):
    """The 0-1 matrix `[n_out, n_in]` of the sums over windows."""
    depth, rows, columns = shape
    matrix = torch.zeros(depth, rows // window, columns // window, depth, rows, columns, dtype=torch.float64)
    for c, y, x in torch.cartesian_prod(*(torch.arange(n) for n in shape)).tolist():
        matrix[c, y // window, x // window, c, y, x] = 1.0
    return matrix.flatten(3).flatten(0, 2)


def matrix_of(synapse: Synapse, weight: Tensor) -> Tensor:
    """The dense matrix of any synapses with `weight` in place of their own."""
    matrix = weight
    if isinstance(synapse, Convolution):
        kernel = (weight.shape[2], weight.shape[3])
        geometry = (synapse.shape, weight.shape[0], kernel, synapse.stride, synapse.padding)
        matrix = slow_matrix(geometry, weight)
    if synapse.pool is not None:
        matrix = matrix @ slow_pool(synapse.pool.shape, synapse.pool.window).to(matrix)
    return matrix


def lowered(network: Network, w: Weights) -> Weights:
    """All parameters of a network as those of its dense twin, differentiable in `w`."""
    found: Weights = {}
    for name, tensor in w.items():
        *owner, kind = name.split(".")
        layer = network.readout if owner[0] == "readout" else network.hidden[int(owner[1])]
        synapse = layer.recurrent if owner[-1] == "recurrent" else layer.synapse
        assert isinstance(synapse, Synapse)
        found[name] = (
            matrix_of(synapse, tensor) if kind == "weight" else tensor.repeat_interleave(synapse.sites)
        )
    return found


def dense_twin(network: Network) -> Network:
    """The same network in dense layers, which do not share their weights."""
    chain: list[nn.Module] = []
    n = network.n_in
    for layer in network.hidden:
        chain += [Linear(n, layer.n, layer.synapse.bias is not None), layer.cell.copy()]
        chain[-1].recurrent = None if layer.recurrent is None else Linear(layer.n, layer.n)
        n = layer.n
    readout = network.readout
    chain += [Linear(n, readout.n, readout.synapse.bias is not None), copy.deepcopy(readout.outputs)]
    twin = Network(*chain).double()
    with torch.no_grad():
        for own, theirs in zip(
            twin.parameters(), lowered(network, weights_of(network)).values(), strict=True
        ):
            own.copy_(theirs)
    return twin


def tied(network: Network, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A dense twin's gradients, summed over the places that share a parameter."""
    w = weights_of(network, requires_grad=True)
    matrices = lowered(network, w)
    total = sum((m * g).sum() for m, g in zip(matrices.values(), gradients, strict=True))
    return torch.autograd.grad(total, list(w.values()))
