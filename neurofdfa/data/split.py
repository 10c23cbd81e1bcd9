"""Fixed, stratified partitions: every part has each class in the proportion of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Split
from neurofdfa.errors import UserError

Index = NDArray[np.int64]
_SEED = 1998


def stratified_split(
    labels: NDArray[np.integer], sizes: Sequence[int], rng: np.random.Generator
) -> list[Index]:
    """Partition 0…N−1 into the rest and one part per entry of `sizes`, with class proportions kept.

    labels: class numbers [N]. sizes: samples of each held-out part, for example (validation, test).
    Returns [rest, part 1, part 2, …], each in ascending order; a class's share of a part is exact to
    one sample (largest remainders get what rounding leaves over). Equal generators give equal parts.
    Raises UserError when the parts would leave some class without a sample in the rest.
    """
    total = len(labels)
    if any(size < 1 for size in sizes) or sum(sizes) >= total:
        raise UserError(f"cannot take parts of {list(sizes)} samples out of {total}; make the parts smaller")
    classes, counts = np.unique(labels, return_counts=True)
    taken = np.zeros(len(classes), dtype=np.int64)
    pools = [rng.permutation(np.flatnonzero(labels == c)) for c in classes]
    parts: list[Index] = []
    for size in sizes:
        share = _shares(counts, size, counts - taken - 1)
        chosen = [pool[t : t + n] for pool, t, n in zip(pools, taken, share, strict=True)]
        parts.append(np.sort(np.concatenate(chosen)).astype(np.int64))
        taken += share
    rest = np.concatenate([pool[t:] for pool, t in zip(pools, taken, strict=True)])
    return [np.sort(rest).astype(np.int64), *parts]


def reduced(name: str, split: Split, samples: int) -> Split:
    """Keep so many samples, stratified, always the same ones; 0 for all.

    Raises `UserError`, which calls the setting `name`, where there are fewer.
    """
    if not 0 <= samples <= len(split):
        raise UserError(f"{name} = {samples}, but there are {len(split)} samples: give fewer, or 0 for all")
    if samples in (0, len(split)):
        return split
    _, kept = stratified_split(split.targets.numpy(), (samples,), np.random.default_rng(_SEED))
    return split.select(torch.as_tensor(kept))


def _shares(counts: Index, size: int, available: Index) -> Index:
    """Samples of each class in a part of `size`: proportional, integer, at most what is available."""
    exact = counts * (size / counts.sum())
    share = np.minimum(np.floor(exact).astype(np.int64), available)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    while (missing := size - int(share.sum())) > 0:
        open_classes = [int(c) for c in order if share[c] < available[c]][:missing]
        if not open_classes:
            raise UserError(
                f"cannot split: a part of {size} samples would leave a class without training samples; "
                "give more samples per class or a smaller part"
            )
        share[open_classes] += 1
    return share
