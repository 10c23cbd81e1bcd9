"""Batches as dense tensors, reproducible from the generator alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from neurofdfa.data.dataset import EVALUATION_SEED, Dataset, Presentation, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.event_lists import Events


def batches(
    split: Split,
    batch_size: int,
    encode: Encoder | None,
    steps: int,
    generator: torch.Generator,
    shuffle: bool = True,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (x [T, B, n] float32, target) over the whole split; the last batch may be smaller.

    encode: makes time out of static inputs, afresh at every call; None for inputs that have time.
    generator: orders the samples (if `shuffle`) and feeds the encoder. Batches come on its device;
    equal generator states give equal batches. target: [B] int64, or [T, B, n_out] float32 for regression.
    Event lists come as tensors; `Split.batches` leaves them lists.
    """
    for x, target, *_ in split.shown_as(Presentation(steps, encode)).iterate(batch_size, generator, shuffle):
        yield x.dense(torch.float32, generator.device) if isinstance(x, Events) else x, target


def evaluation_batches(
    dataset: Dataset, split: Split, batch_size: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the split in order with the encoder's noise fixed: the same spikes at every call.

    On the CPU they do not depend on the batch size either, and the first k samples of a split keep theirs.
    """
    generator = torch.Generator(device=device).manual_seed(EVALUATION_SEED)
    return batches(split, batch_size, dataset.encode, dataset.steps, generator, shuffle=False)
