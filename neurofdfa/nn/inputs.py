"""What a user may hand over as spikes and numbers: tensors and arrays of any number type, lists of events."""

from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from neurofdfa.errors import UserError


@runtime_checkable
class SpikeLists(Protocol):
    """Lists of events that stand for a tensor of 0 and 1, such as `neurofdfa.events.Events`."""

    @property
    def shape(self) -> torch.Size:
        """Of the tensor, `[T, B, n]`."""
        ...

    def dense(self, dtype: torch.dtype = ...) -> Tensor:
        """The tensor."""
        ...

    def rows(self, samples: slice) -> Any:
        """Some of the samples."""
        ...


Inputs: TypeAlias = Tensor | SpikeLists
Given: TypeAlias = Any
"""What a user may hand over as inputs: a tensor or an array of any number type, or lists of events."""


def is_lists(x: Given) -> TypeGuard[SpikeLists]:
    """Whether inputs come as lists of events. A tensor is recognised at once: the protocol takes its time."""
    return not isinstance(x, Tensor) and isinstance(x, SpikeLists)


def as_numbers(what: str, given: Any) -> Tensor:
    """A tensor of what a user hands over; raises `UserError` for what is none."""
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{what} are numbers, in a tensor, an array or lists of equal lengths, and these are not: {error}"
        ) from error


def dense(x: Given, like: Tensor) -> Tensor:
    """The tensor that inputs stand for, with the type of `like` and on its device. Raises `UserError` for
    what is no number, or complex.
    """
    if is_lists(x):
        return x.dense(like.dtype).to(like.device)
    given = as_numbers("inputs", x)
    if given.is_complex():
        raise UserError("inputs are spikes or real numbers, got complex ones")
    return given.to(like.device, like.dtype)
