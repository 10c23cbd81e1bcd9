"""Which of Lava's processes a connection gets, without Lava."""

from dataclasses import replace

import numpy as np
import pytest

from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.program import Connection, Program
from neurofdfa_hardware.lava.forms import choose_forms, native_kernel
from tests.hardware.lava.nets import chain


def convolution(image=(1, 28, 28), channels=4, size=3, **options) -> Connection:
    values = np.random.default_rng(0).integers(1, 60, (channels, image[0], size, size)) * 2
    kernel = Kernel(values, image)
    return Connection("c", "input", "l1", kernel, **options)


def form(connection: Connection, synapses="auto") -> str:
    program = Program(784, chain((784, 1)).populations, (connection,), "l1")
    return choose_forms(program, synapses)["c"]


def test_the_fastest_form_is_chosen():
    assert form(convolution()) == "conv"
    assert form(convolution((1, 8, 8))) == "dense"
    assert form(convolution((8, 12, 12), 16)) == "sparse"
    assert form(Connection("c", "input", "l1", np.ones((600, 784), np.int64))) == "dense"


def test_a_form_can_be_asked_for():
    assert form(convolution((1, 8, 8)), "conv") == "conv"
    assert form(convolution(), "dense") == "dense"
    assert form(replace(convolution(), weight=convolution().weight.dense()), "conv") == "sparse"


@pytest.mark.parametrize("synapses", ["auto", "conv"])
def test_delays_are_dense(synapses):
    assert form(convolution(delay=np.asarray(2)), synapses) == "dense"


@pytest.mark.parametrize(
    ("options", "factor"),
    [({"weight_exp": 3}, 8), ({"weight_exp": -1}, 0.5), ({"weight_exp": -2}, None), ({"delay": 1}, None)],
)
def test_conv_is_handed_whole_shifted_weights_or_nothing(options, factor):
    """Every weight is even and not all are multiples of four."""
    if "delay" in options:
        options = {"delay": np.asarray(options["delay"])}
    one = convolution(**options)
    kernel = native_kernel(one)
    assert isinstance(one.weight, Kernel)
    assert (kernel is None) if factor is None else np.array_equal(kernel, one.weight.values * factor)
