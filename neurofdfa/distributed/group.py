"""Several processes that train one network, each on its share of every batch.

Process r of m holds the samples r, r + m, r + 2m, … of a batch. Everything that a batch decides is then a
sum over processes (gradients, the loss) or a mean of their means (a neuron's firing rate), which
`neurofdfa.distributed.torchrun` sends. Random numbers are drawn for the whole batch by every process, which
keeps its rows: the result is that of one process with the same batch, up to the order of additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together. The class itself is a process on its own."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, in one message."""

    def tell(self, message: bytes) -> bytes:
        """What rank 0 has to say, to everybody."""
        return message


SINGLE = ProcessGroup()


@dataclass(frozen=True)
class Shard:
    """The samples of a batch of `total` that are here.

    A process that the batch has no sample for works on the first one, with weight 0.
    """

    total: int
    group: ProcessGroup = SINGLE

    opens: ClassVar[bool] = True
    """Whether the batch begins with these samples: what is counted once a batch is counted with them."""

    @property
    def mine(self) -> slice:
        """Their places in the batch."""
        rank, size = self.group.rank, self.group.size
        return slice(rank, None, size) if rank < self.total else slice(0, 1)

    @property
    def here(self) -> tuple[int, ...]:
        """The same, one by one."""
        return tuple(range(*self.mine.indices(self.total)))

    @property
    def count(self) -> int:
        """How many there are, at least 1."""
        return len(range(*self.mine.indices(self.total)))

    @property
    def weight(self) -> float:
        """What part of the batch they are; the parts of all processes add up to 1."""
        return self.count / self.total if self.group.rank < self.total else 0.0

    @property
    def per_sample(self) -> float:
        """The weight of each of them in a mean over the batch."""
        return 1.0 / self.total if self.group.rank < self.total else 0.0

    def first(self, samples: int) -> "Shard":
        """Those among the batch's first `samples` samples: the first ones here, too."""
        return Shard(samples, self.group)

    def rows(self, whole: Tensor, dim: int = 0, *, passes: int = 1) -> Tensor:
        """What is here of a tensor for the whole batch, a view where possible.

        passes: copies of the batch that lie one after the other in dimension 0.
        """
        if self.group.size == 1:
            return whole
        if passes > 1:
            copies = whole.view(passes, self.total, *whole.shape[1:])[:, self.mine]
            return copies.reshape(-1, *whole.shape[1:])
        return whole[(slice(None),) * dim + (self.mine,)]

    def whole(self, rows: Tensor) -> Tensor:
        """A tensor for the whole batch with what is here in its place and zeros elsewhere: to be summed."""
        if self.group.size == 1:
            return rows
        tensor = rows.new_zeros(self.total, *rows.shape[1:])
        if self.weight:
            tensor[self.mine] = rows
        return tensor

    def mean(self, means: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Means over the whole batch, from those over the samples here, in one message.

        A derivative of the result is the part of it that the samples here have.
        """
        if self.group.size == 1:
            return tuple(means)
        sums = [self.weight * mean.detach() for mean in means]
        self.group.sum_(sums)
        if not torch.is_grad_enabled():
            return tuple(sums)
        return tuple(
            total + self.weight * (mean - mean.detach()) for total, mean in zip(sums, means, strict=True)
        )


@dataclass(frozen=True)
class Part(Shard):
    """Some of the samples of a batch, the rest of which the same process takes up on their own.

    places: theirs in the batch, ascending. What is summed over all parts is what the batch decides. opens:
    whether no other part came before.
    """

    places: tuple[int, ...] = (0,)
    opens: bool = True  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def here(self) -> tuple[int, ...]:
        """Their places; the first one, with weight 0, where the batch has none of them."""
        return tuple(place for place in self.places if place < self.total) or (0,)

    @property
    def count(self) -> int:
        """How many there are, at least 1."""
        return len(self.here)

    @property
    def weight(self) -> float:
        """What part of the batch they are."""
        return self.count * self.per_sample

    @property
    def per_sample(self) -> float:
        """The weight of each of them in a mean over the batch."""
        return 1.0 / self.total if self.places[0] < self.total else 0.0

    def first(self, samples: int) -> "Shard":
        """Those among the batch's first `samples` samples: the first ones here, too."""
        return replace(self, total=samples)

    def rows(self, whole: Tensor, dim: int = 0, *, passes: int = 1) -> Tensor:
        """What is here of a tensor for the whole batch."""
        copies = [self.total * k + place for k in range(passes) for place in self.here]
        return whole.index_select(dim, torch.tensor(copies, device=whole.device))

    def whole(self, rows: Tensor) -> Tensor:
        """A tensor for the whole batch with what is here in its place and zeros elsewhere: to be summed."""
        tensor = rows.new_zeros(self.total, *rows.shape[1:])
        if self.weight:
            tensor[list(self.here)] = rows
        return tensor


def parts_of(lengths: Tensor) -> list[tuple[int, Part]]:
    """The samples of a batch by their lengths `[B]`, the shortest first."""
    of: dict[int, list[int]] = {}
    for place, steps in enumerate(lengths):
        of.setdefault(int(steps), []).append(place)
    return [
        (steps, Part(len(lengths), places=tuple(of[steps]), opens=steps == min(of))) for steps in sorted(of)
    ]
