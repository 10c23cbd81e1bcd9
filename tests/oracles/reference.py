"""A slow, independent statement of the same networks, differentiable by torch, to check the core against.

Nothing here calls the core's dynamics. Weights alone are shared, by the names that `names_of` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.nn.surrogate import FastSigmoid

Weights = dict[str, Tensor]
SURROGATE = FastSigmoid(width=0.7, height=0.8)


class Spec(NamedTuple):
    """The dynamics, spelled out in plain numbers."""

    alpha: float
    beta: float
    theta: float
    hard: bool
    attached: bool
    kappa: float
    spiking_readout: bool
    hidden: int
    adaptation: float
    rho: float


def spec_of(network: Network) -> Spec:
    lif = network.hidden[0].neuron
    return Spec(
        lif.alpha,
        lif.beta,
        lif.v_threshold,
        lif.reset == "hard",
        lif.reset_gradient == "attached",
        network.readout.kappa,
        network.readout.kind == "spike-count",
        len(network.hidden),
        lif.adaptation,
        lif.rho,
    )


def names_of(network: Network) -> list[str]:
    """Names of `network.parameters()` by layer: hidden.0.weight, hidden.0.recurrent.weight, readout.bias …"""
    owners: dict[int, str] = {}
    for owner, layer in [
        *((f"hidden.{index}", layer) for index, layer in enumerate(network.hidden)),
        ("readout", network.readout),
    ]:
        for module in (layer.synapse.module, *([layer.cell] if owner != "readout" else [])):
            for name, tensor in module.named_parameters():
                owners[id(tensor)] = f"{owner}.{name}"
    return [owners[id(tensor)] for tensor in network.parameters()]


def named(network: Network) -> list[tuple[str, Tensor]]:
    """All parameters with the names of `names_of`."""
    return list(zip(names_of(network), network.parameters(), strict=True))


def weights_of(network: Network, *, requires_grad: bool = False) -> Weights:
    """Copies, in the order of `network.parameters()`."""
    copies = {name: tensor.detach().clone() for name, tensor in named(network)}
    for tensor in copies.values() if requires_grad else ():
        tensor.requires_grad_()
    return copies


def smooth_spike(distance: Tensor) -> Tensor:
    """A function whose derivative is the fast-sigmoid surrogate ψ = h / (1 + |d|/w)²: h d / (1 + |d|/w)."""
    return SURROGATE.height * distance / (1.0 + distance.abs() / SURROGATE.width)


def hard_spike(distance: Tensor) -> Tensor:
    """H(d) in value, ψ in derivative."""
    smooth = smooth_spike(distance)
    return (distance > 0).to(distance.dtype) + (smooth - smooth.detach())


def remembering(kappa: float) -> dict[str, Any]:
    """Settings of a readout with this κ."""
    if kappa == 1.0:
        return {"readout": "integrator"}
    return {"readout": "leaky", "tau_out": -1e-3 / math.log(kappa) if kappa else 1e-9}


class Outcome(NamedTuple):
    """y `[T, B, k]`; transmitted tensors per step and layer (graph nodes), spikes `[T, B, n]` per layer."""

    y: Tensor
    sent: list[list[Tensor]]
    spikes: list[Tensor]
    count: Tensor


def simulate(
    w: Weights,
    x: Tensor,
    spec: Spec,
    *,
    spike: Callable[[Tensor], Tensor] = hard_spike,
    masks: Sequence[Tensor | None] | None = None,
    probes: Sequence[Sequence[Tensor]] | None = None,
    cut_recurrence: bool = False,
    delays: Sequence[Tensor | None] | None = None,
) -> Outcome:
    """Run a sequence `[T, B, n]`. probes[t][l] is added to what layer l transmits at step t.

    delays: steps by which the spikes in front of each layer and the readout arrive late, `[n]`.

    cut_recurrence: no derivative flows through recurrent spikes (what a rule without paths through
    other neurons can see).
    """
    steps, batch, _ = x.shape
    names = [f"hidden.{index}" for index in range(spec.hidden)]
    out = "readout"
    widths = [w[f"{name}.weight"].shape[0] for name in names]
    k = w[f"{out}.weight"].shape[0]
    cells = [[x.new_zeros(batch, n) for _ in range(4)] for n in [*widths, k]]
    recurrent_in = [x.new_zeros(batch, n) for n in widths]
    y = x.new_zeros(batch, k)
    ys: list[Tensor] = []
    sent_log: list[list[Tensor]] = []
    spike_log: list[list[Tensor]] = [[] for _ in names]
    count_log: list[Tensor] = []

    def lif(cell: list[Tensor], drive: Tensor, layer: str = "", adaptation: float = 0.0) -> list[Tensor]:
        i, u, s, a = cell
        alpha, beta = (
            torch.sigmoid(w[f"{layer}.time_constants.{name}"])
            if f"{layer}.time_constants.{name}" in w
            else uniform
            for name, uniform in (("synapse", spec.alpha), ("membrane", spec.beta))
        )
        reset = s if spec.attached else s.detach()
        i = alpha * i + drive
        u = beta * u * (1 - reset) + i if spec.hard else beta * u + i - spec.theta * reset
        a = spec.rho * a + s
        return [i, u, spike(u - (spec.theta + adaptation * a)), a]

    sent_to: list[list[Tensor]] = [[] for _ in [*names, out]]

    def arrived(index: int, sent: Tensor) -> Tensor:
        if not delays or delays[index] is None:
            return sent
        sent_to[index].append(sent)
        past = [torch.zeros_like(sent)] * int(delays[index].max()) + sent_to[index]
        return torch.stack([past[-1 - int(d)][:, i] for i, d in enumerate(delays[index])], 1)

    for t in range(steps):
        pre = x[t]
        row: list[Tensor] = []
        for index, name in enumerate(names):
            pre = arrived(index, pre)
            drive = pre @ w[f"{name}.weight"].T
            if f"{name}.bias" in w:
                drive = drive + w[f"{name}.bias"]
            if f"{name}.recurrent.weight" in w:
                heard = recurrent_in[index].detach() if cut_recurrence else recurrent_in[index]
                drive = drive + heard @ w[f"{name}.recurrent.weight"].T
            cells[index] = lif(cells[index], drive, name, spec.adaptation)
            s = cells[index][2]
            spike_log[index].append(s)
            mask = None if masks is None else masks[index]
            probe = 0.0 if probes is None else probes[t][index]
            pre = (s if mask is None else s * mask) + probe
            recurrent_in[index] = pre if mask is None else s + probe
            row.append(pre)
        sent_log.append(row)
        pre = arrived(len(names), pre)
        drive = pre @ w[f"{out}.weight"].T
        if f"{out}.bias" in w:
            drive = drive + w[f"{out}.bias"]
        if spec.spiking_readout:
            cells[-1] = lif(cells[-1], drive)
            drive = cells[-1][2]
            count_log.append(drive)
        y = spec.kappa * y + drive
        ys.append(y)
    counted = torch.stack(count_log) if count_log else x.new_zeros(0)
    return Outcome(torch.stack(ys), sent_log, [torch.stack(s) for s in spike_log], counted)


def sequence_loss(y: Tensor, target: Tensor, when: str | int) -> Tensor:
    """Cross-entropy for class indices, half squared error for values; mean over the batch."""
    weights = torch.zeros(len(y), dtype=y.dtype)
    if when == "every-step":
        weights[:] = 1.0 / len(y)
    elif isinstance(when, int):
        weights[when:] = 1.0 / len(y[when:])
    else:
        weights[-1] = 1.0
    total = y.new_zeros(())
    for t, weight in enumerate(weights):
        if target.dtype == torch.int64:
            per_sample = -torch.log_softmax(y[t], 1)[torch.arange(len(target)), target]
        else:
            goal = target[t] if target.dim() == 3 else target
            per_sample = 0.5 * ((y[t] - goal) ** 2).sum(1)
        total = total + weight * per_sample.mean()
    return total


def reference_gradients(
    network: Network,
    x: Tensor,
    target: Tensor,
    when: str | int,
    *,
    spec: Spec | None = None,
    cut_recurrence: bool = False,
) -> tuple[Tensor, ...]:
    """∂loss/∂parameters by autograd through time, in the order of `network.parameters()`."""
    w = weights_of(network, requires_grad=True)
    outcome = simulate(w, x, spec or spec_of(network), cut_recurrence=cut_recurrence)
    loss = sequence_loss(outcome.y, target, when)
    return torch.autograd.grad(loss, list(w.values()), materialize_grads=True)


def relative(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ / ‖b‖."""
    return float(((a - b).norm() / b.norm()).detach())


def small_network(
    seed: int = 3, gain: float = 1.6, *, lif: LIF, readout_gain: float = 0.8, **settings
) -> Network:
    """Five inputs, six hidden neurons a layer, three outputs, float64, firing enough for resets to matter."""
    generator = torch.Generator().manual_seed(seed)
    hidden = settings.pop("hidden", [6])
    network = feed_forward(5, hidden, 3, neuron=lif, generator=generator, **settings).double()
    network.initialise(generator, gain=gain, readout_gain=readout_gain, recurrent_gain=0.8)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return network


def spike_train(seed: int = 5, steps: int = 12, batch: int = 4, n: int = 5, rate: float = 0.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, n, generator=generator) < rate).double()
