"""Eligibility of anything that drives a neuron: how its spike depends on it, forward in time.

    ε = k ε⁻ − l e⁻ + x;   ε^a = ρ ε^a⁻ + e⁻;   e = ψ (ε − b ε^a);   ē = κ ē⁻ + e

x is what the parameter adds to the membrane in this step: a filtered input spike for a synapse, the last
membrane for a decay. k and l are ∂u/∂u⁻ and −∂u/∂s⁻ of the reset, ε^a follows the adaptive threshold (none
with b = 0). Own-state path only. Bellec et al. 2020 (e-prop), for LIF and ALIF neurons.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import NO_ADAPTATION, Dynamics, own_derivative, psi


class Eligibility(NamedTuple):
    """ε of the membrane, ε^a of the threshold, and ē, all of the shape of the traces they belong to."""

    membrane: Tensor
    threshold: Tensor
    filtered: Tensor


class StepJacobian(NamedTuple):
    """What every eligibility of a layer needs to know of a step: k, l, ψ⁻, ψ, `[B, n]` or alike, ρ, b and κ.

    Without adaptation l is folded into k, as l e⁻ = l ψ⁻ ε⁻.
    """

    kept: Tensor | float
    lost: Tensor | float
    psi_before: Tensor | None
    psi: Tensor
    rho: float
    adaptation: float
    kappa: float

    def shaped(self, shape: Callable[[Tensor], Tensor]) -> "StepJacobian":
        """The same with every tensor given the shape of some traces."""

        def of(x: Tensor | float) -> Tensor | float:
            return shape(x if x.dim() == 2 else x.unsqueeze(0)) if isinstance(x, Tensor) else x

        psi_before = None if self.psi_before is None else shape(self.psi_before)
        return self._replace(
            kept=of(self.kept), lost=of(self.lost), psi_before=psi_before, psi=shape(self.psi)
        )


def step_jacobian(seen: LayerStep, lif: Dynamics, kappa: float) -> StepJacobian:
    """The derivatives of the step that a layer just made."""
    kept, lost = own_derivative(seen.before, lif)
    resets = isinstance(lost, Tensor) or lost != 0.0
    before = psi(seen.before, lif) if resets or lif.adaptation else None
    if resets and before is not None and not lif.adaptation:
        kept, lost = kept - lost * before, 0.0
    return StepJacobian(kept, lost, before, seen.psi, lif.rho, lif.adaptation, kappa)


def blank(zero: Tensor, lif: Dynamics) -> Eligibility:
    """Nothing learnt yet."""
    return Eligibility(zero, zero if lif.adaptation else NO_ADAPTATION, zero)


def advance(source: Tensor, before: Eligibility, step: StepJacobian) -> Eligibility:
    """One time step. source: x."""
    membrane = step.kept * before.membrane + source
    if not step.adaptation or step.psi_before is None:
        e = step.psi * membrane
        return Eligibility(membrane, before.threshold, step.kappa * before.filtered + e)
    last = step.psi_before * (before.membrane - step.adaptation * before.threshold)
    membrane = membrane - step.lost * last
    threshold = step.rho * before.threshold + last
    e = step.psi * (membrane - step.adaptation * threshold)
    return Eligibility(membrane, threshold, step.kappa * before.filtered + e)
