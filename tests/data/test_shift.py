from __future__ import annotations

from collections import Counter

import pytest
import torch

from neurofdfa.data.shift import check_shift, shifted
from neurofdfa.errors import UserError


def moved_by_hand(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """One image [channels, height, width], pixel by pixel."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                out[:, row, column] = image[:, row - down, column - right]
    return out


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 4, 6)])
def test_every_image_is_one_of_its_shifts_and_all_shifts_occur(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(300, shape[0] * shape[1] * shape[2], generator=generator)
    found: Counter[tuple[int, int]] = Counter()
    for image, out in zip(images, shifted(1, shape, images, generator), strict=True):
        places = [
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(moved_by_hand(image.view(shape), down, right).flatten(), out)
        ]
        assert len(places) == 1
        found[places[0]] += 1
    assert len(found) == 9
    assert min(found.values()) > 12  # 33 expected, standard deviation 5.4


def test_a_shift_depends_on_the_generator_and_not_on_the_batch_size() -> None:
    images = torch.rand(12, 36, generator=torch.Generator().manual_seed(1))

    def at(seed: int, size: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([shifted(2, (1, 6, 6), part, generator) for part in images.split(size)])

    assert torch.equal(at(3, 12), at(3, 5))
    assert not torch.equal(at(3, 12), at(4, 12))


def test_shifts_out_of_sight_are_refused() -> None:
    check_shift(0, (1, 5, 4))
    check_shift(3, (1, 5, 4))
    for most in (-1, 4):
        with pytest.raises(UserError, match=f"shift by 0 to 3 of them, not {most}"):
            check_shift(most, (1, 5, 4))
