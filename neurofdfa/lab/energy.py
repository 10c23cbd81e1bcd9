"""The energy ledger of a run, kept in its folder as energy.json: operations, memory and joules per sample."""

from pathlib import Path
from typing import Any

from neurofdfa.data.batches import evaluation_batches
from neurofdfa.data.dataset import Dataset
from neurofdfa.errors import UserError
from neurofdfa.io import read_json, write_json
from neurofdfa.lab.build import build_loss
from neurofdfa.lab.config import RunConfig
from neurofdfa.measure.energy.ledger import Ledger, ledger
from neurofdfa.nn.network import Network
from neurofdfa.rules import rule_named

NAME = "energy.json"
SAMPLES = 64
"""Validation samples on which spikes are measured."""


def run_ledger(config: RunConfig, network: Network, data: Dataset, samples: int = SAMPLES) -> Ledger:
    """Count on the first validation samples; raises `UserError` for a rule that has no entry."""
    x, _ = next(evaluation_batches(data, data.validation.select(slice(0, samples)), samples))
    bptt = config.rule.name == "bptt"
    rule = None if bptt else rule_named(config.rule.name, **config.rule.options)
    window = config.rule.options.get("window") if bptt else None
    return ledger(network, x, build_loss(config.training, data.answer_from), rule, window=window)


def keep(folder: Path, found: Ledger) -> dict[str, Any]:
    """Write the ledger into the run's folder and return what was written; `rule`: the run's own entry."""
    document = {"rule": next(iter(found.learning))} | found.to_json()
    write_json(folder / NAME, document)
    return document


def keep_if_countable(folder: Path, config: RunConfig, network: Network, data: Dataset) -> None:
    """As `keep`, but a rule or network that nobody has counted yet leaves no file and fails nothing."""
    try:
        keep(folder, run_ledger(config, network, data))
    except UserError:
        (folder / NAME).unlink(missing_ok=True)


def learning_joules(folder: Path) -> float | None:
    """Joules to learn from one sample with the run's rule, None where that was not counted: arithmetic, and
    all words as if from a small SRAM, by CMOS figures of the literature. The one basis that every rule has.
    """
    if not (folder / NAME).is_file():
        return None
    document = read_json(folder / NAME)
    joules = document["learning"][document["rule"]]["joules"]["cmos_45nm"]
    return joules["arithmetic"] + joules["sram"]
