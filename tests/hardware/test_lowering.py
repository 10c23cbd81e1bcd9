"""Convolution, pooling and flattening as matrices, against torch's own."""

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from neurofdfa_hardware.chip.kernel import Kernel, dense
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.lowering import lower


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(0, 2**32 - 1),
)
def test_conv_equals_torch(per_group, groups, out_per_group, kernel, stride, padding, dilation, seed):
    rng = np.random.default_rng(seed)
    shape = (per_group * groups, 7, 6)
    weight = rng.normal(size=(out_per_group * groups, per_group, *kernel))
    bias = rng.normal(size=out_per_group * groups)
    node = nir.Conv2d((7, 6), weight, stride, padding, dilation, groups, bias)
    image = rng.normal(size=shape)
    expected = F.conv2d(
        torch.from_numpy(image)[None],
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        stride,
        padding,
        dilation,
        groups,
    )[0].numpy()
    lowered = lower("c", node, shape)
    assert lowered.shape == expected.shape
    np.testing.assert_allclose(
        dense(lowered.weight) @ image.ravel() + lowered.bias, expected.ravel(), atol=1e-12
    )


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
def test_pools_equal_torch(kernel, padding, rng):
    image = rng.normal(size=(2, 6, 6))
    arguments = (np.array(kernel), np.array((2, 1)), np.array(padding))
    mean = F.avg_pool2d(torch.from_numpy(image)[None], kernel, (2, 1), padding)[0].numpy()
    average = lower("p", nir.AvgPool2d(*arguments), (2, 6, 6))
    total = lower("p", nir.SumPool2d(*arguments), (2, 6, 6))
    assert average.shape == total.shape == mean.shape
    np.testing.assert_allclose(dense(average.weight) @ image.ravel(), mean.ravel(), atol=1e-12)
    np.testing.assert_allclose(
        dense(total.weight) @ image.ravel(), mean.ravel() * kernel[0] * kernel[1], atol=1e-12
    )


def test_same_padding_keeps_the_image_and_refuses_what_is_lopsided(rng):
    weight = rng.normal(size=(1, 1, 3, 3))
    node = nir.Conv2d((5, 5), weight, 1, "same", 1, 1, np.zeros(1))
    assert lower("c", node, (1, 5, 5)).shape == (1, 5, 5)
    even = nir.Conv2d((5, 5), weight[:, :, :2, :2], 1, "same", 1, 1, np.zeros(1))
    with pytest.raises(HardwareError, match="node 'c': padding 'same' is lopsided"):
        lower("c", even, (1, 5, 5))


def test_flatten_keeps_the_order_and_says_the_shape():
    node = nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1)
    assert (lower("f", node, (2, 3, 4)).weight, lower("f", node, (2, 3, 4)).shape) == (None, (24,))
    assert lower("f", nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2), (2, 3, 4)).shape == (2, 12)
    # a graph whose exporter counted a batch axis, on what is flat already
    assert lower("f", nir.Flatten({"input": None}), (24,)).shape == (24,)


@pytest.mark.parametrize(
    ("node", "shape", "message"),
    [
        (nir.Linear(np.ones((2, 3))), (4,), "expects 3 inputs but hears shape"),
        (nir.Linear(np.ones((2, 3, 4))), (4,), r"only \[out, in\]"),
        (nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), (4,), "works on images"),
        (
            nir.SumPool2d(np.array([9, 9]), np.array([2, 2]), np.array([0, 0])),
            (1, 4, 4),
            "larger than its image",
        ),
        (nir.Conv2d(None, np.ones((2, 3, 1, 1)), 1, 0, 1, 1, np.zeros(2)), (2, 4, 4), r"in 1 group\(s\)"),
        (nir.Scale(np.ones(3)), (4,), r"scale of node 'x' has shape \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(node, shape, message):
    with pytest.raises(HardwareError, match=message):
        lower("x", node, shape)


def test_a_large_convolution_stays_a_kernel():
    """64 × 256 × 256 neurons of one image: 2.7e11 entries as a matrix."""
    lowered = lower("x", nir.Conv2d(None, np.ones((64, 1, 3, 3)), 1, 1, 1, 1, np.zeros(64)), (1, 256, 256))
    assert isinstance(lowered.weight, Kernel)
    assert lowered.weight.values.shape == (64, 1, 3, 3)
    assert lowered.weight.apply(np.ones((1, 65536), np.float32)).max() == 9
