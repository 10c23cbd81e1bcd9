"""The float network between a NIR graph and the chip: discrete decays, dense weights, no units left.

One step of a layer, in the order Loihi computes it:
    u ← alpha·u + Σ W s_source;   v ← beta·v + u + bias;   s = v > threshold;   v ← v·(1 − s)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.schedule import runs
from neurofdfa_hardware.errors import HardwareError

Float64 = NDArray[np.float64]
IntArray = NDArray[np.int64]
Decode = Literal["count", "last", "mean"]


@dataclass(frozen=True)
class Layer:
    """Neurons; alpha, beta, threshold and bias are `[size]`. spiking False: an integrator, never reset."""

    name: str
    size: int
    alpha: Float64
    beta: Float64
    threshold: Float64
    bias: Float64
    spiking: bool = True


@dataclass(frozen=True)
class Edge:
    """Dense weights `[n_target, n_source]`.

    A forward edge delivers at once, a backward one (to the same or an earlier layer) one step later;
    `delay` steps more for both (None: 0; a scalar or one per synapse). kernel: the weights as a convolution.
    """

    name: str
    source: str
    target: str
    weight: Float64
    delay: IntArray | None = None
    kernel: Kernel | None = None


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
    """Layers in computing order; an edge whose source stands at or behind its target is backward."""

    input_size: int
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    output: str
    decode: Decode
    dt: float | None = None
    golden: Golden | None = None
    conversions: tuple[Conversion, ...] = field(default=())

    def order(self) -> dict[str, int]:
        """Position of every source in computing order; the input is −1."""
        return {"input": -1, **{layer.name: index for index, layer in enumerate(self.layers)}}

    def is_backward(self, edge: Edge) -> bool:
        """Whether the edge hears the step before."""
        order = self.order()
        return order[edge.source] >= order[edge.target]


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


def _by_lag(network: Network, edge: Edge) -> Iterator[tuple[str, int, Float64]]:
    """Source, lag and weights of the synapses of an edge that share one lag."""
    delays = np.zeros((), np.int64) if edge.delay is None else edge.delay
    for delay in np.unique(delays):
        weight = edge.weight if delays.ndim == 0 else np.where(delays == delay, edge.weight, 0.0)
        yield edge.source, int(delay) + network.is_backward(edge), weight


@dataclass(frozen=True)
class _Stepper:
    """A layer while it is stepped: u holds its known input until step t overwrites it, v its membrane."""

    layer: Layer
    inner: tuple[tuple[str, int, Float64], ...]
    u: Float64
    v: Float64

    @staticmethod
    def of(network: Network, layer: Layer, run: range, fired: dict[str, NDArray[np.uint8]]) -> "_Stepper":
        order = network.order()
        heard = [
            part for edge in network.edges if edge.target == layer.name for part in _by_lag(network, edge)
        ]
        steps, batch = fired["input"].shape[:2]
        shape = (steps, batch, layer.size)
        current = np.zeros(shape)
        for source, lag, weight in heard:
            if order[source] not in run:
                current[lag:] += fired[source][: max(0, steps - lag)].astype(np.float64) @ weight.T
        fired[layer.name] = np.zeros(shape, np.uint8)
        inner = tuple(part for part in heard if order[part[0]] in run)
        return _Stepper(layer, inner, current, np.zeros(shape))

    def step(self, t: int, fired: Mapping[str, NDArray[np.uint8]]) -> None:
        layer = self.layer
        u, v = self.u[t], self.v[t]
        for source, lag, weight in self.inner:
            if t >= lag:
                u += fired[source][t - lag].astype(np.float64) @ weight.T
        if t > 0:
            u += layer.alpha * self.u[t - 1]
            v += layer.beta * self.v[t - 1]
        v += u + layer.bias
        if layer.spiking:
            fire = v > layer.threshold
            fired[layer.name][t] = fire
            v[fire] = 0.0
