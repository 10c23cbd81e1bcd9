"""What a batch of sequences has to look like, and what learning from one reports.

THE place where inputs, targets and losses are held against each other: behind it inputs are time-major,
labels are int64 and values have the weights' own type.
"""

import warnings
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.inputs import Given, Inputs, as_numbers, dense, is_lists
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network
from neurofdfa.train.finite import check_data


class BatchStats(NamedTuple):
    """Measures of one training sequence, left on the device so that training never waits for them.

    loss: mean over the batch, `[]`. scores: decoded outputs `[B, k]`. rates: spikes per neuron and step,
    per hidden layer `[L]`. psi_zero: share of pseudo-derivatives that are exactly zero, `[L]`.
    """

    loss: Tensor
    scores: Tensor
    rates: Tensor
    psi_zero: Tensor


def prepare(
    network: Network, loss: Loss, x: Given, target: Any, *, batch_first: bool | None = None
) -> tuple[Inputs, Tensor]:
    """Inputs `[T, B, n_in]` and a target `[B]`, `[B, k]` or `[T, B, k]` to fit them.

    Raises `UserError` for what does not fit, and for data that are batch-first where they should not be.
    Warns once where the shapes cannot tell and nobody has (batch_first is None).
    """
    wanted = as_numbers("targets", target)
    given = _time_major(x, batch_first)
    if batch_first and wanted.dim() == 3:
        wanted = wanted.transpose(0, 1)
    check_order(given, wanted, batch_first)
    check_inputs(network, given)
    steps, batch, _ = given.shape
    return given, prepare_target(network, loss, wanted, batch, steps)


def prepare_inputs(network: Network, x: Given, *, batch_first: bool | None = None) -> Inputs:
    """Inputs without a target, as `prepare` makes them."""
    given = _time_major(x, batch_first)
    check_inputs(network, given)
    return given


def prepare_target(network: Network, loss: Loss, target: Any, batch: int, steps: int | None) -> Tensor:
    """A target that the loss takes; steps: of the sequence, None for a target of a single step."""
    wanted, k = as_numbers("targets", target), network.n_out
    shapes = [(batch,), (batch, k), *([] if steps is None else [(steps, batch, k)])]
    if tuple(wanted.shape) not in shapes:
        where = "a step" if steps is None else f"{steps} steps"
        raise UserError(
            f"targets {tuple(wanted.shape)} do not fit {where} of {batch} samples and {k} outputs: give "
            f"[{batch}] labels, or values {' or '.join(str(list(shape)) for shape in shapes[1:])}"
        )
    weight, labels, takes = network.readout.synapse.weight, wanted.dim() == 1, getattr(loss, "takes", None)
    name = type(loss).__name__
    if takes == "values" and labels:
        raise UserError(
            f"{name} takes values [{batch}, {k}] and was given labels [{batch}]: give "
            f"torch.nn.functional.one_hot(target, {k}), or take CrossEntropy"
        )
    if takes == "labels" and not labels:
        raise UserError(
            f"{name} takes labels [{batch}] and was given values {list(wanted.shape)}: give "
            "target.argmax(-1), or take MeanSquaredError"
        )
    check_data("targets", wanted)
    if not labels:
        return wanted.to(weight.device, weight.dtype)
    if wanted.is_floating_point() or wanted.is_complex():
        raise UserError(f"with {k} outputs the targets are whole-number labels from 0 to {k - 1}")
    wanted = wanted.to(weight.device, torch.int64)
    low, high = (int(x) for x in wanted.aminmax())
    if low < 0 or high >= k:
        raise UserError(f"with {k} outputs the targets are whole-number labels from 0 to {k - 1}")
    return wanted


def prepare_lengths(x: Inputs, lengths: Any) -> Tensor | None:
    """Lengths `[B]` of time-major inputs; None where every sample is as long as the batch. Raises `UserError`
    for what is none.
    """
    if lengths is None:
        return None
    own, (steps, batch) = torch.as_tensor(lengths), x.shape[:2]
    whole = not (own.is_floating_point() or own.is_complex() or own.dtype == torch.bool)
    if not whole or tuple(own.shape) != (batch,) or int(own.min()) < 1 or int(own.max()) > steps:
        raise UserError(f"lengths are {batch} whole numbers from 1 to {steps}, one per sample, got {lengths}")
    return None if int(own.min()) == steps else own.to("cpu", torch.int64)


def check_inputs(network: Network, x: Inputs) -> None:
    """Raise `UserError` unless x is `[T, B, n_in]` with something in it."""
    if len(x.shape) != 3 or 0 in x.shape[:2]:
        raise UserError(
            f"inputs are [time, batch, channels] with at least one step and sample, got {tuple(x.shape)}"
        )
    if x.shape[2] != network.n_in:
        raise UserError(f"the network has {network.n_in} input channels, the batch has {x.shape[2]}")


def check_order(x: Inputs, target: Tensor, batch_first: bool | None) -> None:
    """Raise `UserError` for batch-first data that are taken as time-major, or the other way round."""
    if len(x.shape) != 3 or is_lists(x) or target.dim() == 0:
        return
    steps, batch = x.shape[:2]
    if target.dim() < 3:
        fits, other = len(target) == batch, len(target) == steps
    else:
        fits, other = tuple(target.shape[:2]) == (steps, batch), tuple(target.shape[:2]) == (batch, steps)
    if other and not fits:
        here, there = ("time-major", "False") if batch_first else ("batch-first", "True")
        raise UserError(
            f"there are {len(target) if target.dim() < 3 else target.shape[0]} targets and inputs "
            f"{tuple(x.shape)}, read as [time, batch, channels]: these data are {here}, "
            f"make the Trainer with batch_first={there}"
        )
    if batch_first is None and steps > 1 and (other or target.dim() == 3):
        _warn_of_order()


def densely(network: Network, x: Inputs) -> Tensor:
    """The tensor that inputs stand for, with the weights' type and on their device."""
    return dense(x, network.readout.synapse.weight)


def _time_major(x: Given, batch_first: bool | None) -> Inputs:
    """`[T, B, n]` from `[T, B, …]` or `[B, T, …]`; lists of events are time-major by themselves."""
    if is_lists(x):
        return x
    given = as_numbers("inputs", x)
    if given.is_complex():
        raise UserError("inputs are spikes or real numbers, got complex ones")
    check_data("inputs", given)
    if given.dim() > 3:
        given = given.flatten(2)
    return given.transpose(0, 1) if batch_first and given.dim() == 3 else given


@cache
def _warn_of_order() -> None:
    warnings.warn(
        "the shapes do not tell whether these data are batch-first, and they are read as [time, batch, "
        "channels]: make the Trainer with batch_first=True if they are [batch, time, channels], or with "
        "False to hear no more of it",
        stacklevel=5,
    )
