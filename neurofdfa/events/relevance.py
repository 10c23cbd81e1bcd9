"""FDFA's weighting by error, and a trace per synapse in one chunk: what the kernels need and find."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.events.session import PreparedBatch


def give_relevance(work: PreparedBatch, relevance: Tensor | None) -> None:
    """Write 1/⟨e²⟩ per output, for errors as the kernels have them: those of a mean over the batch."""
    for frame in work.frames:
        frame.head.by_error = relevance is not None
        if relevance is not None:
            found = torch.where(relevance > 0, work.shape.batch**2 / relevance.double(), -1.0)
            frame.numbers(frame.head.relevance, (len(found),))[:] = found.numpy()


def seen_errors(work: PreparedBatch, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Σ over the steps of the mean e² of the probed samples, `[k]`, and of the weights of their estimates."""
    k, steps = len(relevance), work.shape.steps
    sums = sum(frame.numbers(frame.head.seen, (k,)) for frame in work.frames)
    scaled: Any = sums * (work.shape.batch**2 / work.shape.probed)
    seen = torch.from_numpy(scaled).to(relevance.dtype)  # pyright: ignore[reportUnknownMemberType]
    known = relevance > 0
    return seen, torch.where(known, seen / torch.where(known, relevance, 1.0), float(steps))


def filter_back(signal: NDArray[Any], kappa: float, path: Sequence[float]) -> None:
    """What the kernels do to the errors of a whole sequence, to another signal `[T, n]` in place."""
    for decay in (kappa, *path):
        for t in range(len(signal) - 2, -1, -1):
            signal[t] += decay * signal[t + 1]
    signal *= math.prod(1.0 - decay for decay in path)
