"""Data sets as time-major spikes: digits, the user's own files, recordings, generated tasks, and encoders."""

from neurofdfa.data.binning import Binning
from neurofdfa.data.cochlea import Cochlea
from neurofdfa.data.collate import collate
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.event_lists import EventList, Events
from neurofdfa.data.load import load, names
from neurofdfa.data.samples import Samples

__all__ = [
    "Binning", "Cochlea", "Dataset", "EventList", "Events", "Samples", "SealedSplit", "Split", "collate",
    "load", "names",
]  # fmt: skip
