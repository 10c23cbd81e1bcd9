"""What is found about a run on its way to a chip, kept for its report: parity and placements."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa.io import write_json
from neurofdfa_hardware.chip.mapping import CHIPS, Placement
from neurofdfa_hardware.quantization.parity import ParityReport

PARITY = "parity.json"


def mapping_name(chip: str) -> str:
    """File of the placement on a chip."""
    return f"mapping-{chip}.json"


MAPPINGS = {chip: mapping_name(chip) for chip in CHIPS}


def keep_parity(
    folder: Path, found: ParityReport, labels: NDArray[np.int64] | None, bits: int, command: str
) -> dict[str, Any]:
    """Write all comparisons of stages, and the accuracy of each where samples have a class."""
    accuracy: dict[str, float] = {}
    if labels is not None:
        accuracy = {name: float((np.array(p) == labels).mean()) for name, p in found.predictions.items()}
    document: dict[str, Any] = {
        "command": command,
        "bits": bits,
        "accuracy": accuracy,
        "comparisons": found.to_json()["comparisons"],
    }
    write_json(folder / PARITY, document)
    return document


def keep_placement(folder: Path, placement: Placement, bits: int, command: str) -> None:
    """Write where every layer lies."""
    document = {"command": command, "bits": bits} | placement.to_json()
    write_json(folder / mapping_name(placement.chip.name), document)


def keep_refusal(folder: Path, chip: str, reason: str, bits: int, command: str) -> None:
    """Write which limit of a chip the network breaks."""
    write_json(folder / mapping_name(chip), {"command": command, "bits": bits, "refused": reason})
