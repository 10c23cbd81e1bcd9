"""Learning on the chip: `learn`, and which rules Loihi's learning engine can hold, term by term."""

from neurofdfa_hardware.learning.rules import lower
from neurofdfa_hardware.learning.terms import Fit, Lowering, Neurons, Term

__all__ = ["Fit", "Lowering", "Neurons", "Term", "lower"]
