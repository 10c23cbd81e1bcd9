"""What a batch reports, from the kernels' counters."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.batch import BatchStats
from neurofdfa.engine.execution import Measures, Work
from neurofdfa.engine.tables import padded
from neurofdfa.network import Network
from neurofdfa.team import Share


def batch_stats(network: Network, work: Work, measures: Measures, share: Share, answers: int) -> BatchStats:
    """As `Learner.train` returns it. share: the samples that are here; answers: steps whose outputs count."""
    steps, batch = work.shape.steps, work.shape.batch
    cells = [steps * batch * layer.n for layer in network.hidden]
    scores = work.scores[:, : network.n_out]
    rates = [float(s) / c for s, c in zip(measures.spikes, cells, strict=True)]
    return BatchStats(
        torch.tensor(share.weight * measures.loss, dtype=scores.dtype),
        share.whole(scores / answers if network.readout.decode == "mean" else scores.clone()),
        share.weight * torch.tensor(rates, dtype=scores.dtype),
        share.weight * _zero_shares(network, measures.zeros, steps * batch, scores.dtype),
    )


def _zero_shares(network: Network, zeros: NDArray[np.int64], times: int, dtype: torch.dtype) -> Tensor:
    """Shares of ψ = 0, without the neurons that only fill up a panel (their membranes stay at 0)."""
    shares: list[float] = []
    for count, layer in zip(zeros, network.hidden, strict=True):
        threshold = torch.tensor(-layer.neuron.v_threshold)
        filling = (padded(layer.n) - layer.n) * times if float(layer.neuron.surrogate(threshold)) == 0 else 0
        shares.append((float(count) - filling) / (layer.n * times))
    return torch.tensor(shares, dtype=dtype)
