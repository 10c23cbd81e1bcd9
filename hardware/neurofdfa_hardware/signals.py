"""Ctrl-C and `kill` end a command in the same way, however it was started."""

import signal
from types import FrameType


def interruptible() -> None:
    """Take Ctrl-C although a shell that started this in the background had it ignored, and SIGTERM as Ctrl-C.

    For the entry point of a command line, in the main thread: what is under way is given up by
    `KeyboardInterrupt`, so that files are left whole and workers end.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
