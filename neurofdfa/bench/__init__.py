"""Side by side with other simulators and with what the machine allows at best; `neurofdfa bench`."""

from neurofdfa.bench.compare import compare
from neurofdfa.bench.footprint import footprints
from neurofdfa.bench.nets import NETS, Net

__all__ = ["NETS", "Net", "compare", "footprints"]
