"""Compile the engine before it is needed, once and for all processes on this machine."""

import torch

from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import RANDOM
from neurofdfa.train.trainer import Trainer


def warm(threads: int = 2) -> None:
    """Train a tiny float32 network for a batch: what has been compiled before is read from the cache.

    With 2 threads that calls every kernel, and kernels take tables of addresses: no other network, rule or
    number of threads compiles anything again; with 1 it leaves out what joins the work of threads. The cache
    lies beside the package's sources, or in the user's cache folder where that cannot be written.
    """
    trainer = Trainer(feed_forward(4, [4], 2), RANDOM(), engine="events", threads=threads, batch_first=False)
    trainer.step(torch.ones(2, 2, 4), torch.zeros(2, dtype=torch.int64))
