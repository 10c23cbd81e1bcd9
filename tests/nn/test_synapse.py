import math

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.pooling import SumPool
from neurofdfa.nn.synapse import Convolution, Dense
from tests.oracles.convolution import slow_matrix, slow_pool


def test_dense_by_hand():
    dense = Dense(Linear(2, 3, bias=True).double())
    with torch.no_grad():
        dense.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        dense.bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    pre = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert dense(pre).tolist() == [[1.5, 3.0, 4.5], [3.5, 7.0, 10.5]]
    assert dense.linear(pre).tolist() == [[1.0, 3.0, 5.0], [3.0, 7.0, 11.0]]
    assert (dense.n_in, dense.n_out) == (2, 3)
    assert dense.weight.t().is_contiguous(), "one input's weights lie side by side"


def test_dense_gradient_is_the_outer_product_summed_over_the_batch():
    dense = Dense(Linear(2, 3))
    delta, trace = torch.randn(4, 3), torch.randn(4, 2)
    expected = sum(torch.outer(d, p) for d, p in zip(delta, trace, strict=True))
    torch.testing.assert_close(dense.gradient(delta, trace), expected)


def test_initialise_draws_from_the_generator_alone(generator):
    dense = Linear(400, 300, bias=True)
    torch.manual_seed(1)
    dense.initialise(2.0, torch.Generator().manual_seed(9))
    first = dense.weight.detach().clone()
    torch.manual_seed(2)
    dense.initialise(2.0, torch.Generator().manual_seed(9))
    assert torch.equal(first, dense.weight)
    dense.initialise(2.0, generator)
    assert not torch.equal(first, dense.weight)
    assert float(first.std()) == pytest.approx(2.0 / math.sqrt(400), rel=0.02)
    assert not dense.bias.any()


@pytest.mark.parametrize(("n_in", "n"), [(0, 3), (3, 0), (-1, 3)])
def test_empty_layers(n_in, n):
    with pytest.raises(UserError, match="a layer needs at least one of its"):
        Linear(n_in, n)


# ---- convolutions and pools, against loops over every weight ---------------------------------------------
GEOMETRIES = [
    # image, channels, kernel, stride, padding
    ((1, 5, 5), 2, (3, 3), 1, 0),
    ((2, 4, 6), 3, (2, 3), 1, 1),
    ((2, 5, 7), 2, (3, 2), 2, 1),
    ((3, 4, 4), 1, (1, 1), 3, 0),
]


def conv(geometry, pool=None, bias=False, seed=0) -> Convolution:
    shape, channels, kernel, stride, padding = geometry
    module = Conv2d(shape[0], channels, kernel, stride, padding, bias).double()
    synapse = Convolution(module, shape, pool=pool)
    module.initialise(1.0, torch.Generator().manual_seed(seed))
    if bias:
        with torch.no_grad():
            synapse.bias.copy_(torch.arange(1.0, channels + 1))
    return synapse


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("window", [None, 2])
def test_a_convolution_is_the_dense_map_that_shares_its_weights(geometry, window):
    depth, rows, columns = geometry[0]
    pool = None if window is None else SumPool((depth, rows * window, columns * window), window)
    synapse = conv(geometry, pool, bias=True)
    matrix = slow_matrix(geometry, synapse.weight.detach())
    if pool is not None:
        matrix = matrix @ slow_pool(pool.shape, window)
    x, delta, other = normal(3, synapse.n_in), normal(3, synapse.n_out, seed=2), normal(*synapse.weight.shape)
    bias = torch.arange(1.0, synapse.channels + 1, dtype=torch.float64).repeat_interleave(synapse.sites)
    close = torch.testing.assert_close
    with torch.no_grad():
        close(synapse.linear(x), x @ matrix.t())
        close(synapse(x), x @ matrix.t() + bias)
        close(synapse.transpose(delta), delta @ matrix)
        close(synapse.fan_out, (matrix != 0).sum(0).double())
        # another set of weights in the same places
        elsewhere = slow_matrix(geometry, other)
        elsewhere = elsewhere if pool is None else elsewhere @ slow_pool(pool.shape, window)
        close(synapse.linear(x, other), x @ elsewhere.t())
        close(synapse.transpose(delta, other), delta @ elsewhere)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("window", [None, 2])
