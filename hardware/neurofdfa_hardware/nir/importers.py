"""A graph of ours, put the way another simulator's importer expects it.

snnTorch 1.0 takes every graph at dt = 1e-4; Norse 1.1 takes dt as an argument but ignores the resistance of
an LIF. Neither imports non-spiking readouts. The graphs returned here give the golden spikes there.
"""

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.metadata import read_metadata

SNNTORCH_STEP = 1e-4


def for_snntorch(graph: nir.NIRGraph, dt: float | None = None) -> nir.NIRGraph:
    """`graph` with its time constants scaled to snnTorch's step; dt: the graph's own, else from its metadata.

    Open it with `snntorch.import_nir.import_from_nir`. Raises `HardwareError`, naming the node, for nodes
    that snnTorch does not import or imports as something else.
    """
    scale = SNNTORCH_STEP / _step(graph, dt)
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.LIF):
            nodes[name] = nir.LIF(node.tau * scale, node.r, node.v_leak, node.v_threshold, node.v_reset)
        elif isinstance(node, nir.CubaLIF):
            nodes[name] = nir.CubaLIF(
                node.tau_syn * scale,
                node.tau_mem * scale,
                node.r,
                node.v_leak,
                node.v_threshold,
                node.v_reset,
                node.w_in,
            )
        elif isinstance(node, nir.IF):
            raise HardwareError(
                f"node {name!r} is an IF, which snnTorch imports as a leaky neuron: use a LIF"
            )
        else:
            _check_known(name, node, "snnTorch")
    return nir.NIRGraph(nodes, list(graph.edges))


def for_norse(graph: nir.NIRGraph, dt: float | None = None) -> tuple[nir.NIRGraph, float]:
    """`graph` with each LIF's resistance moved into the weights before it, and the dt to hand over.

    Open it with `norse.torch.from_nir(graph, dt=dt)`. Raises `HardwareError`, naming the node, for nodes that
    Norse does not import, and for a LIF fed by anything but weights of its own.
    """
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.LIF):
            nodes[name] = nir.LIF(node.tau, np.ones_like(node.r), node.v_leak, node.v_threshold, node.v_reset)
            for source in (s for s, t in graph.edges if t == name):
                nodes[source] = _stronger(source, graph, node.r, name)
        elif not isinstance(node, nir.CubaLIF):
            _check_known(name, node, "Norse")
    return nir.NIRGraph(nodes, list(graph.edges)), _step(graph, dt)


def _step(graph: nir.NIRGraph, dt: float | None) -> float:
    known = dt if dt is not None else read_metadata(graph.metadata).dt
    if known is None:
        raise HardwareError("the graph does not say its time step: pass dt")
    return known


def _check_known(name: str, node: nir.NIRNode, importer: str) -> None:
    if not isinstance(node, nir.Input | nir.Output | nir.Linear | nir.Affine | nir.Conv2d | nir.Flatten):
        kind = type(node).__name__
        raise HardwareError(
            f"node {name!r} is a {kind}, which {importer} does not import: use a readout that spikes"
        )


def _stronger(name: str, graph: nir.NIRGraph, r: NDArray[Any], neuron: str) -> nir.NIRNode:
    node = graph.nodes[name]
    targets: Mapping[str, None] = dict.fromkeys(t for s, t in graph.edges if s == name)
    if isinstance(node, nir.Linear | nir.Affine) and list(targets) == [neuron]:
        weight = node.weight * np.reshape(r, (-1, 1))
        return nir.Linear(weight) if isinstance(node, nir.Linear) else nir.Affine(weight, node.bias * r)
    raise HardwareError(
        f"node {name!r} feeds {neuron!r}, whose resistance Norse ignores, and has no weights to take it: "
        "put a Linear between them"
    )
