"""Putting samples together into one time-major batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurofdfa.data.event_lists import EventList, Events
from neurofdfa.errors import UserError

Batch = tuple[Tensor | Events, Tensor] | tuple[Tensor | Events, Tensor, Tensor]
"""(x, target), or (x, target, lengths) where samples have lengths of their own; time comes first in x."""


def collate(
    samples: Sequence[tuple[Any, Any]], *, lengths: bool | None = None, device: torch.device | str = "cpu"
) -> Batch:
    """Put samples together into a time-major batch, for `DataLoader(…, collate_fn=collate)`.

    samples: (x, target) each; x is an `EventList` or values over time `[T, …]`, flattened to `[T, n]`.
    target is a class number, values `[k]`, or values at every step `[T, k]`.
    Returns (x, target): `Events` or a float32 tensor `[T, B, n]`, and `[B]`, `[B, k]` or `[T, B, k]`. Samples
    of unequal length are filled up with silence (targets with 0) to the longest one's, and the steps that are
    each sample's own come third, `[B]` int64. lengths: True to have them always, False to refuse unequal
    ones, None to have them where they differ.
    Raises `UserError` for samples that do not fit together.
    """
    if not samples:
        raise UserError("a batch needs at least one sample")
    x, own = stacked([x for x, _ in samples])
    steps, unequal = max(own), len(set(own)) > 1
    if lengths is False and unequal:
        raise UserError(f"samples have {min(own)} to {steps} time steps, and must have the same")
    x = x if isinstance(x, Events) else x.to(device)
    target = _targets([target for _, target in samples], own).to(device)
    if lengths or (lengths is None and unequal):
        return x, target, torch.tensor(own, device=device)
    return x, target


def stacked(samples: Sequence[Any]) -> tuple[Tensor | Events, list[int]]:
    """Put inputs alone together, see `collate`; also returns how many steps are each one's own."""
    inputs = [x if isinstance(x, EventList) else _values(x) for x in samples]
    own = [x.steps if isinstance(x, EventList) else len(x) for x in inputs]
    listed = [x for x in inputs if isinstance(x, EventList)]
    values = [x for x in inputs if not isinstance(x, EventList)]
    if listed and values:
        raise UserError("a batch has event lists and tensors: give one or the other")
    return Events.of_lists(listed) if listed else _padded(values, max(own), "channels"), own


def _values(x: Any) -> Tensor:
    try:
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
    except (TypeError, ValueError) as error:
        raise UserError(f"a sample is a {type(x).__name__}: give an EventList, or an array [T, n]") from error
    if tensor.dim() < 2 or not len(tensor):
        raise UserError(f"a sample has shape {list(tensor.shape)}: give values over time, [T, n]")
    return tensor.to(torch.float32).flatten(1)


def _padded(values: Sequence[Tensor], steps: int, what: str) -> Tensor:
    """Stack `[T_i, n]` to `[steps, B, n]`, filled up with 0."""
    if len({tensor.shape[1] for tensor in values}) > 1:
        raise UserError(f"samples differ in {what}: {sorted({tensor.shape[1] for tensor in values})}")
    if all(len(tensor) == steps for tensor in values):
        return torch.stack(list(values), 1)
    whole = values[0].new_zeros(steps, len(values), values[0].shape[1])
    for row, tensor in enumerate(values):
        whole[: len(tensor), row] = tensor
    return whole


def _targets(targets: Sequence[Any], own: Sequence[int]) -> Tensor:
    try:
        tensors = [torch.as_tensor(target) for target in targets]
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"a target is {targets[0]!r}: give a class number, or numbers to aim at") from error
    if len({tensor.dim() for tensor in tensors}) > 1 or tensors[0].dim() > 2:
        raise UserError("targets must all be class numbers, or values [k], or values at every step [T, k]")
    if tensors[0].dim() < 2:
        stacked = torch.stack(tensors)
        return stacked.to(torch.float32 if stacked.is_floating_point() else torch.int64)
    if any(len(tensor) != steps for tensor, steps in zip(tensors, own, strict=True)):
        raise UserError("a target over time must have as many steps as its sample")
    return _padded([tensor.to(torch.float32) for tensor in tensors], max(own), "outputs")
