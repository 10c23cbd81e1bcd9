"""The energy ledger of a run, kept in its folder as energy.json: operations, memory and joules per sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from neurofdfa.errors import UserError
from neurofdfa.lab.document import Document, Record, Text

if TYPE_CHECKING:  # reports read the file without what counts
    from neurofdfa.data.dataset import Dataset
    from neurofdfa.lab.build import Given
    from neurofdfa.lab.config import RunConfig
    from neurofdfa.measure.energy.ledger import Ledger
    from neurofdfa.nn.network import Network

NAME = "energy.json"
SAMPLES = 64
"""Validation samples on which spikes are measured."""


class Joules(Record):
    """Per sample. loihi1: simulated lower bound, None where the chip could not do it; cmos_45nm: arithmetic,
    and all words as if from a small SRAM or from DRAM; cmos_45nm_parts: the first two by part.
    """

    loihi1: float | None = None
    cmos_45nm: dict[Text, float] = Field(default_factory=dict[str, float])
    cmos_45nm_parts: dict[Text, float] = Field(default_factory=dict[str, float])


class Cost(Record):
    """Counts of one sample by name, words of memory by kind (and their total), joules."""

    counts: dict[Text, float] = Field(default_factory=dict[str, float])
    memory_words: dict[Text, float] = Field(default_factory=dict[str, float])
    joules: Joules = Joules()


class Energy(Document):
    """energy.json. rule: the run's own entry in `learning`; constants: published figures behind joules."""

    rule: Text
    samples: int = 0
    steps: int = 0
    inference: Cost = Cost()
    learning: dict[Text, Cost] = Field(default_factory=dict[str, Cost])
    constants: dict[str, Any] = Field(default_factory=dict[str, Any])


def run_ledger(
    config: "RunConfig",
    network: "Network",
    data: "Dataset",
    samples: int = SAMPLES,
    given: "Given | None" = None,
) -> "Ledger":
    """Count on the first validation samples; raises `UserError` for a rule that has no entry."""
    from neurofdfa.lab.build import NOTHING, build_loss, build_rule
    from neurofdfa.measure.energy.ledger import ledger

    own = NOTHING if given is None else given
    x, _, _ = data.validation.first(samples)
    rule = build_rule(config.rule) if own.rule is None else own.rule
    loss = build_loss(config.training, data.answer_from) if own.loss is None else own.loss
    return ledger(network, x, loss, rule)


def keep(folder: Path, found: "Ledger") -> Energy:
    """Write the ledger into the run's folder and return what was written."""
    document = Energy.model_validate({"rule": next(iter(found.learning))} | found.to_json())
    document.write(folder / NAME)
    return document


def keep_if_countable(
    folder: Path, config: "RunConfig", network: "Network", data: "Dataset", given: "Given | None" = None
) -> None:
    """As `keep`, but a rule or network that nobody has counted yet leaves no file and fails nothing."""
    try:
        keep(folder, run_ledger(config, network, data, given=given))
    except UserError:
        (folder / NAME).unlink(missing_ok=True)


def read_energy(folder: Path) -> Energy | None:
    """What a run folder holds of it, None when nothing. Raises `UserError` when the file is damaged."""
    if not (folder / NAME).is_file():
        return None
    found = Energy.read(folder / NAME)
    if found.rule not in found.learning:
        raise UserError(f"{folder / NAME}: `learning` has no '{found.rule}': the file is damaged")
    return found


def learning_joules(folder: Path) -> float | None:
    """Joules to learn from one sample with the run's rule, None where that was not counted: arithmetic, and
    all words as if from a small SRAM, by CMOS figures of the literature. The one basis that every rule has.
    """
    found = read_energy(folder)
    if found is None:
        return None
    joules = found.learning[found.rule].joules.cmos_45nm
    return joules.get("arithmetic", 0.0) + joules.get("sram", 0.0)
