"""What a batch reports, from the kernels' counters."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.batch import BatchStats
from neurofdfa.engine.execution import Measures, Work
from neurofdfa.network import Network
from neurofdfa.team import Share


def batch_stats(network: Network, work: Work, measures: Measures, share: Share, answers: int) -> BatchStats:
    """As `Learner.train` returns it. share: the samples that are here; answers: steps whose outputs count."""
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
