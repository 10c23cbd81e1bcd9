"""Compile the engine before it is needed, once and for all processes on this machine."""

import torch

from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import RANDOM
from neurofdfa.train.trainer import Trainer


def warm() -> None:
    """Train a tiny float32 network for a batch: what has been compiled before is read from the cache.

    That calls every kernel, and kernels take tables of addresses: no other network, rule or number of threads
    compiles anything again. The cache lies beside the package's sources, or in the user's cache folder where
    that cannot be written.
    """
    trainer = Trainer(feed_forward(4, [4], 2), RANDOM(), engine="events", threads=2, batch_first=False)
    trainer.step(torch.ones(2, 2, 4), torch.zeros(2, dtype=torch.int64))
