"""Hidden layers as a config writes them: how they are read, and what is said where they cannot be."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.layer_spec import read_layer
from neurofdfa.nn.network import feed_forward
from neurofdfa.nn.pooling import SumPool
from neurofdfa.nn.synapse import Convolution, Dense
from tests.layers import conv_layer, delay_layer, pool_layer


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (128, "linear = 128"),
        ({"linear": 128}, "linear = 128"),
        ({"linear": {"n_out": 128, "bias": True}}, "linear = { n_out = 128, bias = True }"),
        (
            {"conv2d": {"out_channels": 16, "kernel_size": [3, 5]}},
            "conv2d = { out_channels = 16, kernel_size",
        ),
        (
            conv_layer(16, 3, padding=1, stride=2),
            "conv2d = { out_channels = 16, kernel_size = 3, padding = 1",
        ),
        (pool_layer(2), "sumpool2d = 2"),
        ({"avgpool2d": {"kernel_size": 2}}, "avgpool2d = 2"),
        (delay_layer(3), "delay = 3"),
        ({"delay": [0, 7]}, "delay = (0, 7)"),
    ],
)
def test_reading(entry, text):
    assert str(read_layer(entry)).startswith(text)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (0, "n_out is a whole number of 1 or more, got 0"),
        (True, "True is no layer: write a number of neurons or one of linear, conv2d"),
        ("conv 16x3x3", "'conv 16x3x3' is no layer: write a number of neurons or one of linear"),
        ({"conv2d": 16}, "conv2d needs kernel_size"),
        ({"conv2d": {"kernel_size": 3}}, "conv2d needs out_channels"),
        (conv_layer(16, 3, pad=1), "conv2d has no 'pad': it takes out_channels, kernel_size, stride"),
        (conv_layer(0, 3), "out_channels is a whole number of 1 or more"),
        (conv_layer(4, 3, stride=0), "stride is a whole number of 1 or more"),
        (conv_layer(4, (3, 3, 3)), "kernel_size is a whole number"),
        (conv_layer(4, 3, padding=-1), "padding is a whole number of 0 or more"),
        (conv_layer(4, 3, bias=1), "bias is true or false"),
        ({"delay": -1}, "steps is a whole number of 0 or more"),
        (pool_layer(0), "kernel_size is a whole number of 1 or more"),
        ({"lstm": 5}, "'lstm' is no layer"),
        ({"linear": 5, "delay": 1}, "is no layer"),
        ({}, "is no layer"),
    ],
)
def test_what_is_not_understood(entry, words):
    with pytest.raises(UserError, match=words):
        read_layer(entry)


def test_a_chain_finds_its_shapes():
    hidden = [pool_layer(2), conv_layer(4, 3, padding=1), pool_layer(2), pool_layer(2), 7]
    chain = feed_forward(128, hidden, 3, shape=(2, 8, 8), bias=True)
    first, second = (layer.synapse for layer in chain.hidden)
    assert isinstance(first, Convolution)
    assert (first.n_in, first.pool, first.shape, first.image) == (
        128,
        SumPool((2, 8, 8), 2),
        (2, 4, 4),
        (4, 4, 4),
    )
    assert isinstance(second, Dense)
    assert second.pool == SumPool((4, 4, 4), 4), "two pools in a row are one"
    assert (second.n_in, second.weight.shape) == (64, (7, 4))
    readout = chain.readout.synapse
    assert (readout.n_in, readout.n_out, readout.pool) == (7, 3, None)
    assert [layer.recurrent for layer in chain.hidden] == [None, None]
    last = feed_forward(64, [conv_layer(2, 3), pool_layer(3)], 5, shape=(1, 8, 8)).readout.synapse
    assert last.pool == SumPool((2, 6, 6), 3)


def test_recurrence_of_a_convolution_keeps_its_image():
    chain = feed_forward(64, [conv_layer(4, 3, stride=2), 5], 2, shape=(1, 8, 8), recurrent=True)
    own = [layer.recurrent for layer in chain.hidden]
    assert isinstance(own[0], Convolution)
    assert own[0].shape == own[0].image == (4, 3, 3)
    assert isinstance(own[1], Dense)
    with pytest.raises(UserError, match=r"a recurrent convolution keeps .* not with 2 x 2"):
        feed_forward(64, [conv_layer(4, 2)], 2, shape=(1, 8, 8), recurrent=True)


@pytest.mark.parametrize(
    ("hidden", "shape", "words"),
    [
        ([conv_layer(4, 3)], (), "'conv2d = .*': it needs an image below it and finds 64 neurons in a row"),
        ([10, pool_layer(2)], (1, 8, 8), "'sumpool2d = 2': it needs an image below it and finds 10 neurons"),
        ([pool_layer(3)], (1, 8, 8), "'sumpool2d = 3': a pool of 3 x 3 does not tile an image of 8 x 8"),
        ([conv_layer(4, 9)], (1, 8, 8), "'conv2d = .*': a kernel of 9 x 9 is larger"),
        ([delay_layer(1), delay_layer(2), 5], (), r"Delay\(2\): one delay follows another"),
        ([delay_layer(5, 2), 5], (), "'delay = .*': a delay is 0 steps or more, the shortest one first"),
        ([pool_layer(2), delay_layer(0, 3), 5], (1, 8, 8), "delays that differ stand in front of the pool"),
        ([pool_layer(2)], (1, 8, 8), "at least one layer of neurons"),
        ([5], (1, 8, 9), "a shape of .1, 8, 9. does not fit 64 inputs"),
    ],
)
def test_what_does_not_fit(hidden, shape, words):
    with pytest.raises(UserError, match=words):
        feed_forward(64, hidden, 3, shape=shape)


def test_weights_come_from_the_generator_alone():
    def drawn(seed):
        return feed_forward(
            64, [conv_layer(4, 3), 5], 3, shape=(1, 8, 8), generator=torch.Generator().manual_seed(seed)
        ).state_dict()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert list(first) == ["layers.0.weight", "layers.3.weight", "layers.5.weight"]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])
    assert float(first["layers.3.weight"].std()) == pytest.approx((4 * 36) ** -0.5, rel=0.1)
