"""What a batch of sequences has to look like, and what learning from one reports."""

from typing import NamedTuple

from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.network import Network


def check_batch(network: Network, x: Tensor, target: Tensor) -> None:
    """Raise `UserError` unless x is `[T, B, n_in]` and target `[B]`, `[B, k]` or `[T, B, k]` to fit."""
    if x.dim() != 3 or 0 in x.shape[:2]:
        raise UserError(
            f"inputs are [time, batch, channels] with at least one step and sample, got {tuple(x.shape)}"
        )
    steps, batch, channels = x.shape
    k = network.n_out
    if channels != network.n_in:
        raise UserError(f"the network has {network.n_in} input channels, the batch has {channels}")
    if tuple(target.shape) not in ((batch,), (batch, k), (steps, batch, k)):
        raise UserError(
            f"targets {tuple(target.shape)} do not fit {steps} steps of {batch} samples and {k} outputs:"
            f" give [{batch}] labels, or values [{batch}, {k}] or [{steps}, {batch}, {k}]"
        )
    if target.dim() == 1:
        low, high = (-1, -1) if target.is_floating_point() else (int(x) for x in target.aminmax())
        if low < 0 or high >= k:
            raise UserError(f"with {k} outputs the targets are whole-number labels from 0 to {k - 1}")


class BatchStats(NamedTuple):
    """Measures of one training sequence, left on the device so that training never waits for them.

    loss: mean over the batch, `[]`. scores: decoded outputs `[B, k]`. rates: spikes per neuron and step,
    per hidden layer `[L]`. psi_zero: share of pseudo-derivatives that are exactly zero, `[L]`.
    """

    loss: Tensor
    scores: Tensor
    rates: Tensor
    psi_zero: Tensor
