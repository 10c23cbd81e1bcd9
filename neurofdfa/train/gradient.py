"""Gradients without autograd: sums that land in `.grad`, where any `torch.optim` optimizer looks for them."""

import torch
from torch import Tensor

from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.synapse import Synapse
from neurofdfa.rules.traces import LayerGradient


def add_layer(layer: SpikingLayer, gradient: LayerGradient, weight: float) -> None:
    """Add a layer's gradient, a sum over samples, to its parameters' `grad`. weight: of each sample."""
    add_synapse(layer.synapse, gradient, weight)
    if layer.recurrent is not None and gradient.recurrent is not None:
        accumulate(layer.recurrent.weight, gradient.recurrent, weight)
    if layer.time_constants is not None:
        learnt = layer.time_constants
        for logit, part in ((learnt.membrane, gradient.membrane), (learnt.synapse, gradient.synapse)):
            if logit is not None and part is not None:
                accumulate(logit, part, weight)


def add_synapse(synapse: Synapse, gradient: LayerGradient, weight: float) -> None:
    """The same for one set of synapses."""
    accumulate(synapse.weight, gradient.weight, weight)
    if synapse.bias is not None and gradient.bias is not None:
        accumulate(synapse.bias, gradient.bias, weight)


def accumulate(tensor: Tensor, gradient: Tensor, weight: float) -> None:
    """Add weight · gradient to the tensor's `grad`."""
    if tensor.grad is None:
        tensor.grad = torch.zeros_like(tensor)
    tensor.grad.add_(gradient, alpha=weight)


def gradient_of(tensor: Tensor) -> Tensor:
    """What has been accumulated; zeros where nothing was."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
