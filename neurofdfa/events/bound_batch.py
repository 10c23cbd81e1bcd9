"""What a batch brings: its outline, targets and probes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from neurofdfa.data.event_lists import Events
from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.events.session import PreparedBatch
from neurofdfa.nn.loss import CrossEntropy, Loss, SpikeCountError, answer_steps, first_steps


def give_target(work: PreparedBatch, loss: Loss, k: int, target: Tensor) -> Tensor:
    """Point the records at the target; returns the tensor that must stay alive. k: outputs."""
    steps, batch = work.shape.steps, work.shape.batch
    labels = isinstance(loss, (CrossEntropy, SpikeCountError))
    length = steps if target.dim() < 3 else min(steps, len(target))  # a layout may have room for more steps
    shapes: dict[tuple[int, ...], int] = {(batch,): 0} if labels else {(batch, k): 1, (length, batch, k): 2}
    kind = shapes.get(tuple(target.shape))
    if kind is None:
        raise UserError(
            f"target for {type(loss).__name__} must be one of {[list(s) for s in shapes]}, "
            f"got {list(target.shape)}"
        )
    if kind == 0:
        given = target.to(torch.int64).contiguous()
        numbers = given.numpy()
        low, high = int(numbers.min()), int(numbers.max())
        if low < 0 or high >= k:
            raise UserError(f"labels must be in 0..{k - 1}, got {low}..{high}")
    else:
        given = target.to(work.scores.dtype).contiguous()
    for frame in work.frames:
        frame.head.target, frame.head.target_kind = given.data_ptr(), kind
    return given


def give_lengths(work: PreparedBatch, loss: Loss, lengths: Tensor | None) -> Tensor | None:
    """Point the records at every sample's own length, and at where its loss and its scores begin; returns
    what must stay alive, `[B, 3]`.
    """
    given = None
    if lengths is not None:
        windows = (lengths, first_steps(loss.when, lengths), answer_steps(loss.when, lengths))
        given = torch.stack(windows, 1).contiguous()
    for frame in work.frames:
        frame.head.lengths = 0 if given is None else given.data_ptr()
    return given


def point_at_probes(work: PreparedBatch, share: Shard, seed: int, given: Sequence[Tensor]) -> None:
    """Point the records at every layer's probes, `[T, probed, n]`, or tell the seed to draw them from."""
    for frame in work.frames:
        frame.head.seed, frame.head.total = seed, share.total
        frame.head.first, frame.head.every = share.mine.start or 0, share.group.size
        for k in range(len(frame.layers) - 2):
            frame.layers[k + 1].given = given[k].data_ptr() if given else 0


def has_values(x: Tensor | Events) -> bool:
    """Whether an input is anything but 0 and 1."""
    return isinstance(x, Tensor) and x.dtype != torch.bool and bool(((x != 0) & (x != 1)).any())


def outline(x: Tensor | Events) -> Tensor:
    """A tensor of the input's shape, to be checked."""
    return x if isinstance(x, Tensor) else torch.empty(x.shape, device="meta")
