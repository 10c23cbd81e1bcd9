"""From a NIR graph to a float network in discrete time.

NIR carries no step, no integrator and no reset convention. A graph written by this project says them in
its metadata, with a golden vector to check the reading (`neurofdfa_hardware.nir.golden`); for any other graph
the caller passes dt and reset. The integrator is forward Euler (`neurofdfa_hardware.nir.dynamics`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, entries
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.dynamics import Reset, Writer, read_neurons
from neurofdfa_hardware.nir.metadata import read_golden, read_metadata
from neurofdfa_hardware.nir.network import Conversion, Decode, Edge, IntArray, Layer, Network
from neurofdfa_hardware.nir.wiring import Inflow, Wiring, read_wiring

Float64 = NDArray[np.float64]
# The step that an exporter takes for granted.
_STEPS = {"norse": 1e-3, "norse-1.0": 1e-3, "snntorch": 1e-4, "spikingjelly": 1e-4}
# They write no neurons that reset softly.
_ALWAYS_HARD = ("norse", "norse-1.0", "spikingjelly")
# Beyond so many steps a time constant is more likely a step that was misread.
_MANY_STEPS = 1e4


def load(
    path: str | PathLike[str],
    dt: float | None = None,
    reset: Reset | None = None,
    decode: Decode | None = None,
    writer: Writer | None = None,
) -> Network:
    """Read a .nir file; the other arguments as in `network_from_graph`.

    Raises `HardwareError` when the file is missing, is no NIR file, or does not map.
    """
    try:
        # Shapes are found here: nir's own check stumbles over the scalars that exporters write.
        graph = nir.read(path, type_check=False)
    except FileNotFoundError:
        raise HardwareError(f"there is no file {path}") from None
    except Exception as error:  # whatever h5py, or nir by its assertions, raises
        raise HardwareError(f"{path} is not a readable NIR file: {error}") from error
    return network_from_graph(graph, dt, reset, decode, writer)


def network_from_graph(
    graph: nir.NIRGraph,
    dt: float | None = None,
    reset: Reset | None = None,
    decode: Decode | None = None,
    writer: Writer | None = None,
) -> Network:
    """Read a graph of Input, linear nodes, neurons and Output.

    dt: the step in the unit of the graph's time constants; reset: of the spiking neurons that do not say it
    themselves: "hard", "soft" (the threshold is taken off; "snntorch": one step later, as it does) or "none";
    decode: how the class is read ("count" for a spiking output, "last" for an integrator when nothing says).
    Each overrides the metadata; dt and reset must come from one of the two.
    writer: an exporter with habits of its own: "norse" (1.1, "norse-1.0" those before; dt is then 1e-3 and
    the reset hard unless said otherwise), "spikingjelly" (2.0; dt 1e-4, hard) or "snntorch" (1.0; dt 1e-4).
    Raises `HardwareError`, naming the node, the reason and the nearest thing that works.
    """
    said = read_metadata(graph.metadata)
    known = dt if dt is not None else said.dt
    step = _checked_step(_STEPS.get(writer or "") if known is None else known)
    wiring = read_wiring(graph)
    chosen_reset = reset or said.reset or ("hard" if writer in _ALWAYS_HARD else None)
    read = {name: _read(wiring, name, step, writer, chosen_reset) for name in wiring.neurons}
    names = computing_order(list(read), [(e.source, e.target) for part in read.values() for e in part.edges])
    spiking = read[wiring.output].layer.spiking
    chosen = decode or said.decode or ("count" if spiking else "last")
    if chosen == "count" and not spiking:
        raise HardwareError(f"node {wiring.output!r} never spikes and cannot be counted: use last or mean")
    return Network(
        input_size=int(np.prod(wiring.shapes[wiring.input])),
        layers=tuple(read[name].layer for name in names),
        edges=_uniquely_named([edge for name in names for edge in read[name].edges]),
        output=wiring.output,
        decode=chosen,
        dt=step,
        golden=read_golden(graph.metadata),
        conversions=tuple(row for name in names for row in read[name].conversions),
        input_shape=wiring.shapes[wiring.input],
        notes=tuple(_doubts([read[name].layer for name in names], step)),
    )


def computing_order(names: Sequence[str], arcs: Sequence[tuple[str, str]]) -> list[str]:
    """Sources before targets; where a cycle forbids it, first what is fewest steps from the input."""
    distance = {"input": 0}
    frontier = ["input"]
    while frontier:
        found = [t for s, t in arcs if s in frontier and t not in distance]
        distance |= dict.fromkeys(found, distance[frontier[0]] + 1)
        frontier = list(dict.fromkeys(found))
    placed: list[str] = []
    left = sorted(names, key=lambda name: distance.get(name, len(names)))
    while left:
        ready = [n for n in left if not any(t == n and s in left and s != n for s, t in arcs)]
        placed.append((ready or left)[0])
        left.remove(placed[-1])
    return placed


@dataclass(frozen=True)
class _Read:
    layer: Layer
    edges: tuple[Edge, ...]
    conversions: tuple[Conversion, ...]


def _read(wiring: Wiring, name: str, dt: float, writer: Writer | None, reset: Reset | None) -> _Read:
    neurons = read_neurons(name, wiring.nodes[name], wiring.shapes[name], dt, writer, reset)
    heard = wiring.hear(name)
    layer, rows = neurons.layer, list(neurons.conversions)
    if heard.bias is not None and np.any(heard.bias):
        added = heard.bias * neurons.gain
        if np.any(layer.alpha > 1e-6):
            # Loihi adds biases to the membrane; into the current they come from a source that is always on.
            rows.append(Conversion(name, "drive", "gain·b, always on", float(np.mean(added))))
            layer = replace(layer, drive=added)
        else:
            rows.append(Conversion(name, "bias", "+ gain·b", float(np.mean(added))))
            layer = replace(layer, bias=layer.bias + added)
    edges = tuple(_edge(inflow, name, neurons.gain, dt) for inflow in heard.inflows)
    for edge in edges:
        rows.append(Conversion(name, f"weight {edge.name}", "gain·W", float(np.mean(entries(edge.weight)))))
        if edge.delay is not None:
            rows.append(Conversion(name, f"delay {edge.name}", "delay/dt", float(np.mean(edge.delay))))
    return _Read(layer, edges, tuple(rows))


def _edge(inflow: Inflow, target: str, gain: Float64, dt: float) -> Edge:
    delay = inflow.delay
    if inflow.weight is None:
        factor = gain if inflow.factor is None else gain * inflow.factor
        weight: Float64 | Kernel = Kernel.diagonal(factor)
        delay = None if delay is None else delay[None, :]
    elif isinstance(inflow.weight, Kernel):
        weight = inflow.weight.scaled(gain) or inflow.weight.dense() * gain[:, None]
    else:
        weight = inflow.weight * gain[:, None]
    delays: IntArray | None = None
    if delay is not None and np.any(delay):
        exact = delay / dt
        steps: IntArray = np.rint(exact).astype(np.int64)
        if np.any(np.abs(exact - steps) > 1e-3):
            worst = float(exact.flat[np.argmax(np.abs(exact - steps))])
            raise HardwareError(
                f"a Delay before node {target!r} lasts {worst:g} steps: whole steps are needed"
            )
        if isinstance(weight, Kernel) and np.ptp(steps) and 1 not in steps.shape:
            weight = weight.dense()
        if np.ptp(steps) == 0:
            delays = np.asarray(steps.flat[0])
        elif isinstance(weight, Kernel):
            delays = steps
        else:
            delays = np.array(np.broadcast_to(steps, weight.shape), np.int64)
    name = "+".join(inflow.path) or f"{inflow.source}→{target}"
    return Edge(name, inflow.source, target, weight, delays)


def _uniquely_named(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """One node may stand between several populations: its edges are told apart by their ends."""
    names = [edge.name for edge in edges]
    return tuple(
        replace(edge, name=f"{edge.name}[{edge.source}→{edge.target}]")
        if names.count(edge.name) > 1
        else edge
        for edge in edges
    )


def _checked_step(dt: float | None) -> float:
    if dt is None:
        raise HardwareError("the graph does not say its time step: pass dt, the step it was trained with")
    if not np.isfinite(dt) or dt <= 0:
        raise HardwareError(f"dt is {dt}: it must be a positive time")
    return float(dt)


def _doubts(layers: Sequence[Layer], dt: float) -> Iterator[str]:
    """What looks as if the step was misread."""
    for layer in layers:
        leak = 1.0 - layer.beta
        if layer.spiking and np.any(leak) and np.all(leak[leak > 0] < 1.0 / _MANY_STEPS):
            yield (
                f"the membranes of {layer.name!r} decay over {1.0 / leak.max():.3g} steps: is the step of "
                f"{dt:g} the one that the file was written for?"
            )


def mapping_table(network: Network) -> str:
    """How each parameter was read: node, parameter, equation and value (its mean), as text."""
    rows = [("node", "parameter", "equation", "value")]
    rows += [(c.node, c.parameter, c.equation, f"{c.value:.6g}") for c in network.conversions]
    return align(rows)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
