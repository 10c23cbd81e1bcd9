"""NIR's linear nodes as weights over flattened (C-order) neurons: matrices, or kernels that stay kernels."""

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.errors import HardwareError

Float64 = NDArray[np.float64]
Shape = tuple[int, ...]

LINEAR_NODES = (
    nir.Linear,
    nir.Affine,
    nir.Scale,
    nir.Conv1d,
    nir.Conv2d,
    nir.SumPool2d,
    nir.AvgPool2d,
    nir.Flatten,
)


@dataclass(frozen=True)
class Lowered:
    """A linear node applied to inputs of one shape: `weight` (None: the identity), `bias`, output `shape`.

    weight: `[n, n_source]`, or a kernel. factor `[n]`: multiplies neuron by neuron instead.
    """

    weight: Float64 | Kernel | None
    bias: Float64 | None
    shape: Shape
    factor: Float64 | None = None


def lower(name: str, node: nir.NIRNode, shape: Shape) -> Lowered:
    """The weights of `node` for inputs of `shape`.

    Raises `HardwareError`, naming the node, when the shapes do not fit.
    """
    if isinstance(node, nir.Linear | nir.Affine):
        return _lower_linear(name, node, shape)
    if isinstance(node, nir.Scale):
        return Lowered(None, None, shape, _broadcast(name, "scale", node.scale, shape))
    if isinstance(node, nir.Flatten):
        return Lowered(None, None, _flattened(node, shape))
    if isinstance(node, nir.Conv2d):
        return _lower_conv(name, node, shape)
    if isinstance(node, nir.Conv1d):
        return _lower_conv1d(name, node, shape)
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        return _lower_pool(name, node, shape)
    raise HardwareError(f"node {name!r} is not a linear node")


def _lower_linear(name: str, node: nir.Linear | nir.Affine, shape: Shape) -> Lowered:
    weight = _finite(name, "weight", node.weight)
    if weight.ndim != 2:
        raise HardwareError(f"node {name!r} has a weight of shape {weight.shape}: only [out, in] maps")
    if shape != (weight.shape[1],):
        raise HardwareError(
            f"node {name!r} expects {weight.shape[1]} inputs but hears shape {shape}: "
            "put a Flatten before it, or correct the weight"
        )
    bias = None
    if isinstance(node, nir.Affine):
        bias = _broadcast(name, "bias", node.bias, (weight.shape[0],))
    return Lowered(weight, bias, (weight.shape[0],))


def _broadcast(name: str, parameter: str, value: Any, shape: Shape, infinite: bool = False) -> Float64:
    """`value` over `shape`, flattened; a vector of one value per channel is accepted for images."""
    array = _finite(name, parameter, value, infinite)
    if array.ndim == 1 and len(shape) in (2, 3) and array.shape[0] == shape[0]:
        array = array.reshape(-1, *(1,) * (len(shape) - 1))
    if array.size == 1:
        array = array.reshape(())
    try:
        return np.broadcast_to(array, shape).reshape(-1).copy()
    except ValueError:
        raise HardwareError(
            f"{parameter} of node {name!r} has shape {array.shape}, its neurons {shape}"
        ) from None


def _finite(name: str, parameter: str, value: Any, infinite: bool = False) -> Float64:
    array = np.asarray(value, np.float64)
    if np.any(np.isnan(array)) or not (infinite or np.all(np.isfinite(array))):
        raise HardwareError(f"{parameter} of node {name!r} holds NaN or infinity")
    return array


def _flattened(node: nir.Flatten, shape: Shape) -> Shape:
    axes = len(shape)
    start = min(int(node.start_dim) + (axes if node.start_dim < 0 else 0), axes - 1)
    end = min(int(node.end_dim) + (axes if node.end_dim < 0 else 0), axes - 1)
    if end < start:
        return shape
    middle = int(np.prod(shape[start : end + 1]))
    return (*shape[:start], middle, *shape[end + 1 :])


def _pair(value: Any) -> tuple[int, int]:
    array = np.asarray(value).reshape(-1)
    return int(array[0]), int(array[-1])


def _image(name: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise HardwareError(f"node {name!r} works on images [channels, rows, columns], not on shape {shape}")
    return shape[0], shape[1], shape[2]


def _padding(name: str, node: nir.Conv2d, kernel: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(node.padding, str):
        return _pair(node.padding)
    if node.padding == "valid":
        return 0, 0
    spread = [d * (k - 1) for d, k in zip(_pair(node.dilation), kernel, strict=True)]
    if any(s % 2 for s in spread):
        raise HardwareError(f"node {name!r}: padding 'same' is lopsided for kernel {kernel}: use numbers")
    return spread[0] // 2, spread[1] // 2


def _lower_conv(name: str, node: nir.Conv2d, shape: Shape) -> Lowered:
    image = _image(name, shape)
    weight = _finite(name, "weight", node.weight)
    out_channels, group_channels, *size = weight.shape
    groups = int(node.groups)
    if len(size) != 2 or group_channels * groups != shape[0] or out_channels % groups:
        raise HardwareError(
            f"node {name!r} has a weight of shape {weight.shape} in {groups} group(s) but hears shape {shape}"
        )
    padding = _padding(name, node, (size[0], size[1]))
    kernel = Kernel(weight, image, _pair(node.stride), padding, _pair(node.dilation), groups)
    lowered = _lower_kernel(name, kernel)
    bias = np.repeat(_broadcast(name, "bias", node.bias, (out_channels,)), int(np.prod(lowered.shape[1:])))
    return replace(lowered, bias=bias if np.any(bias) else None)


def _lower_conv1d(name: str, node: nir.Conv1d, shape: Shape) -> Lowered:
    """As a convolution over an image of one row."""
    if len(shape) != 2 or np.ndim(node.weight) != 3:
        raise HardwareError(f"node {name!r} works on [channels, places], not on shape {shape}")
    padding = node.padding if isinstance(node.padding, str) else (0, _pair(node.padding)[0])
    flat = nir.Conv2d(
        None,
        np.asarray(node.weight)[:, :, None],
        (1, _pair(node.stride)[0]),
        padding,
        (1, _pair(node.dilation)[0]),
        node.groups,
        node.bias,
    )
    lowered = _lower_conv(name, flat, (shape[0], 1, shape[1]))
    return replace(lowered, shape=(lowered.shape[0], lowered.shape[2]))


def _lower_pool(name: str, node: nir.SumPool2d | nir.AvgPool2d, shape: Shape) -> Lowered:
    image, size = _image(name, shape), _pair(node.kernel_size)
    share = 1.0 if isinstance(node, nir.SumPool2d) else 1.0 / (size[0] * size[1])
    values = np.full((shape[0], 1, *size), share)
    return _lower_kernel(
        name, Kernel(values, image, _pair(node.stride), _pair(node.padding), groups=shape[0])
    )


def _lower_kernel(name: str, kernel: Kernel) -> Lowered:
    if min(kernel.out) < 1:
        size = kernel.values.shape[2:]
        raise HardwareError(f"node {name!r}: its kernel {size} is larger than its image {kernel.image}")
    return Lowered(kernel, None, kernel.out)


def per_neuron(name: str, parameter: str, value: Any, shape: Shape, infinite: bool = False) -> Float64:
    """A neuron parameter over `shape`, flattened. Raises `HardwareError` when it does not fit.

    infinite: whether it may be infinite, as the time constant of a neuron that does not leak is.
    """
    return _broadcast(name, parameter, value, shape, infinite)
