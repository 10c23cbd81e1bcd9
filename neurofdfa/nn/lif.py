"""The leaky integrate-and-fire neuron: parameters, state, one pure step and its tangent, side by side.

    i[t] = α i[t−1] + drive[t]                           α = exp(−dt/τ_syn)
    u[t] = β u[t−1] + i[t] − θ s[t−1]      (soft reset)   β = exp(−dt/τ_mem)
    u[t] = β u[t−1] (1 − s[t−1]) + i[t]    (hard reset)
    s[t] = H(u[t] − θ), strictly above

With an adaptive threshold (ALIF; Bellec et al. 2018, 2020) every spike makes the next ones harder:

    a[t] = ρ a[t−1] + s[t−1],   s[t] = H(u[t] − θ − b a[t])   ρ = exp(−dt/τ_a); the reset stays at θ

The state keeps `u` as it was when it was compared with the threshold; the reset acts one step later, which
is the same dynamics as a chip that clears the membrane right after the spike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from neurofdfa.errors import UserError
from neurofdfa.nn.surrogate import FastSigmoid, Surrogate

Reset = Literal["hard", "soft"]
ResetGradient = Literal["detached", "attached"]
Spike = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LIF:
    """Parameters of a population of LIF neurons.

    tau_mem, tau_syn: time constants in seconds; tau_syn = 0 is an instantaneous synapse.
    dt: length of a step in seconds. v_threshold: θ in membrane units.
    reset: "soft" subtracts θ, "hard" sets the membrane to zero (what Loihi does).
    reset_gradient: whether learning differentiates through the reset ("attached") or not ("detached").
    decay_bits: when set, α and β are rounded to multiples of 2^−bits, as a chip stores them (Loihi: 12).
    surrogate: ψ, see `neurofdfa.nn.surrogate`.
    adaptation: b, by how much a spike raises the threshold; 0 for a threshold that is fixed. tau_adapt: τ_a.

    Raises `UserError` for time constants or thresholds that are not finite and positive, for unknown
    resets and for decay_bits outside 1 to 52.
    """

    tau_mem: float = 5e-3
    tau_syn: float = 0.0
    dt: float = 1e-3
    v_threshold: float = 1.0
    reset: Reset = "soft"
    reset_gradient: ResetGradient = "detached"
    decay_bits: int | None = None
    surrogate: Surrogate = field(default_factory=FastSigmoid)
    adaptation: float = 0.0
    tau_adapt: float = 0.2

    def __post_init__(self) -> None:
        for name in ("tau_mem", "dt", "v_threshold", "tau_adapt"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} must be a finite number above 0, got {value}")
        if not (math.isfinite(self.tau_syn) and self.tau_syn >= 0):
            raise UserError(
                f"tau_syn must be a finite number, 0 (no synaptic filter) or more, got {self.tau_syn}"
            )
        if not (math.isfinite(self.adaptation) and self.adaptation >= 0):
            raise UserError(
                f"adaptation must be a finite number, 0 (a fixed threshold) or more, got {self.adaptation}"
            )
        if self.decay_bits is not None and not 1 <= self.decay_bits <= 52:
            raise UserError(
                f"decay_bits must be from 1 to 52, or None for exact decays, got {self.decay_bits}"
            )
        if self.reset not in ("hard", "soft"):
            raise UserError(f"reset must be 'hard' or 'soft', got '{self.reset}'")
        if self.reset_gradient not in ("detached", "attached"):
            raise UserError(f"reset_gradient must be 'detached' or 'attached', got '{self.reset_gradient}'")

    @property
    def alpha(self) -> float:
        """Decay of the synaptic current per step, 0 ≤ α < 1."""
        return decay(self.tau_syn, self.dt, self.decay_bits)

    @property
    def beta(self) -> float:
        """Decay of the membrane per step, 0 ≤ β < 1."""
        return decay(self.tau_mem, self.dt, self.decay_bits)

    @property
    def rho(self) -> float:
        """Decay of the threshold's adaptation per step, 0 ≤ ρ < 1."""
        return decay(self.tau_adapt, self.dt, self.decay_bits)


class Dynamics(Protocol):
    """What a step needs of its neurons: a `LIF`, or one whose decays differ between neurons, `[n]`
    (`neurofdfa.nn.time_constants`).
    """

    @property
    def alpha(self) -> float | Tensor: ...  # noqa: D102

    @property
    def beta(self) -> float | Tensor: ...  # noqa: D102

    @property
    def rho(self) -> float: ...  # noqa: D102

    @property
    def adaptation(self) -> float: ...  # noqa: D102

    @property
    def v_threshold(self) -> float: ...  # noqa: D102

    @property
    def reset(self) -> Reset: ...  # noqa: D102

    @property
    def reset_gradient(self) -> ResetGradient: ...  # noqa: D102

    @property
    def surrogate(self) -> Surrogate: ...  # noqa: D102


NO_ADAPTATION = torch.zeros(1, 1)


