"""What a batch reports, from the kernels' counters."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.events.session import Measures, PreparedBatch
from neurofdfa.nn.network import Network
from neurofdfa.train.batch import BatchStats


def batch_stats(
    network: Network, work: PreparedBatch, measures: Measures, share: Shard, answers: int
) -> BatchStats:
    """As `Trainer.train` returns it. share: the samples that are here; answers: steps whose outputs count."""
    scores: NDArray[Any] = work.scores.numpy()[:, : network.n_out]
    kind, part = scores.dtype, share.weight / work.cells
    return BatchStats(
        _tensor(np.array(share.weight * measures.loss, kind)),
        share.whole(_tensor(scores / kind.type(answers if network.readout.decode == "mean" else 1))),
        _tensor((part * measures.spikes).astype(kind)),
        _tensor((part * (measures.zeros - work.filling)).astype(kind)),
    )


def _tensor(numbers: NDArray[Any]) -> Tensor:
    """Numbers from numpy, whose small operations cost a fraction of torch's (with 8 samples that shows)."""
    return torch.from_numpy(numbers)  # pyright: ignore[reportUnknownMemberType]
