"""Kernels as dense matrices, against PyTorch's convolution."""

import itertools

import numpy as np
import pytest
import torch

from neurofdfa_hardware.chip.kernel import Kernel


def through(kernel: Kernel, image: np.ndarray) -> np.ndarray:
    return kernel.dense() @ image.reshape(-1)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    itertools.product([(1, 1), (2, 3)], [(0, 0), (1, 2)], [(1, 1), (2, 1)], [1, 2]),
)
def test_the_dense_matrix_is_pytorchs_convolution(stride, padding, dilation, groups, rng):
    values = rng.integers(-9, 10, (4, 2 // groups, 2, 3))
    kernel = Kernel(values, (2, 7, 6), stride, padding, dilation, groups)
    image = rng.integers(-9, 10, (2, 7, 6))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(image)[None].double(), torch.from_numpy(values).double(), None, stride, padding,
        dilation, groups
    )[0]  # fmt: skip
    assert kernel.out == tuple(expected.shape)
    assert np.array_equal(through(kernel, image), expected.numpy().reshape(-1))
    rows = np.stack([image.reshape(-1), 2 * image.reshape(-1)])
    assert np.array_equal(kernel.apply(rows), rows @ kernel.dense().T)
    back = np.arange(2 * kernel.shape[0]).reshape(2, -1)
    assert np.array_equal(kernel.pull(back), back @ kernel.dense())
    target, source, weight = kernel.listed()
    again = np.zeros(kernel.shape, np.int64)
    again[target, source] = weight
    assert np.array_equal(again, kernel.dense())
    used = kernel.dense() != 0
    assert np.array_equal(kernel.fan_in(), used.sum(axis=1))
    for first, stop in ((0, kernel.shape[0]), (1, 2), (kernel.shape[0] // 3, kernel.shape[0] // 2 + 1)):
        assert np.array_equal(kernel.heard(first, stop), used[first:stop].any(axis=0))


def blocks(image: tuple[int, int, int], size: tuple[int, int]) -> Kernel:
    return Kernel(np.ones((image[0], 1, *size), np.int64), image, size, groups=image[0])


@pytest.mark.parametrize(
    ("image", "padding", "fits"),
    [
        ((2, 8, 6), (0, 0), True),
        ((2, 8, 6), (1, 1), True),
        ((2, 9, 7), (0, 0), True),
        ((2, 9, 6), (1, 0), False),
    ],
)
@pytest.mark.parametrize(("stride", "groups"), [((1, 1), 1), ((2, 1), 2)])
def test_a_convolution_behind_a_pool_is_one_convolution(image, padding, fits, stride, groups, rng):
    pool = blocks(image, (2, 3))
    kernel = Kernel(rng.integers(1, 10, (4, 2 // groups, 2, 1)), pool.out, stride, padding, (1, 1), groups)
    whole = kernel.behind(pool)
    assert (whole is not None) == fits
    if whole is not None:
        assert np.array_equal(whole.dense(), kernel.dense() @ pool.dense())


def test_only_pools_side_by_side_can_be_taken_in(rng):
    image = (2, 8, 8)
    kernel = Kernel(rng.integers(1, 10, (3, 2, 2, 2)), (2, 4, 4))
    for stride, padding in (((1, 1), (0, 0)), ((2, 2), (1, 1))):
        pool = Kernel(np.ones((2, 1, 2, 2), np.int64), image, stride, padding, groups=2)
        assert kernel.behind(pool) is None
    dilated = Kernel(kernel.values, (2, 4, 4), dilation=(2, 2))
    assert dilated.behind(blocks(image, (2, 2))) is None


def test_a_factor_per_neuron_is_shared_by_a_channel_or_by_nothing(rng):
    kernel = Kernel(rng.normal(size=(2, 1, 2, 2)), (1, 3, 3))
    factor = np.repeat([2.0, 3.0], 4)
    scaled = kernel.scaled(factor)
    assert scaled is not None
    assert np.array_equal(scaled.dense(), kernel.dense() * factor[:, None])
    assert kernel.scaled(np.arange(8.0)) is None
