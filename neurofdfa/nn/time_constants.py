"""Time constants of a layer's neurons that differ from neuron to neuron, fixed or learnt by the local rule.

    β_j = σ(m_j),   α_j = σ(q_j)         m, q of any size keep the decays in (0, 1)

Drawn log-normally around the layer's own (heterogeneous neurons: Perez-Nieves et al. 2021), or given. Learnt
time constants: Fang et al. 2021 (PLIF, with backpropagation); here a neuron's own eligibility does it, as for
a synapse (`neurofdfa.rules.traces.PerSynapse`):

    ε^β = d ε^β⁻ + u⁻ (times 1 − s⁻ with a hard reset);    ε^α = d ε^α⁻ + x,   x = α x⁻ + i⁻
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.surrogate import Surrogate

if TYPE_CHECKING:
    from neurofdfa.nn.lif import LIF, Dynamics, LIFState, Reset, ResetGradient


@dataclass(frozen=True)
class MixedLIF:
    """A population whose decays α, β are `[n]` or one number for all; the rest is as in `LIF`."""

    alpha: float | Tensor
    beta: float | Tensor
    rho: float
    adaptation: float
    v_threshold: float
    reset: "Reset"
    reset_gradient: "ResetGradient"
    surrogate: Surrogate


class TimeConstants(nn.Module):
    """Decays of n neurons. tau_mem, tau_syn: seconds, `[n]`, or None for the neuron's own, the same for all.

    learn: whether the local rule (or BPTT) changes those that were given.
    dt: of a step, in seconds. Raises `UserError` for values that are not positive.
    """

    def __init__(
        self,
        dt: float,
        *,
        tau_mem: Tensor | None = None,
        tau_syn: Tensor | None = None,
        learn: bool = False,
    ) -> None:
        super().__init__()
        if tau_mem is None and tau_syn is None:
            raise UserError("give time constants of the membrane, of the synapse, or both")
        if tau_syn is not None and not bool((tau_syn > 0).all()):
            raise UserError("these neurons have no synaptic filter: give them a tau_syn above 0 first")
        self.learn = learn
        for name, tau in (("membrane", tau_mem), ("synapse", tau_syn)):
            value = None if tau is None else _logit(tau, dt)
            if value is not None and learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.membrane: Tensor | None
        self.synapse: Tensor | None
        if tau_mem is not None and tau_syn is not None and len(tau_mem) != len(tau_syn):
            raise UserError(f"{len(tau_mem)} time constants of membranes and {len(tau_syn)} of synapses")

    @property
    def n(self) -> int:
        """Number of neurons."""
        given = self.synapse if self.membrane is None else self.membrane
        assert given is not None
        return len(given)

    def dynamics(self, lif: "LIF") -> MixedLIF:
        """The neurons' decays in place of those of `lif`, rounded as there."""
        return MixedLIF(
            lif.alpha if self.synapse is None else _decay(self.synapse, lif.decay_bits),
            lif.beta if self.membrane is None else _decay(self.membrane, lif.decay_bits),
            lif.rho,
            lif.adaptation,
            lif.v_threshold,
            lif.reset,
            lif.reset_gradient,
            lif.surrogate,
        )

    def tau(self, which: str, dt: float) -> Tensor | None:
        """Time constants of the "membrane" or "synapse" now, `[n]` in seconds; None where all are equal."""
        logit = self.membrane if which == "membrane" else self.synapse
        return None if logit is None else -dt / nn.functional.logsigmoid(logit.detach())


def draw(n: int, tau: float, spread: float, generator: torch.Generator) -> Tensor:
    """Draw n time constants with median tau and standard deviation `spread` of their logarithm."""
    drawn = torch.randn(n, generator=generator, dtype=torch.float64, device=generator.device)
    return (tau * (spread * drawn).exp()).to(torch.get_default_dtype())


def membrane_source(before: "LIFState", lif: "Dynamics") -> Tensor:
    """∂u[t]/∂β with everything before t held fixed, `[B, n]`."""
    return before.u * (1.0 - before.s) if lif.reset == "hard" else before.u


def _decay(logit: Tensor, bits: int | None) -> Tensor:
    exact = torch.sigmoid(logit)
    if bits is None:
        return exact
    levels = 1 << bits
    rounded = (exact.detach() * levels).round().clamp(max=levels - 1) / levels
    return exact + (rounded - exact).detach() if torch.is_grad_enabled() else rounded


def _logit(tau: Tensor, dt: float) -> Tensor:
    """σ⁻¹(exp(−dt/τ)), exact for decays near 0 and near 1."""
    if tau.dim() != 1 or not bool((torch.isfinite(tau) & (tau > 0)).all()):
        raise UserError("time constants are one finite number above 0 per neuron, in seconds")
    rate = dt / tau.double()
    rate = rate.clamp(max=30.0)  # e⁻³⁰ is nothing, and its logit still a number
    return (-rate - torch.log(-torch.expm1(-rate))).to(tau.dtype)


def slope(logit: Tensor) -> Tensor:
    """dσ/dm, by which a decay's gradient becomes that of its parameter."""
    decay = torch.sigmoid(logit)
    return decay * (1.0 - decay)
