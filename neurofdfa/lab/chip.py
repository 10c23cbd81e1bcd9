"""What is found about a run on its way to a chip, kept for its report: parity and placements."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofdfa.lab.document import Command, Document, Text
from neurofdfa.lab.results import Share
from neurofdfa_hardware.chip.mapping import CHIPS, Chip, CoreLoad, Placement
from neurofdfa_hardware.quantization.parity import Comparison, ParityReport

PARITY = "parity.json"
MAPPINGS = {chip: f"mapping-{chip}.json" for chip in CHIPS}
"""File of the placement on each chip."""


class Parity(Document):
    """parity.json: every stage beside the one before it; accuracy by stage where samples have a class."""

    command: Command = ""
    bits: int = 0
    accuracy: dict[Text, Share] = Field(default_factory=dict[str, float])
    comparisons: tuple[Comparison, ...] = ()


class PlacementRecord(Document):
    """mapping-….json: where every layer lies, or which limit of the chip the network breaks."""

    command: Command = ""
    bits: int = 0
    refused: Text = ""
    chip: Chip | None = None
    cores: tuple[CoreLoad, ...] = ()
    utilisation: dict[Text, float] = Field(default_factory=dict[str, float])


def keep_parity(
    folder: Path, found: ParityReport, labels: NDArray[np.int64] | None, bits: int, command: str
) -> Parity:
    """Write all comparisons of stages, and the accuracy of each where samples have a class."""
    accuracy: dict[str, float] = {}
    if labels is not None:
        accuracy = {name: float((np.array(p) == labels).mean()) for name, p in found.predictions.items()}
    document = Parity(command=command, bits=bits, accuracy=accuracy, comparisons=found.comparisons)
    document.write(folder / PARITY)
    return document


def keep_placement(folder: Path, placement: Placement, bits: int, command: str) -> PlacementRecord:
    """Write where every layer lies."""
    document = PlacementRecord(
        command=command,
        bits=bits,
        chip=placement.chip,
        cores=placement.cores,
        utilisation=placement.utilisation,
    )
    document.write(folder / MAPPINGS[placement.chip.name])
    return document


def keep_refusal(folder: Path, chip: str, reason: str, bits: int, command: str) -> None:
    """Write which limit of a chip the network breaks."""
    PlacementRecord(command=command, bits=bits, refused=reason).write(folder / MAPPINGS[chip])


def read_parity(folder: Path) -> Parity | None:
    """What a run folder holds of it, None when nothing. Raises `UserError` when the file is damaged."""
    return Parity.read(folder / PARITY) if (folder / PARITY).is_file() else None


def read_placements(folder: Path) -> dict[str, PlacementRecord]:
    """The placements that a run folder holds, by chip. Raises `UserError` when one is damaged."""
    return {
        chip: PlacementRecord.read(folder / name)
        for chip, name in MAPPINGS.items()
        if (folder / name).is_file()
    }