def test_gradients_of_shared_weights_are_sums_over_their_places(geometry, window):
    depth, rows, columns = geometry[0]
    pool = None if window is None else SumPool((depth, rows * window, columns * window), window)
    synapse = conv(geometry, pool, bias=True)
    x, delta = normal(3, synapse.n_in), normal(3, synapse.n_out, seed=2)
    weight = synapse.weight.detach().clone().requires_grad_()
    summed = x if pool is None else x @ slow_pool(pool.shape, window).t()
    drive = summed @ slow_matrix(geometry, weight).t()
    (wanted,) = torch.autograd.grad((drive * delta).sum(), weight)
    found = synapse.gradient(delta, x)
    torch.testing.assert_close(found, wanted)
    each = synapse.gradient_per_sample(delta, x)
    torch.testing.assert_close(each.sum(0).view_as(found), wanted)
    torch.testing.assert_close(each[1].view_as(found), synapse.gradient(delta[1:2], x[1:2]))
    sum_sites = delta.view(3, synapse.channels, synapse.sites)
    torch.testing.assert_close(synapse.bias_gradient(delta), sum_sites.sum((0, 2)))
    torch.testing.assert_close(synapse.sum_sites(delta), sum_sites.sum(2))
    heard = synapse.patches(x) @ synapse.weight.detach().flatten(1).t()
    torch.testing.assert_close(heard.transpose(1, 2).flatten(1), synapse.linear(x).detach())


def test_a_dense_layer_behind_a_pool():
    pool = SumPool((2, 4, 6), 2)
    dense = Dense(Linear(12, 5, bias=True).double(), pool=pool)
    dense.module.initialise(1.0, torch.Generator().manual_seed(0))
    x, delta = normal(3, 48), normal(3, 5, seed=2)
    matrix = dense.weight.detach() @ slow_pool(pool.shape, 2)
    assert dense.weight.shape == (5, 12)
    with torch.no_grad():
        torch.testing.assert_close(dense(x), x @ matrix.t())
        torch.testing.assert_close(dense.transpose(delta), delta @ matrix)
    torch.testing.assert_close(dense.gradient(delta, x), delta.t() @ x @ slow_pool(pool.shape, 2).t())
    assert dense.fan_out.tolist() == [5.0] * 48


def test_sums_of_spikes_are_whole_numbers_in_float32():
    """An average that is multiplied back is not: 1/9 has no exact form."""
    pool = SumPool((1, 9, 9), 3)
    x = (torch.rand(50, 81, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    assert torch.equal(pool(x), pool(x).round())


def test_a_convolution_can_learn_on_a_grid():
    synapse = Convolution(Conv2d(1, 4, 3, weight_bits=3), (1, 6, 6))
    synapse.module.initialise(1.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert len(synapse.quantized_weight.unique()) <= 8
        torch.testing.assert_close(
            synapse(torch.eye(36)), synapse.linear(torch.eye(36), synapse.quantized_weight)
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SumPool((1, 5, 6), 2), "2 x 2 does not tile an image of 5 x 6"),
        (lambda: Convolution(Conv2d(1, 2, (7, 3)), (1, 5, 5)), "7 x 3 is larger than its image of 5 x 5"),
        (lambda: Conv2d(1, 0, 3), "1 or more"),
        (lambda: Conv2d(1, 2, 3, padding=-1), "0 or more"),
        (
            lambda: Convolution(Conv2d(1, 2, 3), (1, 5, 5), pool=SumPool((1, 8, 8), 2)),
            "does not fit a convolution",
        ),
        (lambda: Dense(Linear(5, 2), pool=SumPool((1, 8, 8), 2)), "pool of 16 sums does not fit 5 inputs"),
    ],
)
def test_what_does_not_fit(make, words):
    with pytest.raises(UserError, match=words):
        make()
