"""Placing a program on the cores of a Loihi chip, or saying which limit it breaks.

Every layer is cut into equal parts, one core each; no core holds two layers. A core must have room for its
neurons, for the synapses onto them, for one fan-in list per neuron (of any layer or the input) that it
hears, and for one fan-out edge per own neuron and core that hears it. Synapses are counted as the smaller of
a full matrix and a list of the nonzero ones with an index each; on Loihi 1 per source, in blocks of 64 with
headers and in whole words (`neurofdfa_hardware.chip.loihi1`). A delay adds 6 bits to each synapse.
The weights of a kernel are shared by its neurons on a core and counted once there, with an index each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, entries
from neurofdfa_hardware.chip.loihi1 import WEIGHT_FORMATS, check_loihi1, format_bits, stored_bits
from neurofdfa_hardware.chip.program import Connection, Program
from neurofdfa_hardware.chip.ranges import check_program
from neurofdfa_hardware.chip.synapse import truncate
from neurofdfa_hardware.errors import HardwareError

_INDEX_BITS = 10
_DELAY_BITS = 6


@dataclass(frozen=True)
class Chip:
    """What one chip offers; None where no figure is published. sources: field → where it comes from."""

    name: str
    cores: int
    neurons_per_core: int
    synapses_per_core: int | None
    synapse_bits_per_core: int | None
    fan_in_per_core: int | None
    fan_out_per_core: int | None
    sources: Mapping[str, str]


_DAVIES = "Davies et al., IEEE Micro 38(1), 2018"
_BRIEF = "Intel Labs, Loihi 2 technology brief, 2021"

CHIPS: dict[str, Chip] = {
    "loihi1": Chip(
        name="loihi1",
        cores=128,
        neurons_per_core=1024,
        synapses_per_core=None,
        synapse_bits_per_core=128 * 1024 * 8,
        fan_in_per_core=4096,
        fan_out_per_core=4096,
        sources=dict.fromkeys(
            ("cores", "neurons_per_core", "synapse_bits_per_core", "fan_in_per_core", "fan_out_per_core"),
            _DAVIES,
        ),
    ),
    "loihi2": Chip(
        name="loihi2",
        cores=128,
        neurons_per_core=2**20 // 128,
        synapses_per_core=120_000_000 // 128,
        synapse_bits_per_core=None,
        fan_in_per_core=None,
        fan_out_per_core=None,
        sources={
            "cores": _BRIEF,
            "neurons_per_core": f"{_BRIEF}: 1 million per chip, shared evenly",
            "synapses_per_core": f"{_BRIEF}: 120 million per chip, shared evenly",
        },
    ),
}


@dataclass(frozen=True)
class CoreLoad:
    """One core: its layer's neurons first … last, and what they take up (absolute numbers)."""

    core: int
    layer: str
    first: int
    last: int
    neurons: int
    synapses: int
    synapse_bits: int
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Placement:
    """All cores in use. utilisation: by resource, the fraction of its limit on the fullest core."""

    chip: Chip
    cores: tuple[CoreLoad, ...]
    utilisation: dict[str, float]

    def cores_by_layer(self) -> dict[str, int]:
        """How many cores each layer takes."""
        counts: dict[str, int] = {}
        for load in self.cores:
            counts[load.layer] = counts.get(load.layer, 0) + 1
        return counts

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, limits and their sources included."""
        return asdict(self)


def place(program: Program, chip: str = "loihi1") -> Placement:
    """Find the smallest number of cores for each layer.

    Raises `HardwareError` that names the layer, the limit and its source when the program does not fit.
    """
    if chip not in CHIPS:
        raise HardwareError(f"unknown chip {chip!r}: choose one of {', '.join(CHIPS)}")
    limits = CHIPS[chip]
    check_program(program)
    if chip == "loihi1":
        check_loihi1(program)
    stored = {p.name: _stored(program, p.name, limits) for p in program.populations}
    parts = {name: _fewest(limits, name, one) for name, one in stored.items()}
    loads = _loads(stored, parts)
    while crowded := {load.layer for load in loads if _broken(limits, load)}:
        for layer in crowded:
            size = len(stored[layer].synapses)
            largest = -(-size // parts[layer])
            if largest == 1:
                worst = next(load for load in loads if load.layer == layer and _broken(limits, load))
                raise _refusal(limits, layer, str(_broken(limits, worst)), worst)
            # The next number of parts that makes the largest part smaller.
            parts[layer] = -(-size // (largest - 1))
        loads = _loads(stored, parts)
    if len(loads) > limits.cores:
        by_layer = ", ".join(f"{layer}: {count}" for layer, count in parts.items())
        raise HardwareError(
            f"the network takes {len(loads)} cores ({by_layer}) and {limits.name} has {limits.cores} "
            f"({limits.sources['cores']}): use fewer bits, fewer neurons, or spread it over chips"
        )
    return Placement(limits, loads, _utilisation(limits, loads))


def picture(placement: Placement, width: int = 20) -> str:
    """A bar per core for the fullest of its resources, as text."""
    lines: list[str] = []
    for load in placement.cores:
        shares = _shares(placement.chip, load)
        resource, share = max(shares.items(), key=lambda item: item[1])
        bar = "#" * max(1, round(width * share))
        where = f"{load.layer}[{load.first}:{load.last + 1}]"
        lines.append(f"core {load.core:3d} |{bar:<{width}}| {share:6.1%} of {resource:<16} {where}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Stored:
    """Per neuron of a layer: synapses of its own and their bits `[n]`, and its fan-in `[n]`.

    shared: kernels, whose weights a core keeps once, and bits of each. hears: what it hears, by source.
    axons: on Loihi 1 the synapses that are not 0 `[n, n_source]` per connection, bits of a weight, and
    whether they have delays; bits is then a lower bound.
    """

    synapses: NDArray[np.int64]
    bits: NDArray[np.int64]
    fan_in: NDArray[np.int64]
    shared: tuple[tuple[Kernel, int], ...]
    hears: Mapping[str, Sequence[NDArray[np.bool_] | Kernel]]
    axons: tuple[tuple[NDArray[np.bool_], int, bool], ...] = ()

    def kept(self, first: int, stop: int) -> tuple[int, int]:
        """Synapses and bits that a core with the neurons first … stop − 1 stores."""
        own = slice(first, stop)
        count, bits = int(self.synapses[own].sum()), int(self.bits[own].sum())
        if self.axons:
            bits = sum(stored_bits(used[own], width, delayed) for used, width, delayed in self.axons)
        for kernel, width in self.shared:
            places = int(np.prod(kernel.out[1:]))
            used = int(np.count_nonzero(kernel.values[first // places : -(-stop // places)]))
            count, bits = count + used, bits + used * width
        return count, bits

    def heard(self, source: str, first: int, stop: int) -> NDArray[np.bool_]:
        """Which neurons of `source` a core with the neurons first … stop − 1 hears."""
        masks = [
            one.heard(first, stop) if isinstance(one, Kernel) else one[first:stop].any(axis=0)
            for one in self.hears[source]
        ]
        return np.logical_or.reduce(masks)


def _stored(program: Program, layer: str, limits: Chip) -> _Stored:
    size = next(p.size for p in program.populations if p.name == layer)
    synapses, bits, fan_in = (np.zeros(size, np.int64) for _ in range(3))
    matrices: dict[str, NDArray[np.bool_]] = {}
    kernels: dict[str, list[Kernel]] = {}
    shared: list[tuple[Kernel, int]] = []
    axons: list[tuple[NDArray[np.bool_], int, bool]] = []
    for connection in program.connections:
        if connection.target != layer:
            continue
        used = truncate(entries(connection.weight), connection.num_weight_bits, connection.sign_mode) != 0
        if isinstance(connection.weight, Kernel):
            kernel = replace(connection.weight, values=used)
            delay = _DELAY_BITS if connection.delay is not None else 0
            width = connection.num_weight_bits
            if limits.synapse_bits_per_core is not None:
                width = format_bits(width, WEIGHT_FORMATS)
            shared.append((kernel, width + delay + _INDEX_BITS))
            kernels.setdefault(connection.source, []).append(kernel)
            fan_in += kernel.fan_in()
            continue
        kept, width = _format(connection, used)
        synapses += kept
        if limits.synapse_bits_per_core is None:
            bits += kept * width
        else:
            axons.append((used, connection.num_weight_bits, connection.delay is not None))
            bits += used.sum(axis=1) * connection.num_weight_bits
        known = matrices.get(connection.source)
        matrices[connection.source] = used if known is None else known | used
    for used in matrices.values():
        fan_in += used.sum(axis=1)
    sources = dict.fromkeys([*matrices, *kernels])
    hears = {
        source: [*([matrices[source]] if source in matrices else []), *kernels.get(source, [])]
        for source in sources
    }
    return _Stored(synapses, bits, fan_in, tuple(shared), hears, tuple(axons))


def _format(connection: Connection, used: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Synapses kept per neuron and bits of each, in the cheaper of the full and the listed format."""
    width = connection.num_weight_bits + (_DELAY_BITS if connection.delay is not None else 0)
    if int(used.sum()) * (width + _INDEX_BITS) < used.size * width:
        return used.sum(axis=1), width + _INDEX_BITS
    return np.full(len(used), used.shape[1]), width


