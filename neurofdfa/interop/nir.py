"""Networks to NIR, with what NIR leaves open written into the metadata.

NIR's equations carry neither dt nor an integrator nor a reset, and the same graph behaves differently in
every importer. The time constants written here are those for which a forward-Euler step of length dt
reproduces this network's decays and weights exactly (τ_mem = dt/(1 − β), R = τ_mem/dt, and for CubaLIF
τ_syn = dt/(1 − α), w_in = τ_syn/dt; a membrane without a leak is IF, R = 1/dt), and the metadata says so,
with a golden vector to check against:

    format, dt, integrator, reset, readout, decode, steps, golden/input, golden/<node>, golden/readout
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.io import write_whole
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network
from neurofdfa.nn.synapse import Convolution, Synapse

FORMAT = "neurofdfa-nir/1"
Array = np.ndarray[Any, Any]


def why_not_nir(network: Network) -> str | None:
    """Why NIR cannot hold this network, or None if it can."""
    population = network.readout.population
    named = [*((f"layer{index}", layer) for index, layer in enumerate(network.hidden, 1))]
    for name, layer in [*named, *([("readout", population)] if population else [])]:
        if not isinstance(layer.cell, LIF):
            return (
                f"{type(layer.cell).__name__} in {name} is not a LIF neuron, and NIR holds LIF, CubaLIF and "
                "IF: keep its state_dict"
            )
        if layer.neuron.adaptation:
            return (
                f"{name} has adaptive thresholds, which neither NIR nor Lava's LIF process has: "
                "train with adaptation = 0 for a chip"
            )
        alpha, beta = _decays(layer)
        if (beta == 1.0).any() and (alpha.any() or (beta < 1.0).any()):
            return (
                f"{name} has membranes without a leak, which NIR has as IF, for all neurons of a layer and "
                "without a synaptic filter: train with tau_syn = 0, or with a finite tau_mem"
            )
    return None


def to_nir(network: Network, golden: Tensor | None = None) -> nir.NIRGraph:
    """The network as a NIR graph. golden: binary input spikes `[T, B, n_in]` for the golden vector.

    Raises `UserError` when the golden input is not binary, and for neurons that NIR has no node for.
    """
    reason = why_not_nir(network)
    if reason is not None:
        raise UserError(reason)
    shape, dt = network.hidden[0].synapse.in_shape, network.hidden[0].neuron.dt
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array(shape))}
    edges: list[tuple[str, str]] = []
    below = "input"
    for index, layer in enumerate(network.hidden, 1):
        name = f"layer{index}"
        neuron, own = f"{name}.neuron", layer.synapse.out_shape
        chain = _chain(name, layer.synapse, shape, dt) | {neuron: _neuron(layer)}
        nodes |= chain
        edges += pairwise([below, *chain])
        if layer.recurrent is not None:
            nodes[f"{name}.recurrent"] = _weights(layer.recurrent)
            edges += [(neuron, f"{name}.recurrent"), (f"{name}.recurrent", neuron)]
        below, shape = neuron, own
    chain = _chain("readout", network.readout.synapse, shape, dt) | {"readout.neuron": _readout(network)}
    nodes |= chain | {"output": nir.Output(np.array([network.n_out]))}
    edges += pairwise([below, *chain, "output"])
    return nir.NIRGraph(nodes, edges, metadata=_metadata(network, golden))


def export_nir(network: Network, path: str | Path, golden: Tensor | None = None) -> None:
    """Write `to_nir` to a file, whole or not at all."""
    graph = to_nir(network, golden)
    write_whole(Path(path), lambda file: nir.write(file, graph))


def _chain(name: str, synapse: Synapse, shape: tuple[int, ...], dt: float) -> dict[str, nir.NIRNode]:
    """The nodes of one set of synapses, in order, behind neurons of that shape."""
    nodes: dict[str, nir.NIRNode] = {}
    if synapse.delay is not None:
        nodes[f"{name}.delay"] = nir.Delay(_array(synapse.delay).reshape(shape) * dt)
    if synapse.pool is not None:
        window = np.array([synapse.pool.window, synapse.pool.window])
        pool = nir.AvgPool2d if _averages(synapse) else nir.SumPool2d
        nodes[f"{name}.pool"] = pool(window, window, np.array([0, 0]))
        shape = synapse.pool.pooled
    if len(shape) > 1 and not isinstance(synapse, Convolution):
        nodes[f"{name}.flatten"] = nir.Flatten({"input": np.array(shape)}, 0, -1)
    return nodes | {f"{name}.weight": _weights(synapse)}


def _averages(synapse: Synapse) -> bool:
    """Whether a pool is NIR's average; a mixture is a sum, and its factor is in the weights behind it."""
    return synapse.pool is not None and 1.0 > synapse.pool.gain == 1.0 / synapse.pool.window**2


