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
    network: Network,
    work: PreparedBatch,
    measures: Measures,
    share: Shard,
    windows: Tensor | None,
    answers: int,
) -> BatchStats:
    """As `Trainer.train` returns it. share: the samples that are here; windows: as `give_lengths` makes them,
    where samples have lengths of their own; answers: else the steps whose outputs count.
    """
    scores: NDArray[Any] = work.scores.numpy()[:, : network.n_out]
    kind, whole = scores.dtype, work.shape.steps * work.shape.batch
    mean = network.readout.decode == "mean"
    counted: NDArray[Any] = np.array(answers, kind)
    spikes, zeros = measures.spikes / work.cells, (measures.zeros - work.filling) / work.cells
    if windows is not None:  # means of the means of every sample
        counted = (windows[:, :1] - windows[:, 2:]).numpy().astype(kind)
        own: NDArray[Any] = np.sum([frame.own_counts() for frame in work.frames], axis=0)
        widths = work.cells / whole
        spikes = own[0] / work.shape.batch / widths
        zeros = (own[1] / work.shape.batch - work.filling / whole) / widths
    return BatchStats(
        _tensor(np.array(share.weight * measures.loss, kind)),
        share.whole(_tensor(scores / counted if mean else scores / kind.type(1))),
        _tensor((share.weight * spikes).astype(kind)),
        _tensor((share.weight * zeros).astype(kind)),
    )


def _tensor(numbers: NDArray[Any]) -> Tensor:
    """Numbers from numpy, whose small operations cost a fraction of torch's (with 8 samples that shows)."""
    return torch.from_numpy(numbers)  # pyright: ignore[reportUnknownMemberType]
