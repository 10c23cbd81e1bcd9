"""Hidden layers in words: how they are read, and what is said where they cannot be."""

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.nn.layer_spec import Conv, Delay, Pool, plain, plan, read_stage
from neurofdfa.nn.network import feed_forward
from neurofdfa.nn.pooling import SumPool
from neurofdfa.nn.synapse import Conv2d, Dense


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        (128, 128),
        (" 128", 128),
        ("conv 16x3x5", Conv(16, (3, 5))),
        ("Conv  16x3x5 pad 1  stride 2 ", Conv(16, (3, 5), stride=2, padding=1)),
        ("pool 2", Pool(2)),
        ("delay 3", Delay(3, 3)),
        ("Delay 0-7", Delay(0, 7)),
    ],
)
def test_reading(text, stage):
    assert read_stage(text) == stage
    assert read_stage(plain(text)) == stage


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (0, "1 neuron or more, got 0"),
        ("-3", "1 neuron or more, got -3"),
        ("conv 16", "'conv 16' is not understood: write conv CHANNELSxROWSxCOLUMNS"),
        ("conv 16x3x3 same", "is not understood"),
        ("conv 16x3x3 pad 1 pad 2", "says the same thing twice"),
        ("conv 0x3x3", "are 1 or more"),
        ("conv 4x3x3 stride 0", "are 1 or more"),
        ("pool", "write pool WINDOW"),
        ("delay", "write delay STEPS or delay LEAST-MOST"),
        ("delay 5-2", "the shortest delay comes first"),
        ("pool 0", "a window has 1 row or more"),
        ("lstm 5", "'lstm 5' is no layer: write a number of neurons, conv"),
        ("", "'' is no layer"),
    ],
)
def test_what_is_not_understood(text, words):
    with pytest.raises(UserError, match=words):
        read_stage(text)


def test_a_chain_finds_its_shapes():
    chain = plan(128, ["pool 2", "conv 4x3x3 pad 1", "pool 2", "pool 2", 7], 3, shape=(2, 8, 8), bias=True)
    first, second = chain.layers
    assert isinstance(first, Conv2d)
    assert (first.n_in, first.pool, first.shape, first.image) == (
        128,
        SumPool((2, 8, 8), 2),
        (2, 4, 4),
        (4, 4, 4),
    )
    assert isinstance(second, Dense)
    assert second.pool == SumPool((4, 4, 4), 4), "two pools in a row are one"
    assert (second.n_in, second.weight.shape) == (64, (7, 4))
    assert (chain.readout.n_in, chain.readout.n_out, chain.readout.pool) == (7, 3, None)
    assert chain.recurrent == (None, None)
    last = plan(64, ["conv 2x3x3", "pool 3"], 5, shape=(1, 8, 8)).readout
    assert last.pool == SumPool((2, 6, 6), 3)


def test_recurrence_of_a_convolution_keeps_its_image():
    own = plan(64, ["conv 4x3x3 stride 2", 5], 2, shape=(1, 8, 8), recurrent=True).recurrent
    assert isinstance(own[0], Conv2d)
    assert own[0].shape == own[0].image == (4, 3, 3)
    assert isinstance(own[1], Dense)
    with pytest.raises(UserError, match=r"'conv 4x2x2': a recurrent convolution keeps .* not with 2 x 2"):
        plan(64, ["conv 4x2x2"], 2, shape=(1, 8, 8), recurrent=True)


@pytest.mark.parametrize(
    ("hidden", "shape", "words"),
    [
        (["conv 4x3x3"], (), "'conv 4x3x3': it needs an image below it and finds 64 neurons in a row"),
        ([10, "pool 2"], (1, 8, 8), "'pool 2': it needs an image below it and finds 10 neurons"),
        (["pool 3"], (1, 8, 8), "'pool 3': a pool of 3 x 3 does not tile an image of 8 x 8"),
        (["conv 4x9x9"], (1, 8, 8), "'conv 4x9x9': a kernel of 9 x 9 is larger"),
        (["delay 1", "delay 2", 5], (), "'delay 2': one delay follows another"),
        (["pool 2"], (1, 8, 8), "at least one layer of neurons"),
        ([5], (1, 8, 9), "a shape of .1, 8, 9. does not fit 64 inputs"),
    ],
)
def test_what_does_not_fit(hidden, shape, words):
    with pytest.raises(UserError, match=words):
        feed_forward(64, hidden, 3, shape=shape)


def test_weights_come_from_the_generator_alone():
    def drawn(seed):
        return feed_forward(
            64, ["conv 4x3x3", 5], 3, shape=(1, 8, 8), generator=torch.Generator().manual_seed(seed)
        ).state_dict()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert list(first) == ["layers.0.synapse.weight", "layers.1.synapse.weight", "readout.dense.weight"]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.synapse.weight"], other["layers.0.synapse.weight"])
    assert float(first["layers.1.synapse.weight"].std()) == pytest.approx((4 * 36) ** -0.5, rel=0.1)
