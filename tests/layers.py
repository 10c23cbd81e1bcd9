"""Hidden layers as `feed_forward` and a config take them, in short; and a layer without a network."""

from typing import Any

from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.synapse import Dense


def conv_layer(out_channels: int, kernel_size: int | tuple[int, int], **more: Any) -> dict[str, Any]:
    return {"conv2d": {"out_channels": out_channels, "kernel_size": kernel_size, **more}}


def pool_layer(window: int) -> dict[str, Any]:
    return {"sumpool2d": window}


def delay_layer(least: int, most: int | None = None) -> dict[str, Any]:
    return {"delay": least if most is None else (least, most)}


def double_layer(linear: Linear, cell: Neuron) -> SpikingLayer:
    """A layer in float64."""
    return SpikingLayer(Dense(linear.double()), cell.double())
