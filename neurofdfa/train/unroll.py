"""A stretch of steps with its autograd graph, for backpropagation through time.

Where a network has no loops but those inside its neurons, a layer can run through all steps before the next
one starts: its products are one large product and its neurons one node of the graph, written out below.
Everything else (recurrent synapses, delays, adaptive or learnt neurons) goes step by step.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import LIF, LIFState, filters, lif_step, psi
from neurofdfa.nn.network import Masks, Network, NetworkState, NetworkStep
from neurofdfa.nn.readout import ReadoutState
from neurofdfa.nn.surrogate import heaviside
from neurofdfa.nn.synapse import Synapse


class Window(NamedTuple):
    """K steps. y: `[K, B, k]` and spikes: `[K, B, n]` per hidden layer, with their graph; psi_zero: share of
    ψ that is exactly 0, `[K, B]` per hidden layer; state: after the last step, without a graph.
    """

    y: Tensor
    spikes: tuple[Tensor, ...]
    psi_zero: tuple[Tensor, ...]
    state: NetworkState


def unroll(network: Network, x: Tensor, state: NetworkState, masks: Masks | None) -> Window:
    """Run `[K, B, n_in]` from `state`, whose graph ends here."""
    return _by_layer(network, x, state, masks) if layered(network) else _by_step(network, x, state, masks)


def layered(network: Network) -> bool:
    """Whether the layers can run one after the other, each through all steps."""
    return not network.delays and all(layer.plain and layer.recurrent is None for layer in network.hidden)


def _by_step(network: Network, x: Tensor, state: NetworkState, masks: Masks | None) -> Window:
    seen: list[NetworkStep] = []
    for pre in x:
        seen.append(network.step(pre, state, masks, differentiable=True))
        state = seen[-1].state
    layers = range(len(network.hidden))
    zeros = tuple(
        _zeros(layer.slopes([step.layers[k] for step in seen])) for k, layer in enumerate(network.hidden)
    )
    return Window(
        torch.stack([step.y for step in seen]),
        tuple(torch.stack([step.layers[k].after.s for step in seen]) for k in layers),
        zeros,
        _detached(state),
    )


def _by_layer(network: Network, x: Tensor, state: NetworkState, masks: Masks | None) -> Window:
    spikes: list[Tensor] = []
    zeros: list[Tensor] = []
    after: list[LIFState] = []

    def run(index: int, pre: Tensor) -> Tensor:
        s, psis, end = _run(network.hidden[index], pre, state.layers[index])
        spikes.append(s)
        after.append(end)
        zeros.append(_zeros(psis))
        mask = None if masks is None else masks.layers[index]
        return s if mask is None else s * mask

    shown = x if masks is None or masks.input is None else masked(x, masks.input)
    sent, _ = network.walk(shown, (), run)
    readout, neuron = network.readout, state.readout.neuron
    if readout.population is not None and neuron is not None:
        x_out, _, neuron = _run(readout.population, sent, neuron)
    else:
        x_out = over_time(readout.synapse, sent)
    y, ys = state.readout.y, list[Tensor]()
    for drive in x_out:
        y = readout.kappa * y + drive
        ys.append(y)
    end = NetworkState(tuple(after), ReadoutState(y.detach(), neuron), state.lines)
    return Window(torch.stack(ys), tuple(spikes), tuple(zeros), end)


def _run(layer: SpikingLayer, pre: Tensor, before: LIFState) -> tuple[Tensor, Tensor, LIFState]:
    """Spikes with their graph, ψ and the last state without."""
    drive = over_time(layer.synapse, pre)
    ran = cast(tuple[Tensor, ...], _LIFSequence.apply(drive, before, layer.neuron))  # pyright: ignore[reportUnknownMemberType]
    s, psis, i, u = ran
    return s, psis, LIFState(i, u, s[-1].detach(), before.a)


def over_time(synapse: Synapse, pre: Tensor) -> Tensor:
    """`[K, B, n_in]` → `[K, B, n_out]` as one product; of one step where all steps are the same."""
    if _constant(pre):
        return synapse(pre[0]).expand(len(pre), -1, -1)
    return synapse(pre.flatten(0, 1)).view(*pre.shape[:2], synapse.n_out)


def masked(pre: Tensor, mask: Tensor) -> Tensor:
    """The mask `[B, n_in]` is the same at every step, and so may be what it masks."""
    return (pre[0] * mask).expand_as(pre) if _constant(pre) else pre * mask


def _constant(pre: Tensor) -> bool:
    """Whether `[K, B, n]` is one step seen K times, as constant currents come from their encoder."""
    return len(pre) > 0 and pre.stride(0) == 0


def _zeros(psis: Tensor) -> Tensor:
    """`[K, B, n]` → the share of zeros, `[K, B]`."""
    return 1.0 - torch.count_nonzero(psis.detach(), dim=2).to(psis.dtype) / psis.shape[2]


class _LIFSequence(torch.autograd.Function):
    """`lif_step` over a sequence, and its adjoint with ψ for the spike's derivative."""

    @staticmethod
    def forward(ctx: FunctionCtx, drive: Tensor, state: LIFState, lif: LIF) -> tuple[Tensor, ...]:
        spikes, psis = torch.empty_like(drive), torch.empty_like(drive)
        membranes = torch.empty_like(drive if lif.reset == "hard" else drive[:0])
        for t, now in enumerate(drive):
            state = lif_step(now, state, lif, heaviside)
            spikes[t], psis[t] = state.s, psi(state, lif)
            if lif.reset == "hard":
                membranes[t] = state.u
        ctx.save_for_backward(spikes, psis, membranes)
        ctx.lif = lif  # pyright: ignore[reportAttributeAccessIssue]
        ctx.mark_non_differentiable(psis, state.i, state.u)
        return spikes, psis, state.i, state.u

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        spikes, psis, membranes = cast(tuple[Tensor, ...], ctx.saved_tensors)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        lif = cast(LIF, ctx.lif)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        return _adjoint(grad_outputs[0], spikes, psis, membranes, lif), None, None


def _adjoint(to_spikes: Tensor, spikes: Tensor, psis: Tensor, membranes: Tensor, lif: LIF) -> Tensor:
    """From the gradient of the spikes to that of the drive, `[K, B, n]`. membranes: for a hard reset."""
    to_drive = to_spikes * psis
    later_u = later_i = torch.zeros_like(spikes[0])
    for t in range(len(spikes) - 1, -1, -1):
        kept = lif.beta * later_u if lif.reset == "soft" else lif.beta * (1.0 - spikes[t]) * later_u
        if lif.reset_gradient == "attached":  # what a spike takes from the next membrane
            lost = lif.v_threshold if lif.reset == "soft" else lif.beta * membranes[t]
            kept -= later_u * psis[t] * lost
        later_u = kept.add_(to_drive[t])
        later_i = later_u + lif.alpha * later_i if filters(lif.alpha) else later_u
        to_drive[t] = later_i
    return to_drive


def _detached(state: NetworkState) -> NetworkState:
    layers = tuple(type(layer)(*(x.detach() for x in layer)) for layer in state.layers)
    neuron = state.readout.neuron
    neuron = None if neuron is None else type(neuron)(*(x.detach() for x in neuron))
    lines = tuple(None if line is None else line.detach() for line in state.lines)
    return NetworkState(layers, ReadoutState(state.readout.y.detach(), neuron), lines)
