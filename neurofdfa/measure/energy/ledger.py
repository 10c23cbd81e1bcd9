"""The energy ledger: what learning and inference cost per sample, counted from measured spikes.

Counts first, joules after: a count is a fact about the network, the rule and the data; a joule is that
times a figure that somebody else published (`neurofdfa.measure.energy.constants`).
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.measure.energy.constants import CONSTANTS, cmos, cmos_parts, loihi1
from neurofdfa.measure.energy.counts import forward, measure
from neurofdfa.measure.energy.learning import learning
from neurofdfa.nn.loss import Loss, step_weight
from neurofdfa.nn.network import Network
from neurofdfa.rules import EXACT
from neurofdfa.rules.base import Rule
from neurofdfa.rules.cost import Activity, Case, Counts


@dataclass(frozen=True)
class Entry:
    """Counts of one sample and their joules: loihi1 is None where the chip could not do it."""

    counts: Counts
    loihi1: float | None
    cmos: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Counts by name, memory words by kind, joules per sample."""
        counts = asdict(self.counts)
        memory = counts.pop("memory")
        return {
            "counts": counts,
            "memory_words": {**memory, "total": sum(memory.values())},
            "joules": {
                "loihi1": self.loihi1,
                "cmos_45nm": self.cmos,
                "cmos_45nm_parts": cmos_parts(self.counts),
            },
        }


@dataclass(frozen=True)
class Ledger:
    """learning: by name of the run's rule, and of the exact gradient; each includes its own forward pass."""

    samples: int
    steps: int
    inference: Entry
    learning: dict[str, Entry]

    def to_json(self) -> dict[str, Any]:
        """learning, inference, constants."""
        return {
            "learning": {name: entry.to_json() for name, entry in self.learning.items()},
            "inference": self.inference.to_json(),
            "constants": {name: constant._asdict() for name, constant in CONSTANTS.items()},
            "samples": self.samples,
            "steps": self.steps,
        }


def ledger(network: Network, x: Tensor, loss: Loss, rule: Rule[Any]) -> Ledger:
    """Count what `x`, `[T, B, n_in]`, costs per sample under a rule, and under the exact gradient.

    Learning is counted for one sample at a time, its update written at the sequence's end, as a device
    would; the regulariser, dropout and the optimizer's own state are left out. Raises `UserError` for a
    rule that has no entry.
    """
    if x.dim() != 3 or 0 in x.shape:
        raise UserError(f"inputs are [time, batch, channels] with something in them, got {tuple(x.shape)}")
    activity = measure(network, x)
    learns = tuple(step_weight(loss, t, x.shape[0]) > 0 for t in range(x.shape[0]))
    entries: dict[str, Entry] = {}
    for each in (rule, EXACT):
        if each.name not in entries:
            counts = learning(Case(each, network, activity, learns))
            entries[each.name] = _entry(counts, activity, each.local_in_space)
    return Ledger(x.shape[1], x.shape[0], _entry(forward(activity), activity, True), entries)


def _entry(counts: Counts, activity: Activity, on_chip: bool) -> Entry:
    """Loihi 1 carries spikes and no real-valued inputs, and has no way back through other layers' weights."""
    possible = on_chip and not activity.hidden[0].analog
    return Entry(counts, loihi1(counts) if possible else None, cmos(counts))


__all__ = ["CONSTANTS", "Counts", "Entry", "Ledger", "ledger"]
