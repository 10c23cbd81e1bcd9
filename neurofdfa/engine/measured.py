"""What a batch reports, from the kernels' counters."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurofdfa.batch import BatchStats
from neurofdfa.engine.execution import Measures, Work
from neurofdfa.network import Network
from neurofdfa.team import Share


def batch_stats(network: Network, work: Work, measures: Measures, share: Share, answers: int) -> BatchStats:
    """As `Learner.train` returns it. share: the samples that are here; answers: steps whose outputs count."""
    scores = work.scores[:, : network.n_out]
    kind: Any = np.float32 if scores.dtype == torch.float32 else np.float64
    counts = np.stack([measures.spikes, measures.zeros - work.filling])
    shares: Tensor = torch.from_numpy((share.weight * counts / work.cells).astype(kind))  # pyright: ignore[reportUnknownMemberType]
    return BatchStats(
        torch.tensor(share.weight * measures.loss, dtype=scores.dtype),
        share.whole(scores / answers if network.readout.decode == "mean" else scores.clone()),
        shares[0],
        shares[1],
    )
