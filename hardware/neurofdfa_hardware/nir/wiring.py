"""Who feeds whom in a NIR graph: sub-graphs unfolded, shapes found, linear nodes folded into matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, apply, dense, entries, with_entries
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.dynamics import NEURON_NODES
from neurofdfa_hardware.nir.lowering import LINEAR_NODES, Lowered, Shape, lower, per_neuron

Float64 = NDArray[np.float64]
# The most synapses that are made a matrix of where a kernel cannot be kept.
_LARGEST_MATRIX = 2**26
_PASSED_ON = (nir.Input, nir.Output, nir.Delay)
_KNOWN = ", ".join(kind.__name__ for kind in (*LINEAR_NODES, nir.Delay, *NEURON_NODES))


@dataclass(frozen=True)
class Inflow:
    """What one source sends into a node, and the linear nodes it passed.

    weight: `[n, n_source]` or a kernel, None for the identity. delay in the graph's time unit: None, `[n]`
    beside an identity, else anything that broadcasts to the matrix. factor `[n]`: by which neurons are
    multiplied while there are no weights yet, None for 1.
    """

    source: str
    weight: Float64 | Kernel | None
    delay: Float64 | None
    path: tuple[str, ...]
    factor: Float64 | None = None


@dataclass(frozen=True)
class Heard:
    """Everything a node hears: inflows and a constant bias, flattened (None: zero)."""

    inflows: tuple[Inflow, ...]
    bias: Float64 | None


@dataclass(frozen=True)
class Wiring:
    """The unfolded graph. shapes: what each node puts out; lowered: its linear nodes as weights."""

    nodes: Mapping[str, nir.NIRNode]
    before: Mapping[str, Sequence[str]]
    input: str
    output: str
    neurons: tuple[str, ...]
    shapes: Mapping[str, Shape]
    lowered: Mapping[str, Lowered]

    def hear(self, name: str, trail: tuple[str, ...] = ()) -> Heard:
        """Follow the linear nodes before `name` back to the neurons and the input that feed it."""
        if name in trail:
            raise HardwareError(f"nodes {' → '.join(trail)} feed each other without a neuron between them")
        parts = [self._from(source, (*trail, name)) for source in self.before[name]]
        if not parts:
            raise HardwareError(f"node {name!r} hears nothing: connect it or remove it")
        shapes = {source: self.shapes[source] for source in self.before[name]}
        if len(set(shapes.values())) > 1:
            raise HardwareError(f"node {name!r} hears shapes that differ: {shapes}")
        biases = [part.bias for part in parts if part.bias is not None]
        inflows = tuple(inflow for part in parts for inflow in part.inflows)
        return Heard(inflows, np.sum(biases, axis=0) if biases else None)

    def _from(self, source: str, trail: tuple[str, ...]) -> Heard:
        if source == self.input:
            return Heard((Inflow("input", None, None, ()),), None)
        node = self.nodes[source]
        if isinstance(node, NEURON_NODES):
            return Heard((Inflow(source, None, None, ()),), None)
        heard = self.hear(source, trail)
        if isinstance(node, nir.Delay):
            return _delayed(source, node, heard, self.shapes[source])
        if source in self.lowered:
            return _through(source, self.lowered[source], heard)
        return heard


def read_wiring(graph: nir.NIRGraph) -> Wiring:
    """Unfold `graph` and find every shape.

    Raises `HardwareError` for unknown nodes, edges into nowhere, shapes that do not fit, no single input
    or output.
    """
    nodes, edges, _, _ = _unfold(graph, "", set())
    for name, node in nodes.items():
        if not isinstance(node, (*_PASSED_ON, *LINEAR_NODES, *NEURON_NODES)):
            kind = type(node).__name__
            if kind == "NoneType":
                raise HardwareError(
                    f"node {name!r} is empty: the exporter knew no node for that module and left it out; "
                    "write the graph with neurofdfa.interop.nir_from_torch, which reads the modules"
                )
            raise HardwareError(
                f"node {name!r} is a {kind}, which has no counterpart on Loihi; nodes that have: {_KNOWN}"
            )
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        before[target].append(source)
    entry = _the_only(graph, nir.Input)
    shapes, lowered = _infer_shapes(nodes, before, entry)
    neurons = tuple(name for name, node in nodes.items() if isinstance(node, NEURON_NODES))
    if "input" in neurons:
        raise HardwareError("a neuron node is called 'input', the name of the input: rename it")
    output = _read_out(nodes, before, _the_only(graph, nir.Output))
    return Wiring(nodes, before, entry, output, neurons, shapes, lowered)


def _the_only(graph: nir.NIRGraph, kind: type[nir.NIRNode], where: str = "the graph") -> str:
    found = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise HardwareError(f"{where} has {len(found)} {kind.__name__} nodes: exactly one is needed")
    return found[0]


def _unfold(
    graph: nir.NIRGraph, prefix: str, taken: set[str]
) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]], str, str]:
    """Replace sub-graphs by their nodes `parent.child`; their Input and Output pass everything on.

    A name that is taken, by a node of the outer graph, gets a number. Also returns entry and exit.
    """
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    names: dict[str, str] = {}
    for key, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            names[key] = _fresh(prefix + key, taken)
            nodes[names[key]] = node
    entry, leave = dict(names), dict(names)
    for key, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            _the_only(node, nir.Input, f"sub-graph {prefix + key!r}")
            _the_only(node, nir.Output, f"sub-graph {prefix + key!r}")
            inner_nodes, inner_edges, entry[key], leave[key] = _unfold(node, f"{prefix}{key}.", taken)
            nodes |= inner_nodes
            edges += inner_edges
    for source, target in graph.edges:
        if source not in leave or target not in entry:
            raise HardwareError(f"edge ({source!r}, {target!r}) names a node that does not exist")
        edges.append((leave[source], entry[target]))
    entries = [names[key] for key, node in graph.nodes.items() if isinstance(node, nir.Input)]
    exits = [names[key] for key, node in graph.nodes.items() if isinstance(node, nir.Output)]
    return nodes, edges, "".join(entries[:1]), "".join(exits[:1])


def _fresh(name: str, taken: set[str]) -> str:
    fresh, number = name, 2
    while fresh in taken:
        fresh, number = f"{name}#{number}", number + 1
    taken.add(fresh)
    return fresh


def _infer_shapes(
    nodes: Mapping[str, nir.NIRNode], before: Mapping[str, Sequence[str]], entry: str
) -> tuple[dict[str, Shape], dict[str, Lowered]]:
    declared = nodes[entry].input_type.get("input")
    if declared is None:
        raise HardwareError(f"node {entry!r} does not say its shape")
    shapes: dict[str, Shape] = {entry: _without_batch(tuple(int(n) for n in np.atleast_1d(declared)))}
    lowered: dict[str, Lowered] = {}
    waiting = [name for name in nodes if name != entry]
    while waiting:
        left: list[str] = []
        for name in waiting:
            shape = next((shapes[source] for source in before[name] if source in shapes), None)
            if shape is None:
                left.append(name)
            elif isinstance(nodes[name], LINEAR_NODES):
                lowered[name] = lower(name, nodes[name], shape)
                shapes[name] = lowered[name].shape
            else:
                shapes[name] = shape
        if len(left) == len(waiting):
            raise HardwareError(f"nodes {left} are not reached from the input: connect or remove them")
        waiting = left
    return shapes, lowered


def _without_batch(shape: Shape) -> Shape:
    """Norse's exporter takes the batch of its example for a part of the input's shape."""
    return shape[1:] if len(shape) in (2, 4) and shape[0] == 1 else shape


def _read_out(nodes: Mapping[str, nir.NIRNode], before: Mapping[str, Sequence[str]], leave: str) -> str:
    """The neurons that the Output node hears."""
    heard = list(before[leave])
    while len(heard) == 1 and not isinstance(nodes[heard[0]], NEURON_NODES):
        if not isinstance(nodes[heard[0]], nir.Output | nir.Input | nir.Flatten):
            kind = type(nodes[heard[0]]).__name__
            raise HardwareError(
                f"the graph ends in node {heard[0]!r}, a {kind}: end it in neurons; "
                "nir.LI and nir.I are non-spiking readouts"
            )
        heard = list(before[heard[0]])
    if len(heard) != 1:
        raise HardwareError(f"the Output hears {len(heard)} populations: exactly one is read out")
    return heard[0]


def _through(name: str, lowered: Lowered, heard: Heard) -> Heard:
    """What leaves a linear node that hears `heard`."""
    bias = lowered.bias
    if heard.bias is not None:
        carried = heard.bias if lowered.weight is None else apply(lowered.weight, heard.bias[None])[0]
        if lowered.factor is not None:
            carried = carried * lowered.factor
        bias = carried if bias is None else bias + carried
    return Heard(tuple(_multiplied(name, lowered, inflow) for inflow in heard.inflows), bias)


def _multiplied(name: str, lowered: Lowered, inflow: Inflow) -> Inflow:
    path = (*inflow.path, name)
    if lowered.factor is not None:
        return _scaled(inflow, lowered.factor, path)
    if lowered.weight is None:
        return replace(inflow, path=path)
    if inflow.weight is None:
        weight = lowered.weight
        if inflow.factor is not None:
            weight = _behind_factor(weight, inflow.factor)
        delay = None if inflow.delay is None else inflow.delay[None, :]
        return Inflow(inflow.source, weight, delay, path)
    delay = inflow.delay
    if delay is not None:
        if delay.shape[0] > 1 and np.any(np.ptp(delay, axis=0) > 0):
            raise HardwareError(
                f"node {name!r} mixes neurons that an earlier Delay holds back by different times: "
                "put the Delay behind it"
            )
        delay = delay[:1]
    return Inflow(inflow.source, _product(name, lowered.weight, inflow.weight), delay, path)


def _scaled(inflow: Inflow, factor: Float64, path: tuple[str, ...]) -> Inflow:
    if inflow.weight is None:
        return replace(inflow, factor=factor if inflow.factor is None else inflow.factor * factor, path=path)
    if isinstance(inflow.weight, Kernel):
        return replace(inflow, weight=inflow.weight.scaled(factor) or _matrix(inflow, factor), path=path)
    return replace(inflow, weight=inflow.weight * factor[:, None], path=path)


def _matrix(inflow: Inflow, factor: Float64) -> Float64:
    """A kernel whose neurons do not share their weights any more."""
    assert inflow.weight is not None
    return _dense("+".join(inflow.path), inflow.weight) * factor[:, None]


def _behind_factor(weight: Float64 | Kernel, factor: Float64) -> Float64 | Kernel:
    """`weight` over neurons that are multiplied first."""
    if np.ptp(factor) == 0:
        return with_entries(weight, entries(weight) * factor[0])
    return _dense("Scale", weight) * factor


def _product(name: str, last: Float64 | Kernel, first: Float64 | Kernel) -> Float64 | Kernel:
    """Two sets of weights with no neurons between them."""
    if isinstance(first, Kernel):
        if not isinstance(last, Kernel):
            return first.pull(last)
        return last.behind(first) or last.apply(_dense(name, first).T).T
    return apply(last, first.T).T


def _dense(name: str, weight: Float64 | Kernel) -> Float64:
    if isinstance(weight, Kernel) and np.prod(weight.shape, dtype=np.float64) > _LARGEST_MATRIX:
        raise HardwareError(
            f"node {name!r} is a convolution that only a matrix of {weight.shape[0]} × {weight.shape[1]} "
            "synapses can stand for here: put neurons between convolutions, or scale whole channels"
        )
    return dense(weight)


def _delayed(name: str, node: nir.Delay, heard: Heard, shape: Shape) -> Heard:
    seconds = per_neuron(name, "delay", node.delay, shape)
    inflows: list[Inflow] = []
    for inflow in heard.inflows:
        added = seconds if inflow.weight is None else seconds[:, None]
        delay = added if inflow.delay is None else added + inflow.delay
        inflows.append(replace(inflow, delay=delay, path=(*inflow.path, name)))
    return Heard(tuple(inflows), heard.bias)
