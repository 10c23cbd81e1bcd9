"""Eligibility traces from behind: what every input of a step adds to the gradient of a whole sequence.

    Σ_t λ[t] trace[t] = Σ_τ δ[τ] ⊗ x[τ]

x is what a synapse hears in step τ, and δ a filter of the learning signals that runs from the last step to
the first. Where all signals of a sequence are known, this gives the numbers of `neurofdfa.rules.traces`
without a value per synapse and step: δ is one number per neuron. For a LIF neuron, with the κ-filtered λ̃,

    g = λ̃ + A⁺ − l E⁺,   E = ψ g + k E⁺,   A = ρ A⁺ − b ψ g,   δ = α δ⁺ + E

k = ∂u/∂u⁻ and l = −∂u/∂s⁻ are those of the reset, ρ and b those of an adaptive threshold. E is what anything
adds that enters the membrane: a neuron's own β learns from Σ E ∂u/∂β, its α from Σ δ i⁻.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import LIF, filters
from neurofdfa.rules.s_tllr import SpikeTiming
from neurofdfa.rules.sltt import Instant
from neurofdfa.rules.traces import PerNeuron, PerSynapse, passing_gain


class Recorded(NamedTuple):
    """What a layer did in all steps of a sequence, `[T, B, n]` each: ψ, and its spikes s and membranes u."""

    psi: Tensor
    s: Tensor
    u: Tensor


class Behind(NamedTuple):
    """δ, `[T, B, n]`, and E where time constants learn."""

    delta: Tensor
    error: Tensor | None = None


Adjoint = Callable[[Any, SpikingLayer, float, Tensor, Recorded], Behind]


def adjoint_of(trace: Any, layer: SpikingLayer) -> Adjoint | None:
    """How to compute `Behind` from a trace, its layer, the readout's κ, the signals λ `[T, B, n]` and what
    was recorded; None where nobody knows. A trace that is filtered downstream is bound (`bind_path`).
    """
    if not isinstance(layer.cell, LIF) or (type(trace) is PerNeuron and not layer.plain):
        return None
    if learns(layer) and (type(trace) is not PerSynapse or trace.downstream):
        return None
    return next((adjoint for kind, adjoint in _ADJOINTS.items() if type(trace) is kind), None)


def learns(layer: SpikingLayer) -> bool:
    """Whether a layer's time constants are learnt."""
    return layer.time_constants is not None and layer.time_constants.learn


def filter_back(x: Tensor, decay: float | Tensor) -> Tensor:
    """x[t] ← x[t] + decay · x[t+1], from the last step to the first, in place."""
    if isinstance(decay, Tensor) or filters(decay):
        later = x[-1]
        for now in reversed(x[:-1].unbind()):
            later = now.add_(decay * later) if isinstance(decay, Tensor) else now.add_(later, alpha=decay)
    return x


def _instant(trace: Instant, layer: SpikingLayer, kappa: float, signal: Tensor, seen: Recorded) -> Behind:
    return Behind(signal * seen.psi)


def _per_neuron(
    trace: PerNeuron, layer: SpikingLayer, kappa: float, signal: Tensor, seen: Recorded
) -> Behind:
    delta = signal * seen.psi
    for decay in trace.decays(layer, kappa):
        filter_back(delta, decay)
    return Behind(delta.mul_(passing_gain(trace.path)) if trace.path else delta)


def _spike_timing(
    trace: SpikeTiming, layer: SpikingLayer, kappa: float, signal: Tensor, seen: Recorded
) -> Behind:
    causal = filter_back(trace.gain_pre * signal * seen.psi, trace.decay_pre)
    after = seen.psi.clone()
    for before, now in zip(after[:-1].unbind(), after[1:].unbind(), strict=True):
        now.add_(before, alpha=trace.decay_post)
    causal[1:].addcmul_(signal[1:], after[:-1], value=trace.gain_post)
    return Behind(causal)


def _per_synapse(
    trace: PerSynapse, layer: SpikingLayer, kappa: float, signal: Tensor, seen: Recorded
) -> Behind:
    lif, delta = layer.dynamics, signal.clone()
    for decay in ((kappa,) if trace.filtered else ()) + trace.path:
        filter_back(delta, decay)
    if trace.path:
        delta.mul_(passing_gain(trace.path))
    hard, attached = lif.reset == "hard", lif.reset_gradient == "attached"
    error = lag = torch.zeros_like(delta[0])
    steps = zip(*(x.unbind() for x in (delta, seen.psi, seen.s, seen.u)), strict=True)
    for here, psi, s, u in reversed(list(steps)):
        if attached:
            here.sub_(error * (lif.beta * u if hard else lif.v_threshold))
        if lif.adaptation:
            here.add_(lag)
        here.mul_(psi)
        if lif.adaptation:
            lag = lif.rho * lag - lif.adaptation * here
        kept = lif.beta * error
        error = here.add_(kept * (1.0 - s) if hard else kept)
    entered = delta.clone() if learns(layer) else None
    return Behind(filter_back(delta, lif.alpha), entered)


_ADJOINTS: dict[type[Any], Adjoint] = {
    Instant: _instant,
    PerNeuron: _per_neuron,
    PerSynapse: _per_synapse,
    SpikeTiming: _spike_timing,
}
