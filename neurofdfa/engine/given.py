"""What a batch brings besides its input: targets and probes."""

import torch
from torch import Tensor

from neurofdfa.engine import fields as f
from neurofdfa.engine.execution import Work
from neurofdfa.errors import UserError
from neurofdfa.loss import CrossEntropy, Loss, SpikeCountError


def give_target(work: Work, loss: Loss, k: int, target: Tensor) -> Tensor:
    """Point the tables at the target; returns the tensor that must stay alive. k: outputs."""
    steps, batch = work.shape.steps, work.shape.batch
    labels = isinstance(loss, (CrossEntropy, SpikeCountError))
    shapes: dict[tuple[int, ...], int] = {(batch,): 0} if labels else {(batch, k): 1, (steps, batch, k): 2}
    kind = shapes.get(tuple(target.shape))
    if kind is None:
        raise UserError(
            f"target for {type(loss).__name__} must be one of {[list(s) for s in shapes]}, "
            f"got {list(target.shape)}"
        )
    if kind == 0:
        given = target.to(torch.int64).contiguous()
        low, high = (int(x) for x in given.aminmax())
        if low < 0 or high >= k:
            raise UserError(f"labels must be in 0..{k - 1}, got {low}..{high}")
    else:
        given = target.to(work.scores.dtype).contiguous()
    for frame in work.frames:
        frame.head[f.TARGET], frame.head[f.TARGET_KIND] = given.data_ptr(), kind
    return given
