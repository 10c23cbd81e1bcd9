"""Tell the user once why something takes long or takes another path."""

import sys
import warnings
from typing import Any

from numba.core import event

_told: set[str] = set()


def fall_back(reason: str, *, whole: bool = False) -> None:
    """One notice per reason that the event engine is not used. whole: sequences are computed as a whole in
    its place, and not step by step by the reference.
    """
    if reason not in _told:
        _told.add(reason)
        how = "using PyTorch for whole sequences, about as slow as backpropagation through time"
        if not whole:
            how = "using the reference engine, about ten times as slow"
        warnings.warn(
            f"{reason}: {how}; change that, or say engine='reference' to hear no more of it", stacklevel=4
        )


class Compiling(event.Listener):
    """Says that the engine is being compiled, when it is: numba tells it after looking into its cache."""

    def on_start(self, event: Any) -> None:
        """Speak up once per process."""
        kernel = event.data["dispatcher"].py_func
        if "compiling" not in _told and kernel.__module__.startswith(__package__):
            _told.add("compiling")
            print("neurofdfa: compiling the event engine, once on this machine (about a minute)",
                  file=sys.stderr, flush=True)  # fmt: skip

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


def announce_compiling() -> None:
    """From now on."""
    numba_events: Any = event
    numba_events.register("numba:compile", Compiling())