def _fewest(limits: Chip, layer: str, stored: _Stored) -> int:
    """A number of parts below which the layer cannot fit; refuses when one neuron alone does not."""
    size = len(stored.synapses)
    for n in {int(np.argmax(stored.fan_in)), int(np.argmax(stored.bits))}:
        alone = CoreLoad(0, layer, n, n, 1, *stored.kept(n, n + 1), int(stored.fan_in[n]), 0)
        broken = _broken(limits, alone)
        if broken is not None:
            raise _refusal(limits, layer, broken, alone)
    fewest = -(-size // limits.neurons_per_core)
    if limits.synapse_bits_per_core is not None:
        fewest = max(fewest, -(-int(stored.bits.sum()) // limits.synapse_bits_per_core))
    return fewest


def _loads(stored: Mapping[str, _Stored], parts: Mapping[str, int]) -> tuple[CoreLoad, ...]:
    cuts = {
        layer: [int(n) for n in np.linspace(0, len(stored[layer].synapses), count + 1)]
        for layer, count in parts.items()
    }
    edges = {layer: _fan_out(layer, stored, cuts) for layer in stored}
    loads: list[CoreLoad] = []
    for layer, one in stored.items():
        for first, stop in pairwise(cuts[layer]):
            own = slice(first, stop)
            synapses, bits = one.kept(first, stop)
            loads.append(
                CoreLoad(
                    core=len(loads),
                    layer=layer,
                    first=first,
                    last=stop - 1,
                    neurons=stop - first,
                    synapses=synapses,
                    synapse_bits=bits,
                    fan_in=sum(int(one.heard(source, first, stop).sum()) for source in one.hears),
                    fan_out=int(edges[layer][own].sum()),
                )
            )
    return tuple(loads)


def _fan_out(layer: str, stored: Mapping[str, _Stored], cuts: Mapping[str, list[int]]) -> NDArray[np.int64]:
    """Per neuron of `layer`: the cores that hear it."""
    edges = np.zeros(len(stored[layer].synapses), np.int64)
    for target, one in stored.items():
        if layer in one.hears:
            for first, stop in pairwise(cuts[target]):
                edges += one.heard(layer, first, stop)
    return edges


_RESOURCES = {
    "neurons_per_core": ("neurons", "neurons"),
    "synapses_per_core": ("synapses", "synapses"),
    "synapse_bits_per_core": ("synapse_bits", "bits of synaptic memory"),
    "fan_in_per_core": ("fan_in", "fan-in lists"),
    "fan_out_per_core": ("fan_out", "fan-out edges"),
}


def _shares(limits: Chip, load: CoreLoad) -> dict[str, float]:
    return {
        used: getattr(load, used) / getattr(limits, limit)
        for limit, (used, _) in _RESOURCES.items()
        if getattr(limits, limit) is not None
    }


def _broken(limits: Chip, load: CoreLoad) -> str | None:
    """The first limit that this core breaks."""
    for limit, (used, _) in _RESOURCES.items():
        allowed = getattr(limits, limit)
        if allowed is not None and getattr(load, used) > allowed:
            return limit
    return None


def _refusal(limits: Chip, layer: str, broken: str, load: CoreLoad) -> HardwareError:
    used, what = _RESOURCES[broken]
    return HardwareError(
        f"layer {layer!r} does not fit {limits.name}: neuron {load.first} alone takes {getattr(load, used)} "
        f"{what} and a core has {getattr(limits, broken)} ({limits.sources[broken]}); use fewer bits, fewer "
        "inputs per neuron or a narrower layer behind it"
    )


def _utilisation(limits: Chip, loads: tuple[CoreLoad, ...]) -> dict[str, float]:
    shares = [_shares(limits, load) for load in loads]
    fullest = {resource: max(one[resource] for one in shares) for resource in shares[0]}
    return {"cores": len(loads) / limits.cores, **fullest}
