"""The float network between a NIR graph and the chip: discrete decays, dense weights, no units left.

One step of a layer, in the order Loihi computes it:
    u ← alpha·u + Σ W s_source + drive;   v ← beta·v + u + bias;   s = v > threshold;   v is reset where s
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, apply, dense, entries, with_entries
from neurofdfa_hardware.chip.program import Reset
from neurofdfa_hardware.chip.schedule import runs
from neurofdfa_hardware.errors import HardwareError

Float64 = NDArray[np.float64]
IntArray = NDArray[np.int64]
Decode = Literal["count", "last", "mean"]


@dataclass(frozen=True)
class Layer:
    """Neurons; every number is `[size]`. spiking False: an integrator, never reset.

    reset: a spike sets v to reset_value ("hard"), or subtracts reset_value from it ("soft"; 0: no reset).
    refractory: steps after a spike in which v is held at reset_value and cannot fire. drive: a bias of u.
    """

    name: str
    size: int
    alpha: Float64
    beta: Float64
    threshold: Float64
    bias: Float64
    spiking: bool = True
    reset: Reset = "hard"
    reset_value: Float64 | None = None
    refractory: int = 0
    drive: Float64 | None = None

    @property
    def plain(self) -> bool:
        """Whether it resets to 0 at once, which every Loihi does."""
        nowhere = self.reset_value is None or not np.any(self.reset_value)
        return not self.spiking or (self.reset == "hard" and nowhere and self.refractory == 0)


@dataclass(frozen=True)
class Edge:
    """Weights `[n_target, n_source]`, or a kernel of those that many synapses share.

    A forward edge delivers at once, a backward one (to the same or an earlier layer) one step later;
    `delay` steps more for both (None: 0; else as in `neurofdfa_hardware.chip.program.Connection`).
    """

    name: str
    source: str
    target: str
    weight: Float64 | Kernel
    delay: IntArray | None = None


@dataclass(frozen=True)
class Golden:
    """What the exporter saw: input and spikes by layer uint8 `[T, B, n]`, membrane of the readout."""

    input: NDArray[np.uint8]
    spikes: Mapping[str, NDArray[np.uint8]]
    readout: Float64 | None


@dataclass(frozen=True)
class Conversion:
    """One parameter as it was read: `value` (its mean over neurons or synapses) by `equation`."""

    node: str
    parameter: str
    equation: str
    value: float


@dataclass(frozen=True)
class Network:
    """Layers in computing order; an edge whose source stands at or behind its target is backward.

    input_shape: the input before it was flattened. notes: what a user should know about how it was read.
    """

    input_size: int
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    output: str
    decode: Decode
    dt: float | None = None
    golden: Golden | None = None
    conversions: tuple[Conversion, ...] = field(default=())
    input_shape: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def order(self) -> dict[str, int]:
        """Position of every source in computing order; the input is −1."""
        return {"input": -1, **{layer.name: index for index, layer in enumerate(self.layers)}}

    def is_backward(self, edge: Edge) -> bool:
        """Whether the edge hears the step before."""
        order = self.order()
        return order[edge.source] >= order[edge.target]

    def with_hard_resets(self) -> "Network":
        """The same network with every spiking layer reset to 0 at once: other spikes than it was made for."""
        layers = (replace(layer, reset="hard", reset_value=None, refractory=0) for layer in self.layers)
        return replace(self, layers=tuple(layers))

    def with_input_unit(self, unit: float) -> "Network":
        """For inputs that come in levels of `unit`: the weights of the input times it."""
        edges = tuple(
            replace(edge, weight=with_entries(edge.weight, entries(edge.weight) * unit))
            if edge.source == "input"
            else edge
            for edge in self.edges
        )
        return replace(self, edges=edges)


@dataclass(frozen=True)
class FloatRecord:
    """Result of `float_simulate`: as `neurofdfa_hardware.chip.program.Record`, membranes in float64."""

    spikes: dict[str, NDArray[np.uint8]]
    output_v: Float64
    u: dict[str, Float64]
    v: dict[str, Float64]


def float_simulate(network: Network, spikes: NDArray[np.uint8], *, states: bool = False) -> FloatRecord:
    """Run `spikes` uint8 `[T, B, n_in]` in float64, every sample from rest; states as in `simulate`.

    Raises `HardwareError` when the spikes do not fit the network.
    """
    if spikes.ndim != 3 or spikes.shape[2] != network.input_size or 0 in spikes.shape:
        raise HardwareError(
            f"spikes have shape {spikes.shape}: expected [T, B, {network.input_size}], none of them 0"
        )
    fired: dict[str, NDArray[np.uint8]] = {"input": spikes}
    us: dict[str, Float64] = {}
    vs: dict[str, Float64] = {}
    arcs = [(edge.source, edge.target) for edge in network.edges]
    for run in runs([layer.name for layer in network.layers], arcs):
        group = [_Stepper.of(network, layer, run, fired) for layer in network.layers[run.start : run.stop]]
        for t in range(len(spikes)):
            for stepper in group:
                stepper.step(t, fired)
        for stepper in group:
            us[stepper.layer.name], vs[stepper.layer.name] = stepper.u, stepper.v
    del fired["input"]
    return FloatRecord(fired, vs[network.output], us if states else {}, vs if states else {})


def float_predict(network: Network, record: FloatRecord) -> NDArray[np.int64]:
    """Class of each sample, int64 `[B]`: the argmax of what `network.decode` reads."""
    if network.decode == "count":
        score = record.spikes[network.output].sum(axis=0, dtype=np.int64)
    else:
        score = record.output_v[-1] if network.decode == "last" else record.output_v.mean(axis=0)
    return np.argmax(score, axis=-1)


@dataclass(frozen=True)
class _Part:
    """The synapses of an edge that share one lag: of the sources and onto the targets that are True."""

    source: str
    lag: int
    weight: Float64 | Kernel
    of: NDArray[np.bool_] | None = None
    onto: NDArray[np.bool_] | None = None

    def sums(self, spikes: NDArray[Any]) -> Float64:
        """What spikes `[rows, n_source]` deliver, `[rows, n_target]`."""
        rows = spikes if self.of is None else spikes * self.of
        sums = apply(self.weight, rows if isinstance(self.weight, Kernel) else rows.astype(np.float64))
        return sums if self.onto is None else sums * self.onto


def _by_lag(network: Network, edge: Edge) -> Iterator[_Part]:
    delays = np.zeros((), np.int64) if edge.delay is None else edge.delay
    for delay in np.unique(delays):
        lag = int(delay) + network.is_backward(edge)
        if delays.ndim == 0:
            yield _Part(edge.source, lag, edge.weight)
        elif isinstance(edge.weight, Kernel):
            chosen, of_source = (delays == delay).reshape(-1), np.shape(delays)[:1] == (1,)
            yield _Part(
                edge.source, lag, edge.weight, chosen if of_source else None, None if of_source else chosen
            )
        else:
            yield _Part(edge.source, lag, np.where(delays == delay, dense(edge.weight), 0.0))


@dataclass(frozen=True)
class _Stepper:
    """A layer while it is stepped: u holds its known input until step t overwrites it, v its membrane."""

    layer: Layer
    inner: tuple[_Part, ...]
    u: Float64
    v: Float64
    resting: IntArray

    @staticmethod
    def of(network: Network, layer: Layer, run: range, fired: dict[str, NDArray[np.uint8]]) -> "_Stepper":
        order = network.order()
        heard = [
            part for edge in network.edges if edge.target == layer.name for part in _by_lag(network, edge)
        ]
        steps, batch = fired["input"].shape[:2]
        shape = (steps, batch, layer.size)
        current = np.zeros(shape) if layer.drive is None else np.broadcast_to(layer.drive, shape).copy()
        for part in heard:
            early = fired[part.source][: max(0, steps - part.lag)] if order[part.source] not in run else None
            if early is not None and len(early):
                rows = part.sums(early.reshape(len(early) * batch, -1))
                current[part.lag :] += rows.reshape(len(early), batch, layer.size)
        fired[layer.name] = np.zeros(shape, np.uint8)
        inner = tuple(part for part in heard if order[part.source] in run)
        return _Stepper(layer, inner, current, np.zeros(shape), np.zeros(shape[1:], np.int64))

    def step(self, t: int, fired: Mapping[str, NDArray[np.uint8]]) -> None:
        layer = self.layer
        u, v = self.u[t], self.v[t]
        for part in self.inner:
            if t >= part.lag:
                u += part.sums(fired[part.source][t - part.lag])
        if t > 0:
            u += layer.alpha * self.u[t - 1]
            v += layer.beta * self.v[t - 1]
        v += u + layer.bias
        if layer.spiking:
            fire = v > layer.threshold
            if layer.plain:
                v[fire] = 0.0
            else:
                self._reset(fire, v)
            fired[layer.name][t] = fire

    def _reset(self, fire: NDArray[np.bool_], v: Float64) -> None:
        layer = self.layer
        value = np.broadcast_to(0.0 if layer.reset_value is None else layer.reset_value, v.shape)
        if layer.reset == "soft":
            v[fire] -= value[fire]
            return
        held = self.resting > 0
        fire[held] = False
        self.resting[held] -= 1
        self.resting[fire] = layer.refractory
        v[held | fire] = value[held | fire]
