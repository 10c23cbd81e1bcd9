"""How a step is executed: the fast event-driven path beside the plain reference, same calls, same numbers."""

from neurofdfa.data.event_lists import Events
from neurofdfa.events.inference import run
from neurofdfa.events.stream import RunStream

__all__ = ["Events", "RunStream", "run"]
