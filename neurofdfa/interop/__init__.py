"""Networks from and to other simulators with the same parameters, so that both compute the same numbers.

Only what is mathematically identical is mapped; everything else is refused by name, with the nearest thing
that works. See docs/conversion.md.
"""

from neurofdfa.interop.norse import from_norse, to_norse
from neurofdfa.interop.snntorch import from_snntorch, to_snntorch
from neurofdfa.interop.torch_graph import nir_from_torch

__all__ = ["from_norse", "from_snntorch", "nir_from_torch", "to_norse", "to_snntorch"]
