"""Intel Lava as a backend: its own interpreter, driven as a worker process over a folder of files."""

from neurofdfa_hardware.lava.driver import LavaBackend, LavaJob, LavaProgram, LavaRun
from neurofdfa_hardware.lava.environment import Environment, locate, require, setup
from neurofdfa_hardware.lava.errors import (
    LavaDiskFull,
    LavaError,
    LavaMissing,
    LavaModelError,
    LavaSetupFailed,
    LavaTimeout,
    LavaWorkerDied,
)
from neurofdfa_hardware.lava.smoke_test import check

__all__ = [
    "Environment",
    "LavaBackend",
    "LavaDiskFull",
    "LavaError",
    "LavaJob",
    "LavaMissing",
    "LavaModelError",
    "LavaProgram",
    "LavaRun",
    "LavaSetupFailed",
    "LavaTimeout",
    "LavaWorkerDied",
    "check",
    "locate",
    "require",
    "setup",
]
