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
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.surrogate import Surrogate, heaviside
from neurofdfa.nn.time_constants import TimeConstants, draw

Reset = Literal["hard", "soft"]
ResetGradient = Literal["detached", "attached"]
Spike = Callable[[Tensor], Tensor]

DECAY_BITS = 12
"""What a chip stores of a decay (Loihi), and the default everywhere."""

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


class LIF(Neuron):
    """A population of leaky integrate-and-fire neurons.

    tau_mem, tau_syn: time constants in seconds, one for all or one per neuron, `[n]`; tau_mem may be infinite
    (no leak), tau_syn = 0 is an instantaneous synapse. dt: length of a step in seconds.
    v_threshold: θ in membrane units.
    reset: "hard" sets the membrane to zero (what Loihi does), "soft" subtracts θ.
    reset_gradient: whether learning differentiates through the reset ("attached") or not ("detached").
    decay_bits: α and β are rounded to multiples of 2^−bits, as a chip stores them (Loihi: 12); None for exact
    decays. surrogate: ψ, see `neurofdfa.nn.surrogate`.
    adaptation: b, by how much a spike raises the threshold; 0 for a threshold that is fixed. tau_adapt: τ_a.
    recurrent: synapses from the population's own spikes, see `Neuron`.
    tau_mem_spread, tau_syn_spread: draw every neuron's own time constants around the given ones, with this
    standard deviation of their logarithm. learn_tau: let a rule learn every neuron's time constants, that of
    the synapse where it is not 0 (`neurofdfa.nn.time_constants`).

    Raises `UserError` for time constants or thresholds that are not finite and positive, for unknown
    resets and for decay_bits outside 1 to 52.

    >>> spikes, state = LIF(tau_mem=5e-3)(torch.rand(8, 128))
    """

    states: ClassVar[tuple[str, ...]] = ("i", "u", "a")
    State: ClassVar[Any] = LIFState

    def __init__(
        self,
        tau_mem: float | Tensor = 5e-3,
        tau_syn: float | Tensor = 0.0,
        dt: float = 1e-3,
        v_threshold: float = 1.0,
        reset: Reset = "hard",
        reset_gradient: ResetGradient = "detached",
        decay_bits: int | None = DECAY_BITS,
        surrogate: Surrogate | None = None,
        adaptation: float = 0.0,
        tau_adapt: float = 0.2,
        *,
        recurrent: bool | Linear | Conv2d = False,
        tau_mem_spread: float = 0.0,
        tau_syn_spread: float = 0.0,
        learn_tau: bool = False,
    ) -> None:
        super().__init__(surrogate=surrogate, dt=dt, recurrent=recurrent)
        for name, value in (("dt", dt), ("v_threshold", v_threshold), ("tau_adapt", tau_adapt)):
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} must be a finite number above 0, got {value}")
        self.tau_mem = _nominal(tau_mem, dt)
        self.tau_syn = _nominal(tau_syn, dt)
        if not self.tau_mem > 0:
            raise UserError(f"tau_mem must be a number above 0 (infinite for no leak), got {self.tau_mem}")
        if not (math.isfinite(self.tau_syn) and self.tau_syn >= 0):
            raise UserError(
                f"tau_syn must be a finite number, 0 (no synaptic filter) or more, got {self.tau_syn}"
            )
        if not (math.isfinite(adaptation) and adaptation >= 0):
            raise UserError(
                f"adaptation must be a finite number, 0 (a fixed threshold) or more, got {adaptation}"
            )
        if decay_bits is not None and not 1 <= decay_bits <= 52:
            raise UserError(f"decay_bits must be from 1 to 52, or None for exact decays, got {decay_bits}")
        if reset not in ("hard", "soft"):
            raise UserError(f"reset must be 'hard' or 'soft', got '{reset}'")
        if reset_gradient not in ("detached", "attached"):
            raise UserError(f"reset_gradient must be 'detached' or 'attached', got '{reset_gradient}'")
        self.v_threshold = v_threshold
        self.reset: Reset = reset
        self.reset_gradient: ResetGradient = reset_gradient
        self.decay_bits = decay_bits
        self.adaptation = adaptation
        self.tau_adapt = tau_adapt
        self.spread(tau_mem_spread, tau_syn_spread, learn_tau)
        self.time_constants: TimeConstants | None = None
        self._drawn = False
        mem, syn = (tau if isinstance(tau, Tensor) else None for tau in (tau_mem, tau_syn))
        if mem is not None or syn is not None:
            if tau_mem_spread or tau_syn_spread:
                raise UserError("time constants are either given per neuron or drawn, not both")
            self.time_constants = TimeConstants(dt, tau_mem=mem, tau_syn=syn, learn=learn_tau)

    @property
    def dynamics(self) -> "Dynamics":
        """The neurons as a step sees them: with every neuron's own decays where they differ."""
        return self if self.time_constants is None else self.time_constants.dynamics(self)

    @property
    def given_time_constants(self) -> bool:
        """Whether every neuron has its own because they were given, not drawn."""
        return self.time_constants is not None and not self._drawn

    @property
    def constants(self) -> tuple[Any, ...]:
        """As for every neuron."""
        reset = (self.v_threshold, self.reset, self.reset_gradient)
        adaptation = (self.adaptation, self.tau_adapt)
        return *super().constants, self.tau_mem, self.tau_syn, self.decay_bits, *reset, *adaptation

    def copy(self) -> Self:
        """As for every neuron; time constants that were drawn are drawn anew."""
        made = super().copy()
        if made._drawn:
            made.time_constants, made._drawn = None, False
        return made

    def spread(self, tau_mem_spread: float, tau_syn_spread: float, learn_tau: bool) -> None:
        """Let time constants differ or be learnt, once their number is known."""
        for name, value in (("tau_mem_spread", tau_mem_spread), ("tau_syn_spread", tau_syn_spread)):
            if not 0.0 <= value <= 3.0:
                raise UserError(f"{name} must be from 0 to 3, got {value}")
        self.tau_mem_spread = tau_mem_spread
        self.tau_syn_spread = tau_syn_spread
        self.learn_tau = learn_tau

    def place(self, shape: tuple[int, ...], kernel: tuple[int, int] | None) -> None:
        """As for every neuron; raises `UserError` where time constants that are given do not fit."""
        super().place(shape, kernel)
        if self.time_constants is not None and self.time_constants.n != math.prod(shape):
            raise UserError(
                f"{self.time_constants.n} time constants do not fit a layer of {math.prod(shape)} neurons"
            )

    def draw(self, generator: torch.Generator) -> None:
        """Draw time constants that differ."""
        if self.time_constants is not None:
            return
        n = math.prod(self.shape)
        self._drawn = True
        mem, syn, learn = self.tau_mem_spread, self.tau_syn_spread, self.learn_tau
        if mem or syn or learn:
            self.time_constants = TimeConstants(
                self.dt,
                tau_mem=draw(n, self.tau_mem, mem, generator) if mem or learn else None,
                tau_syn=draw(n, self.tau_syn, syn, generator) if syn or (learn and self.tau_syn) else None,
                learn=learn,
            )

    def step(self, drive: Tensor, state: LIFState) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`lif_step` with a spike that has a derivative."""
        after = lif_step(drive, state, self.dynamics, self.spike)
        return after.s, (after.i, after.u, after.a)

    def advance(self, drive: Tensor, before: LIFState) -> LIFState:
        """The state after a step."""
        return lif_step(drive, before, self.dynamics, self.spike)

    def initial_state(self, zero: Tensor) -> LIFState:
        """All zero."""
        return LIFState(zero, zero, zero, zero)

    def initial_tangent(self, zero: Tensor) -> LIFTangent:
        """All zero."""
        return LIFTangent(zero, zero, zero, zero)

    def settings(self) -> str:
        """Time constants and what else is not as usual."""
        shown = [f"tau_mem={self.tau_mem:g}"]
        if self.tau_syn:
            shown.append(f"tau_syn={self.tau_syn:g}")
        if self.v_threshold != 1.0:
            shown.append(f"v_threshold={self.v_threshold:g}")
        shown.append(f"reset='{self.reset}'")
        if self.reset_gradient != "detached":
            shown.append(f"reset_gradient='{self.reset_gradient}'")
        if self.adaptation:
            shown.append(f"adaptation={self.adaptation:g}, tau_adapt={self.tau_adapt:g}")
        if self.decay_bits != DECAY_BITS:
            shown.append(f"decay_bits={self.decay_bits}")
        return ", ".join(shown)

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


def decay(tau: float, dt: float, bits: int | None = None) -> float:
    """exp(−dt/tau), 0 for tau = 0; rounded to `bits` binary digits when given, at most 1 − 2^−bits. A decay
    of 1 (tau infinite) stays what it is.
    """
    exact = 0.0 if tau == 0 else math.exp(-dt / tau)
    if bits is None or math.isinf(tau):
        return exact
    levels = 1 << bits
    return min(round(exact * levels), levels - 1) / levels


def lif_step(drive: Tensor, state: LIFState, lif: Dynamics, spike: Spike = heaviside) -> LIFState:
    """One time step. drive: synaptic input W s_pre + b, `[B, n]`.

    `spike` maps u − θ to spikes; the default has no derivative, `surrogate_spike` has one.
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


def _nominal(tau: float | Tensor, dt: float) -> float:
    """One number for time constants that differ: that of their mean decay."""
    if not isinstance(tau, Tensor):
        return tau
    mean = float(torch.exp(-dt / tau.detach().double()).mean())
    return -dt / math.log(mean) if 0.0 < mean < 1.0 else math.nan


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
