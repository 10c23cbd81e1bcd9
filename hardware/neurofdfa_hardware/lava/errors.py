"""What can go wrong between a program and Lava; every message is one line that says what to do."""

from neurofdfa_hardware.errors import HardwareError


class LavaError(HardwareError):
    """Anything that keeps Lava from giving a result."""


class LavaMissing(LavaError):
    """No interpreter with Lava was found; `neurofdfa lava setup` builds one."""


class LavaSetupFailed(LavaError):
    """Lava's environment could not be built or does not pass its check."""


class LavaTimeout(LavaError):
    """A run took longer than its time limit, or showed no sign of life for too long."""


class LavaWorkerDied(LavaError):
    """Lava's worker, or one of the processes it started, was killed or exited."""


class LavaModelError(LavaError):
    """A process model raised inside Lava.

    layer: the connection, population or service that raised, None when it was the worker itself;
    trace: the traceback from Lava's interpreter.
    """

    def __init__(self, message: str, layer: str | None = None, trace: str = "") -> None:
        super().__init__(message)
        self.layer = layer
        self.trace = trace


class LavaDiskFull(LavaError):
    """The job folder could not be written."""
