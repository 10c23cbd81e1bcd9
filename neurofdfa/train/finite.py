"""Numbers are watched where they arise: NaN and infinity are refused before they spread.

A NaN is smaller than every threshold, so that a broken layer looks silent and its loss finite: nothing
downstream would tell. Everything here costs one sum per tensor, and one look at all of the sums together.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from neurofdfa.errors import Diverged, UserError
from neurofdfa.nn.network import Network


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value is NaN or infinite; whole numbers never are."""
    real = [x.detach() for x in tensors if x.is_floating_point() and x.numel()]
    if not real:
        return True
    if all(x.device.type == "cpu" for x in real):  # without a stack: of a few samples this would be a tenth
        finite = math.isfinite(sum(float(x.sum()) for x in real))
    else:
        finite = bool(torch.stack([x.sum().double() for x in real]).isfinite().all())
    if finite:
        return True
    return all(bool(x.isfinite().all()) for x in real)  # finite values may have a sum that is not


def check_data(what: str, tensor: Tensor) -> None:
    """Raise `UserError` for inputs or targets with values that are not finite."""
    constant = tensor.dim() > 1 and tensor.stride(0) == 0  # one step that is seen at all times
    if not all_finite([tensor[:1] if constant else tensor]):
        raise UserError(
            f"the {what} have values that are NaN or infinite, and nothing is learnt from them: look for "
            "missing or corrupt samples (torch.isfinite), or replace them (torch.nan_to_num)"
        )


def check_gradients(network: Network, found: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Raise `Diverged`, with the layer's name, unless all (tensor, gradient) are finite."""
    if all_finite(gradient for _, gradient in found):
        return
    broken = next(tensor for tensor, gradient in found if not all_finite([gradient]))
    raise Diverged(
        f"the gradient of {name_of(network, broken)} is NaN or infinite, and was not applied: lower the "
        "learning rate or the scale of inputs and weights, and go on from a state that was kept before"
    )


def check_loss(loss: Tensor) -> None:
    """Raise `Diverged` unless a batch's mean loss is finite."""
    if not all_finite([loss]):
        raise Diverged(
            f"the loss at the readout is {float(loss)}: lower the learning rate or the scale of inputs and "
            "weights, and go on from a state that was kept before"
        )


def check_weights(network: Network, tensors: Sequence[Tensor]) -> None:
    """Raise `Diverged`, with the layer's name, unless all weights (and learnt feedback) are finite."""
    if all_finite(tensors):
        return
    broken = next(tensor for tensor in tensors if not all_finite([tensor]))
    raise Diverged(
        f"{name_of(network, broken)} has weights that are NaN or infinite: go on from a state that was kept "
        "before, with a lower learning rate"
    )


def name_of(network: Network, tensor: Tensor) -> str:
    """The layer that a parameter belongs to, counted from 1; what is no parameter is a rule's feedback."""
    for index, layer in enumerate(network.hidden, 1):
        if any(tensor is p for p in layer.parameters()):
            return f"hidden layer {index}"
    if any(tensor is p for p in network.readout.parameters()):
        return "the readout"
    return "the rule's feedback"