class LIFState(NamedTuple):
    """Current, membrane and spikes, each `[B, n]`; spikes are 0 or 1 in the membrane's dtype.

    a: how far the threshold has adapted, in units of `adaptation`; nobody reads it where that is 0.
    """

    i: Tensor
    u: Tensor
    s: Tensor
    a: Tensor = NO_ADAPTATION


class LIFTangent(NamedTuple):
    """Directional derivatives of a `LIFState` along one direction, each `[B, n]`."""

    i: Tensor
    u: Tensor
    s: Tensor
    a: Tensor = NO_ADAPTATION


def decay(tau: float, dt: float, bits: int | None = None) -> float:
    """exp(−dt/tau), 0 for tau = 0; rounded to `bits` binary digits when given, at most 1 − 2^−bits."""
    exact = 0.0 if tau == 0 else math.exp(-dt / tau)
    if bits is None:
        return exact
    levels = 1 << bits
    return min(round(exact * levels), levels - 1) / levels


def heaviside(distance: Tensor) -> Tensor:
    """1 where strictly above threshold, else 0, in the dtype of `distance`."""
    return (distance > 0).to(distance.dtype)


def lif_step(drive: Tensor, state: LIFState, lif: Dynamics, spike: Spike = heaviside) -> LIFState:
    """One time step. drive: synaptic input W s_pre + b, `[B, n]`.

    `spike` maps u − θ to spikes; the default has no derivative, `surrogate_spike` has one for BPTT.
    """
    s_reset = state.s if lif.reset_gradient == "attached" else state.s.detach()
    i = lif.alpha * state.i + drive if filters(lif.alpha) else drive
    if lif.reset == "hard":
        u = lif.beta * state.u * (1.0 - s_reset) + i
    else:
        u = lif.beta * state.u + i - lif.v_threshold * s_reset
    if not lif.adaptation:
        return LIFState(i, u, spike(u - lif.v_threshold), state.a)
    a = lif.rho * state.a + state.s
    return LIFState(i, u, spike(u - lif.v_threshold - lif.adaptation * a), a)


def filters(decay: float | Tensor) -> bool:
    """Whether a filter with this decay remembers anything."""
    return isinstance(decay, Tensor) or decay != 0.0


def own_derivative(before: LIFState, lif: Dynamics) -> tuple[Tensor | float, Tensor | float]:
    """∂u/∂u⁻ with the last spike held fixed, and −∂u/∂s⁻: what the reset takes per spike (0 if detached).

    soft: β and θ; hard: β(1 − s⁻) and βu⁻. With s⁻ = H(u⁻ − θ) they are d = β − θψ⁻ and β(1 − s⁻) − βu⁻ψ⁻.
    Bellec et al. 2020 (e-prop), extended to both resets.
    """
    attached = lif.reset_gradient == "attached"
    if lif.reset == "soft":
        return lif.beta, lif.v_threshold if attached else 0.0
    return lif.beta * (1.0 - before.s), lif.beta * before.u if attached else 0.0


def psi(state: LIFState, lif: Dynamics) -> Tensor:
    """ψ at the distance from threshold, `[B, n]`."""
    distance = state.u - lif.v_threshold
    return lif.surrogate(distance - lif.adaptation * state.a if lif.adaptation else distance)


def lif_tangent_step(
    drive_dot: Tensor, tangent: LIFTangent, before: LIFState, after_psi: Tensor, lif: Dynamics
) -> LIFTangent:
    """The derivative of `lif_step` along a direction: i̇ = αi̇⁻ + ḋrive, u̇ = d·u̇⁻ + i̇, ṡ = ψ(u̇ − bȧ).

    drive_dot: tangent of the synaptic input, `[B, n]`. before: the state that the step started from.
    after_psi: ψ of the state that it led to.
    """
    i = lif.alpha * tangent.i + drive_dot if filters(lif.alpha) else drive_dot
    kept, lost = own_derivative(before, lif)
    u = kept * tangent.u + i
    if not (isinstance(lost, float) and lost == 0.0):
        u = u - lost * tangent.s
    if not lif.adaptation:
        return LIFTangent(i, u, after_psi * u, tangent.a)
    a = lif.rho * tangent.a + tangent.s
    return LIFTangent(i, u, after_psi * (u - lif.adaptation * a), a)


class _SurrogateSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, distance: Tensor, shape: Surrogate) -> Tensor:
        ctx.shape = shape  # pyright: ignore[reportAttributeAccessIssue]
        ctx.save_for_backward(distance)
        return heaviside(distance)

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        return grad_outputs[0] * ctx.shape(distance), None  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def surrogate_spike(lif: Dynamics) -> Spike:
    """A spike function whose backward pass is ψ; for the BPTT reference alone."""

    def spike(distance: Tensor) -> Tensor:
        return _SurrogateSpike.apply(distance, lif.surrogate)  # pyright: ignore[reportUnknownMemberType, reportReturnType, reportUnknownVariableType]

    return spike
