"""Slow, differentiable statements of single layers and single steps, independent of the core's dynamics."""

from __future__ import annotations

import torch
from torch import Tensor

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.nn.surrogate import FastSigmoid
from neurofdfa.train.trainer import Trainer
from tests.oracles.reference import named

WIDTH, HEIGHT = 0.7, 0.8
LABELS = torch.tensor([0, 2, 1, 2])
RESETS = [(reset, gradient) for reset in ("soft", "hard") for gradient in ("detached", "attached")]


def psi(distance: Tensor) -> Tensor:
    return HEIGHT / (1.0 + distance.abs() / WIDTH) ** 2


def spike(distance: Tensor) -> Tensor:
    """H(d) in value, ψ in derivative."""
    slope = psi(distance.detach())
    return (distance > 0).to(distance.dtype) + slope * (distance - distance.detach())


def tiny(
    hidden: tuple[int, ...] = (6, 5),
    *,
    seed: int = 3,
    readout: str = "leaky",
    recurrent: bool = False,
    bias: bool = False,
    **lif,
) -> Network:
    """A busy float64 network of 7 inputs and 3 outputs."""
    settings = {"tau_mem": 4e-3, "tau_syn": 2e-3, "surrogate": FastSigmoid(WIDTH, HEIGHT)}
    settings |= {"reset": "soft", "decay_bits": None} | lif
    generator = torch.Generator().manual_seed(seed)
    network = feed_forward(
        7, hidden, 3, neuron=LIF(**settings), readout=readout, recurrent=recurrent, bias=bias, tau_out=5e-3
    ).double()
    network.initialise(generator, gain=1.6, recurrent_gain=0.8, readout_gain=1.0)
    if bias:
        with torch.no_grad():
            for layer in network.hidden:
                layer.synapse.bias.copy_(0.2 * torch.randn(layer.n, generator=generator))
    return network


def input_spikes(steps: int = 9, batch: int = 4, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, 7, generator=generator) < 0.5).double()


def learnt(network: Network, rule, x: Tensor, target: Tensor = LABELS, *, seed: int = 11, loss=None):
    """(learner, gradients by parameter name)."""
    learner = Trainer(
        network, rule, loss=loss, generator=torch.Generator().manual_seed(seed), engine="reference"
    )
    found = learner.gradients(x, target)
    return learner, dict(zip((name for name, _ in named(network)), found, strict=True))


def run_layer(
    lif: LIF, pre: Tensor, weight: Tensor, bias: Tensor | None = None, recurrent: Tensor | None = None
) -> Tensor:
    """Spikes `[T, B, n]`, differentiable through the neurons' own state; others' spikes are constants."""
    batch, n = pre.shape[1], weight.shape[0]
    i = u = s = pre.new_zeros(batch, n)
    spikes = []
    for p in pre:
        drive = p @ weight.T
        if bias is not None:
            drive = drive + bias
        if recurrent is not None:
            drive = drive + s.detach() @ recurrent.T
        i = lif.alpha * i + drive
        reset = s if lif.reset_gradient == "attached" else s.detach()
        u = (
            lif.beta * u * (1 - reset) + i
            if lif.reset == "hard"
            else lif.beta * u + i - lif.v_threshold * reset
        )
        s = spike(u - lif.v_threshold)
        spikes.append(s)
    return torch.stack(spikes)


def layer_leaves(network: Network) -> list[dict[str, Tensor]]:
    """Per hidden layer, copies of weight, bias and recurrent that autograd follows."""
    leaves = []
    for layer in network.hidden:
        own = {"weight": layer.synapse.weight, "bias": layer.synapse.bias}
        own["recurrent"] = None if layer.recurrent is None else layer.recurrent.weight
        leaves.append({k: v.detach().clone().requires_grad_() for k, v in own.items() if v is not None})
    return leaves


def run_layers(network: Network, x: Tensor, leaves: list[dict[str, Tensor]]) -> list[Tensor]:
    """Spikes of every layer; nothing is differentiated from one layer into the one below."""
    pre, spikes = x, []
    for layer, own in zip(network.hidden, leaves, strict=True):
        spikes.append(run_layer(layer.neuron, pre, **own))
        pre = spikes[-1].detach()
    return spikes


def filtered(kappa: float, sequence: Tensor) -> Tensor:
    """z = κ z⁻ + s along the first axis."""
    z, out = torch.zeros_like(sequence[0]), []
    for s in sequence:
        z = kappa * z + s
        out.append(z)
    return torch.stack(out)


def outputs(network: Network, spikes: Tensor) -> Tensor:
    """y of a non-spiking readout from the last layer's spikes."""
    return filtered(network.readout.kappa, spikes @ network.readout.synapse.weight.detach().T)


def errors(network: Network, spikes: Tensor, labels: Tensor = LABELS) -> Tensor:
    """e[t] of cross-entropy at every step, 1/T each: `[T, B, k]`."""
    y = outputs(network, spikes.detach()).requires_grad_()
    steps, _, k = y.shape
    loss = torch.nn.functional.cross_entropy(y.reshape(-1, k), labels.repeat(steps), reduction="sum") / steps
    return torch.autograd.grad(loss, y)[0]


def expect(found: dict[str, Tensor], layer: int, own: dict[str, Tensor], wanted) -> None:
    """Compare one layer's gradients, summed over the batch by the oracle, averaged by the learner."""
    names = {"weight": "weight", "bias": "bias", "recurrent": "recurrent.weight"}
    for key, gradient in zip(own, wanted, strict=True):
        assert gradient.abs().max() > 1e-6, f"the oracle's {key} gradient is empty: nothing is tested"
        ours = found[f"hidden.{layer}.{names[key]}"] * LABELS.shape[0]
        torch.testing.assert_close(ours, gradient, rtol=1e-9, atol=1e-12)
