"""What a process knows of the others that were started with it, before it has met them."""

import os


def launched() -> int:
    """How many processes torchrun started together, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def first_here() -> bool:
    """Whether this is the first of the processes on this machine: it speaks of what all of them see."""
    return launched() == 1 or os.environ.get("LOCAL_RANK", "0") == "0"
