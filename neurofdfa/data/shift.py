"""More images out of those there are: a training image is moved by some pixels, afresh at every sight."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from neurofdfa.errors import UserError


def check_shift(most: int, shape: tuple[int, int, int]) -> None:
    """Raise UserError unless images of `shape` can move by 0 to `most` pixels and stay in sight."""
    if not 0 <= most < min(shape[1:]):
        raise UserError(
            f"images of {shape[1]} x {shape[2]} pixels shift by 0 to {min(shape[1:]) - 1} of them, not {most}"
        )


def shifted(
    most: int, shape: tuple[int, int, int], images: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Move every image by −most … most pixels down and right, all equally likely, each on its own.

    shape: (channels, height, width) of images [B, channels · height · width]. What leaves is lost, what comes
    in is 0. On the CPU an image's shift does not depend on the batch size.
    """
    batch, (_, height, width) = len(images), shape
    device = images.device
    corner = torch.randint(0, 2 * most + 1, (batch, 2), generator=generator, device=generator.device)
    corner = corner.to(device)
    padded = pad(images.view(batch, *shape), (most,) * 4).movedim(1, 3)
    rows = corner[:, :1] + torch.arange(height, device=device)
    columns = corner[:, 1:] + torch.arange(width, device=device)
    sample = torch.arange(batch, device=device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].movedim(3, 1).flatten(1)
