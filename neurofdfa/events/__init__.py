"""How a step is executed: the fast event-driven path beside the plain reference, same calls, same numbers."""

from neurofdfa.data.event_lists import Events
from neurofdfa.events.inference import run
from neurofdfa.events.select import Engine, learner
from neurofdfa.events.stream import LearnStream, RunStream
from neurofdfa.events.trainer import EventTrainer

__all__ = ["Engine", "EventTrainer", "Events", "LearnStream", "RunStream", "learner", "run"]
