"""How a step is executed: the fast event-driven path beside the plain reference, same calls, same numbers."""

from neurofdfa.engine.events import EventLearner
from neurofdfa.engine.inference import run
from neurofdfa.engine.native import Events
from neurofdfa.engine.select import Engine, learner
from neurofdfa.engine.stream import LearnStream, RunStream

__all__ = ["Engine", "EventLearner", "Events", "LearnStream", "RunStream", "learner", "run"]
