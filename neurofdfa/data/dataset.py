"""What a data set is: two splits to work with, and a test split that can be looked at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch

from neurofdfa.errors import UserError

Kind = Literal["static", "spikes", "sequence"]
Task = Literal["classification", "regression"]
Encoder = Callable[[torch.Tensor, int, torch.Generator], torch.Tensor]
"""(intensities [B, n] in 0…1, steps T, generator) → input [T, B, n]."""
Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""(intensities [B, n], generator) → others of the same shape, as different as the task allows."""


@dataclass(frozen=True)
class Split:
    """Samples and what they should become, sample-major.

    inputs: static [N, n], float32 in 0…1 or uint8 in 0…255; spikes [N, T, n] uint8;
        sequence [N, T, n] float32.
    targets: class numbers [N] int64, or for regression the wanted output [N, T, n_out] float32.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        """Refuse splits whose two halves do not belong together."""
        if self.inputs.shape[0] != self.targets.shape[0]:
            raise UserError(
                f"a split has {self.inputs.shape[0]} inputs and {self.targets.shape[0]} targets; "
                "give one target per input"
            )

    def __len__(self) -> int:
        """Count the samples."""
        return int(self.inputs.shape[0])

    def __repr__(self) -> str:
        """Show shapes, not the contents."""
        return f"Split(inputs {tuple(self.inputs.shape)}, targets {tuple(self.targets.shape)})"

    def select(self, index: torch.Tensor | slice) -> Split:
        """Return the samples at `index` (int64 or bool tensor, or a slice), in that order."""
        return Split(self.inputs[index], self.targets[index])

    def to(self, device: torch.device | str) -> Split:
        """Return the same samples on `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))


class SealedSplit:
    """A split that opens once, so that nothing can be chosen by looking at it again and again."""

    def __init__(self, split: Split) -> None:
        """Seal `split`."""
        self.__split = split
        self.__opened = False

    def __len__(self) -> int:
        """Count the samples; that much may be known without opening."""
        return len(self.__split)

    def __repr__(self) -> str:
        """Show the size and the seal, never the contents."""
        return f"SealedSplit({len(self)} samples, {'opened' if self.__opened else 'sealed'})"

    @property
    def opened(self) -> bool:
        """Whether somebody has looked."""
        return self.__opened

    def changed(self, change: Callable[[Split], Split]) -> SealedSplit:
        """Return a sealed split of what `change` makes of the samples, which stay unseen."""
        return SealedSplit(change(self.__split))

    def open(self) -> Split:
        """Break the seal. Raises UserError the second time."""
        if self.__opened:
            raise UserError(
                "the test split has been opened already; choose settings on the validation split, "
                "and load the data set again for another final evaluation"
            )
        self.__opened = True
        return self.__split


@dataclass(frozen=True)
class Dataset:
    """A named task: training and validation data in the open, test data under seal.

    kind: "static" inputs get time through `encode`, afresh in every batch; "spikes" and "sequence" have it.
    n_in, n_out: channels in, classes (or regression outputs) out.
    steps: T of every sequence, or the number of steps that static inputs are shown.
    encode: from intensities to [T, B, n]; None when the inputs have time already.
    augment: changes static inputs before they are encoded for training, and for training alone.
    shape: a static input's own shape (channels, height, width) or (n,), for convolutional layers.
    answer_from: first step at which the target is defined; a loss should ignore the steps before it.
    """

    name: str
    kind: Kind
    n_in: int
    n_out: int
    steps: int
    train: Split
    validation: Split
    sealed_test: SealedSplit = field(repr=False)
    encode: Encoder | None = None
    task: Task = "classification"
    shape: tuple[int, ...] = ()
    answer_from: int = 0
    augment: Augmentation | None = None

    @property
    def encode_training(self) -> Encoder | None:
        """`encode` for batches to learn from: behind `augment`, where there is one."""
        if self.augment is None or self.encode is None:
            return self.encode
        return partial(_augmented, self.augment, self.encode)

    @property
    def test_opened(self) -> bool:
        """Whether the test split has been opened."""
        return self.sealed_test.opened

    @property
    def test_size(self) -> int:
        """How many samples the test split holds."""
        return len(self.sealed_test)

    def open_test(self) -> Split:
        """Open the test split: the lab does, once, at the end of a run. Raises UserError the second time."""
        return self.sealed_test.open()


def _augmented(
    augment: Augmentation, encode: Encoder, intensities: torch.Tensor, steps: int, generator: torch.Generator
) -> torch.Tensor:
    return encode(augment(intensities, generator), steps, generator)