def _weights(synapse: Synapse) -> nir.NIRNode:
    weight = _array(synapse.quantized_weight)
    if synapse.pool is not None and not _averages(synapse):
        weight = weight * synapse.pool.gain
    bias = None if synapse.bias is None else _array(synapse.bias)
    if isinstance(synapse, Convolution):
        node = nir.Conv2d(
            input_shape=synapse.shape[1:],
            weight=weight,
            stride=synapse.stride,
            padding=synapse.padding,
            dilation=1,
            groups=1,
            bias=np.zeros(synapse.channels) if bias is None else bias,
        )
        # NIR 1.0.8 takes the kernel for square when it works out the shape
        node.output_type = {"output": np.array(synapse.image)}
        return node
    return nir.Linear(weight) if bias is None else nir.Affine(weight, bias)


def _neuron(layer: SpikingLayer) -> nir.NIRNode:
    lif, shape = layer.neuron, layer.synapse.out_shape
    alpha, beta = _decays(layer)
    if (beta == 1.0).all():
        return nir.IF(np.full(shape, 1.0 / lif.dt), np.full(shape, lif.v_threshold), np.zeros(shape))
    tau_mem = lif.dt / (1.0 - beta)
    membrane: dict[str, Any] = {
        "r": tau_mem / lif.dt,
        "v_leak": np.zeros(shape),
        "v_threshold": np.full(shape, lif.v_threshold),
        "v_reset": np.zeros(shape),
    }
    if not alpha.any():
        return nir.LIF(tau=tau_mem, **membrane)
    tau_syn = lif.dt / (1.0 - alpha)
    return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau_mem, w_in=tau_syn / lif.dt, **membrane)


def _decays(layer: SpikingLayer) -> tuple[Array, Array]:
    """α and β of every neuron, in their shape."""
    shape = layer.synapse.out_shape
    alpha, beta = (
        _array(decay).reshape(shape) if isinstance(decay, Tensor) else np.full(shape, decay)
        for decay in (layer.dynamics.alpha, layer.dynamics.beta)
    )
    return alpha, beta


def _readout(network: Network) -> nir.NIRNode:
    readout, dt = network.readout, network.hidden[0].neuron.dt
    if readout.population is not None:
        return _neuron(readout.population)
    if readout.kind == "integrator":
        return nir.I(r=np.full(readout.n, 1.0 / dt))
    tau = dt / (1.0 - readout.kappa)
    return nir.LI(tau=np.full(readout.n, tau), r=np.full(readout.n, tau / dt), v_leak=np.zeros(readout.n))


def _metadata(network: Network, golden: Tensor | None) -> dict[str, Any]:
    lif = network.hidden[0].neuron
    metadata: dict[str, Any] = {
        "format": FORMAT,
        "dt": lif.dt,
        "integrator": "euler",
        "reset": lif.reset,
        "readout": network.readout.kind,
        "decode": network.readout.decode,
    }
    if golden is None:
        return metadata
    golden = network.flat(golden)
    if not bool(((golden == 0) | (golden == 1)).all()):
        raise UserError("a golden input must be spikes (0 or 1); encode with 'poisson' or 'latency'")
    return metadata | {"steps": golden.shape[0], "golden": _record(network, golden)}


@torch.no_grad()
def _record(network: Network, golden: Tensor) -> dict[str, Any]:
    """Spikes of every spiking node and the readout's membrane (before its reset) on the golden input."""
    steps = list(network.steps(golden))
    spikes = {
        f"layer{index + 1}.neuron": torch.stack([step.layers[index].after.s for step in steps])
        for index in range(len(network.hidden))
    }
    populations = [step.readout.population for step in steps]
    fired = [seen.after for seen in populations if seen is not None]
    membrane = torch.stack([state.u for state in fired] or [step.y for step in steps])
    if fired:
        spikes["readout.neuron"] = torch.stack([state.s for state in fired])
    recorded: dict[str, Any] = {name: _array(x).astype(np.uint8) for name, x in spikes.items()}
    recorded["input"] = _array(golden).astype(np.uint8)
    recorded["readout"] = _array(membrane).astype(np.float32)
    return recorded


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()
