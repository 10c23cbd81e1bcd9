"""Learning step by step, as data arrive."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.inputs import as_numbers
from neurofdfa.train.batch import BatchStats, prepare_target
from neurofdfa.train.finite import check_data, check_loss
from neurofdfa.train.learning import Learning
from neurofdfa.train.online import OnlineLoop

if TYPE_CHECKING:
    from neurofdfa.events.stream import LearnStream


class Stream(Protocol):
    """What `Trainer.stream` opens, on either engine."""

    ended: bool

    def step(self, x_t: Any, target_t: Any) -> Tensor:
        """Learn from one step, x_t `[B, n_in]`, target labels `[B]` or values `[B, k]`; returns y, `[B, k]`,
        as it was before the weights changed.
        """
        ...

    def end(self) -> BatchStats:
        """Apply what is left to apply, close the stream and report means over its steps."""
        ...


class OnlineStream:
    """A stream on the reference. batch: samples side by side; horizon: see `Trainer.stream`."""

    def __init__(self, learning: Learning, batch: int, horizon: int) -> None:
        self.learning, self.batch, self.ended = learning, batch, False
        self.loop = OnlineLoop(learning)
        self.loop.begin(batch, horizon)

    @torch.no_grad()
    def step(self, x_t: Any, target_t: Any) -> Tensor:
        """Learn from one step."""
        check_open(self.ended)
        x_t = check_step(self.learning, x_t, self.batch)
        target = prepare_target(self.learning.network, self.learning.loss, target_t, self.batch, None)
        with broken_off(self):
            return self.loop.step(x_t, target)

    def end(self) -> BatchStats:
        """Close the stream."""
        check_open(self.ended)
        self.ended = True
        with broken_off(self):
            stats = self.loop.end()
            check_loss(stats.loss)
        return stats


@contextmanager
def broken_off(stream: "OnlineStream | LearnStream") -> Generator[None]:
    """A stream in which something goes wrong (Ctrl-C among it) ends, and leaves no gradient to what is learnt
    next.
    """
    try:
        yield
    except BaseException:
        stream.ended = True
        stream.learning.clear_gradients()
        raise


def check_open(ended: bool) -> None:
    """Raise `UserError` for a stream that is closed."""
    if ended:
        raise UserError("this stream has ended: open another with Trainer.stream()")


def check_step(learning: Learning, x_t: Any, batch: int) -> Tensor:
    """One step's inputs with the weights' type; raises `UserError` unless they are `[batch, n_in]`."""
    weight, n = learning.network.readout.synapse.weight, learning.network.n_in
    given = as_numbers("inputs", x_t)
    if tuple(given.shape) != (batch, n):
        raise UserError(f"a step of this stream is [{batch}, {n}], got {list(given.shape)}")
    check_data("inputs", given)
    return given.to(weight.device, weight.dtype)
