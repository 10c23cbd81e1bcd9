"""What an operation costs, each figure with its source, and what a ledger then costs.

Loihi 1's figures are pre-silicon simulations and leave out memory that is not in the list: lower bounds. The
CMOS figures are of single operations at 45 nm: no control, no wires, no leakage. Loihi 2 has no published
energy per operation, so none is given for it.
"""

from typing import NamedTuple

from neurofdfa.rules.cost import Counts

DAVIES = "Davies et al. 2018, IEEE Micro 38(1), 0.75 V, pre-silicon simulation"
HOROWITZ = "Horowitz 2014, ISSCC, 45 nm at 0.9 V"
LOWER_BOUND = "simulated lower bound"
CMOS = "CMOS figures of the literature"


class Constant(NamedTuple):
    """One figure in picojoules, how it is to be read, and where it was read."""

    picojoules: float
    label: str
    source: str


CONSTANTS: dict[str, Constant] = {
    "loihi1_synaptic_operation": Constant(23.6, LOWER_BOUND, DAVIES),
    "loihi1_neuron_update_active": Constant(81.0, LOWER_BOUND, DAVIES),
    "loihi1_neuron_update_inactive": Constant(52.0, LOWER_BOUND, DAVIES),
    "loihi1_synapse_learning_update": Constant(120.0, LOWER_BOUND, DAVIES),
    "loihi1_spike_within_tile": Constant(1.7, LOWER_BOUND, DAVIES),
    "cmos_float32_add": Constant(0.9, CMOS, HOROWITZ),
    "cmos_float32_multiply": Constant(3.7, CMOS, HOROWITZ),
    "cmos_int32_add": Constant(0.1, CMOS, HOROWITZ),
    "cmos_sram_8kb_64bit": Constant(10.0, CMOS, HOROWITZ),
    "cmos_dram_64bit": Constant(1300.0, CMOS, f"{HOROWITZ}; the lower end of 1.3 to 2.6 nJ"),
}


def loihi1(counts: Counts) -> float:
    """Joules per sample on Loihi 1, a simulated lower bound.

    Products with feedback and tangents are priced as synaptic operations, tangents of neurons as neuron
    updates, every product of signal and trace as a learning update; traces and broadcasts are left out.
    """
    c = {name: constant.picojoules for name, constant in CONSTANTS.items()}
    idle = counts.neuron_updates - counts.active_neuron_updates
    operations = counts.synaptic_operations + counts.feedback_operations + counts.tangent_operations
    total = (
        operations * c["loihi1_synaptic_operation"]
        + (counts.active_neuron_updates + counts.tangent_updates) * c["loihi1_neuron_update_active"]
        + idle * c["loihi1_neuron_update_inactive"]
        + (counts.synapse_updates + counts.feedback_updates) * c["loihi1_synapse_learning_update"]
        + counts.spikes * c["loihi1_spike_within_tile"]
    )
    return total * 1e-12


PARTS: dict[str, tuple[str, ...]] = {
    "spikes × weights": ("synaptic_operations", "multiplied_synaptic_operations"),
    "neurons": ("neuron_updates",),
    "traces × signal": ("trace_updates", "synapse_updates"),
    "feedback": ("feedback_operations", "feedback_updates"),
    "tangents": ("tangent_operations", "tangent_updates"),
    "errors backward": ("backward_operations", "backward_updates"),
    "weights moved": ("weight_reads", "weight_writes"),
    "stored activity": ("activation_words",),
}
"""What the joules are spent on, by counts; every count that costs something is in one of them."""


def cmos_parts(counts: Counts) -> dict[str, float]:
    """Joules per sample at 45 nm by part, arithmetic and words from small SRAM: the sum of both in `cmos`."""
    only = {part: Counts(**{name: getattr(counts, name) for name in names}) for part, names in PARTS.items()}
    costs = {part: cmos(some) for part, some in only.items()}
    return {part: cost["arithmetic"] + cost["sram"] for part, cost in costs.items()}


def cmos(counts: Counts) -> dict[str, float]:
    """Joules per sample at 45 nm: arithmetic in float32, and its words from small SRAM or from DRAM.

    arithmetic: an addition per spike and synapse, a multiplication and an addition for all else.
    """
    c = {name: constant.picojoules for name, constant in CONSTANTS.items()}
    additions = counts.synaptic_operations - counts.multiplied_synaptic_operations
    both = counts.multiplied_synaptic_operations + counts.updates + counts.products
    arithmetic = additions * c["cmos_float32_add"] + both * (
        c["cmos_float32_add"] + c["cmos_float32_multiply"]
    )
    return {
        "arithmetic": arithmetic * 1e-12,
        "sram": counts.words_moved * c["cmos_sram_8kb_64bit"] / 2 * 1e-12,
        "dram": counts.words_moved * c["cmos_dram_64bit"] / 2 * 1e-12,
    }
