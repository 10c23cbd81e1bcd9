"""What every worker of `neurofdfa.lab.workers` needs, loaded once by the server that they are forked from.

Nothing here starts a thread, which a fork would leave behind: torch computes with one, the engine with one.
"""

from contextlib import suppress

import torch

import neurofdfa.lab.run_or_resume  # pyright: ignore[reportUnusedImport]  # noqa: F401
from neurofdfa.events.warm import warm

torch.set_num_threads(1)
with suppress(Exception):  # whatever hinders the engine, a run that needs it will tell
    warm(threads=1)
