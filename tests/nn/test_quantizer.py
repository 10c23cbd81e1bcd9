"""Learning through a quantiser: the grid, its straight-through derivative, and the chip's same integers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.interop.nir import export_nir
from neurofdfa.lab.deploy import trained_steps
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.nn.quantizer import GAUSSIAN_STEP, WeightQuantizer
from neurofdfa.rules import FDFA
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer
from neurofdfa_hardware.nir.graph import load
from neurofdfa_hardware.quantization.quantize import quantize


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_step_is_the_best_for_normal_weights(bits: int) -> None:
    weight = torch.randn(200_000, generator=torch.Generator().manual_seed(bits), dtype=torch.float64)
    low, high = WeightQuantizer(bits).levels

    def error(step: float) -> float:
        return float(((weight / step).round().clamp(low, high) * step - weight).square().mean())

    best = GAUSSIAN_STEP[bits]
    assert error(best) < min(error(best * 1.15), error(best / 1.15))
    values = torch.unique((WeightQuantizer(bits).round(weight) / WeightQuantizer(bits).step(weight)).round())
    assert values.min() >= low
    assert values.max() <= high
    assert len(values) <= 2**bits + (bits == 1)


def test_bits_outside_the_chip_are_refused() -> None:
    for bits in (0, 9, -1):
        with pytest.raises(UserError, match="1 to 8"):
            WeightQuantizer(bits)


def trained(bits: int) -> tuple[Network, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(10, 32, 20, generator=generator) < 0.4).float()
    target = torch.randint(0, 4, (32,), generator=generator)
    net = feed_forward(20, [30, 25], 4, neuron=LIF(reset="hard", decay_bits=12), weight_bits=bits)
    scale_to_rate(net, x, 0.15)
    learner = Trainer(net, FDFA(), torch.optim.Adam(net.parameters(), lr=1e-2), engine="reference")
    for _ in range(5):
        learner.step(x, target)
    return net, x


def test_spikes_see_the_grid_while_the_float_weights_learn() -> None:
    net, _ = trained(3)
    for layer in net.hidden:
        seen = layer.synapse.quantized_weight
        assert len(torch.unique((seen / WeightQuantizer(3).step(layer.synapse.weight)).round())) <= 8
        assert len(torch.unique(layer.synapse.weight)) > 100


def test_backpropagation_passes_straight_through() -> None:
    net, x = trained(4)
    target = torch.zeros(x.shape[1], dtype=torch.int64)
    through = Trainer(net, BPTT(), engine="reference").gradients(x, target)
    rounded = [
        synapse.quantized_weight.detach().clone()
        for synapse in (*(h.synapse for h in net.hidden), net.readout.synapse)
    ]
    for synapse, weight in zip((*(h.synapse for h in net.hidden), net.readout.synapse), rounded, strict=True):
        synapse.module.quantizer = None
        synapse.weight.data.copy_(weight)
    for a, b in zip(through, Trainer(net, BPTT(), engine="reference").gradients(x, target), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_chip_holds_the_integers_that_were_trained(bits: int, tmp_path: Path) -> None:
    net, x = trained(bits)
    export_nir(net, tmp_path / "net.nir", x)
    read = load(tmp_path / "net.nir")
    quantized = quantize(read, bits, x.numpy().astype(np.uint8), steps=trained_steps(net, bits))
    assert all(layer.weight_error < 1e-5 for layer in quantized.report.layers)
