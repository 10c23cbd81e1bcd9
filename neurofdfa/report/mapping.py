"""Where a network lies on a chip: its cores, and how much of each resource they use."""

from collections.abc import Sequence
from typing import NamedTuple

from neurofdfa.lab.chip import PlacementRecord
from neurofdfa.lab.table import Cell, Column, Table
from neurofdfa.report import words
from neurofdfa.report.page import Block, Figure, Panel, Prose
from neurofdfa.report.plot import cores
from neurofdfa.report.plot.dots import MARGINS, Dot, dots, height
from neurofdfa.report.plot.svg import draw
from neurofdfa_hardware.chip.mapping import Chip, CoreLoad

_CHIPS = {"loihi1": "Loihi 1", "loihi2": "Loihi 2"}
# what a core load calls it: (field of the chip's limit, words)
_RESOURCES = {
    "neurons": ("neurons_per_core", "neurons"),
    "synapses": ("synapses_per_core", "synapses"),
    "synapse_bits": ("synapse_bits_per_core", "synaptic memory"),
    "fan_in": ("fan_in_per_core", "fan-in"),
    "fan_out": ("fan_out_per_core", "fan-out"),
}


class Load(NamedTuple):
    """One core. used: by resource that the chip limits, as a number; share: of the fullest one."""

    layer: str
    used: dict[str, int]
    share: float


class Mapping(NamedTuple):
    """A placement on one chip. limits: per core, by resource."""

    chip: str
    cores: int
    limits: dict[str, int]
    loads: tuple[Load, ...]


def mapping_blocks(placements: dict[str, PlacementRecord]) -> list[Block]:
    """For each chip a verdict, a picture of its cores, and how full the fullest core is."""
    blocks: list[Block] = []
    for chip, found in placements.items():
        name = _CHIPS.get(chip, chip)
        if found.chip is None or not found.cores:
            reason = found.refused.rstrip(".") or "no placement is kept"
            blocks.append(Prose(f"{name}, {found.bits}-bit weights: {reason}.", "bad"))
            continue
        mapping = _mapping(name, found.chip, found.cores)
        said = f"{name}: the network with {found.bits}-bit weights takes {len(mapping.loads)} of "
        blocks.append(Prose(f"{said}{mapping.cores} cores.", "good"))
        blocks.append(_figure(mapping))
        blocks.append(_table(mapping))
    return blocks


def _mapping(name: str, chip: Chip, cores: Sequence[CoreLoad]) -> Mapping:
    limits: dict[str, int] = {
        resource: value
        for resource, (limit, _) in _RESOURCES.items()
        if (value := getattr(chip, limit)) is not None and value > 0
    }
    return Mapping(name, chip.cores, limits, tuple(_load(core, limits) for core in cores))


def _load(core: CoreLoad, limits: dict[str, int]) -> Load:
    used: dict[str, int] = {resource: getattr(core, resource) for resource in limits}
    return Load(core.layer, used, max(used[r] / limits[r] for r in limits))


def _figure(mapping: Mapping) -> Figure:
    layers = list(dict.fromkeys(load.layer for load in mapping.loads))
    counts = {layer: sum(load.layer == layer for load in mapping.loads) for layer in layers}
    legend = [
        (f"{layer}: {n} core{'' if n == 1 else 's'}", k % 8) for k, (layer, n) in enumerate(counts.items())
    ]
    used = [cores.Core(layers.index(load.layer), load.share) for load in mapping.loads]
    key = mapping.chip.lower().replace(" ", "")
    picture = draw(
        cores.grid(used, mapping.cores, legend), key=f"cores-{key}", label=f"Cores of {mapping.chip}",
        height=cores.height(mapping.cores, len(layers)), margins=cores.margins(len(layers)),
    )  # fmt: skip
    rows = [_dot("cores", len(mapping.loads), mapping.cores)]
    for resource, limit in mapping.limits.items():
        rows.append(
            _dot(
                f"{_RESOURCES[resource][1]}, fullest core",
                max(load.used[resource] for load in mapping.loads),
                limit,
            )
        )
    plot = dots(rows, across="% of the limit", limits=(0.0, 100.0), from_zero=True)
    bars = draw(
        plot,
        key=f"limits-{key}",
        label=f"Limits of {mapping.chip}",
        height=height(len(rows)),
        margins=MARGINS,
    )
    caption = (
        f"Left: every core of {mapping.chip}, filled as far as the resource it has least of is used up; no "
        "core holds two layers. Right: the fullest core against each limit that is published."
    )
    return Figure((Panel(f"{mapping.chip}: {mapping.cores} cores", picture), Panel("Limits", bars)), caption)


def _dot(name: str, used: int, limit: int) -> Dot:
    return Dot(name, 100 * used / limit, f"{words.count(used)} of {words.count(limit)}", 0)


def _table(mapping: Mapping) -> Table:
    names = [_RESOURCES[resource][1] for resource in mapping.limits]
    columns = (
        Column("Layer", number=False),
        Column("Cores"),
        *(Column(name[0].upper() + name[1:]) for name in names),
    )
    layers: dict[str, list[Load]] = {}
    for load in mapping.loads:
        layers.setdefault(load.layer, []).append(load)
    rows = tuple(
        (
            Cell(layer, layer),
            Cell(str(len(loads)), len(loads)),
            *(
                Cell(words.count(most), most)
                for most in (max(load.used[r] for load in loads) for r in mapping.limits)
            ),
        )
        for layer, loads in layers.items()
    )
    unit = "; synaptic memory in bits" if "synapse_bits" in mapping.limits else ""
    return Table(
        columns, rows, f"{mapping.chip}: cores of each layer, and what its fullest core holds{unit}."
    )
