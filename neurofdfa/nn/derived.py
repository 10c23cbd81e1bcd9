"""Derivatives of a neuron's step, found by differentiating the step itself.

A step maps the states x = (x_1 … x_m, s) of a neuron, s being its last output, and a drive d to the next
states. As no neuron reads another's state, all that learning needs is one small matrix per neuron:

    M_kj = ∂x_k/∂x_j⁻,   c_k = ∂x_k/∂d,   ψ = c_s

    ẋ = M ẋ⁻ + c ḋ                        tangents, along a tangent of the drive
    ε = M ε⁻ + c x_pre,   e = ε_s         eligibility of a weight with the input x_pre (Bellec et al. 2020)

M and c come from forward-mode differentiation, one direction per state and one for the drive; all go through
one call of the step, side by side as samples of one batch. What the step detaches counts as constant.
braintrace (Wang et al. 2024) derives eligibility traces from a user's step in the same spirit, in JAX.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neurofdfa.errors import UserError
from neurofdfa.nn.neuron import Neuron


class StepDerivative(NamedTuple):
    """By state and state before: `[m, m, B, n]`; by state: `[m, B, n]`; output: the index of s among them."""

    states: Tensor
    drive: Tensor
    output: int

    @property
    def psi(self) -> Tensor:
        """∂output/∂drive, `[B, n]`."""
        return self.drive[self.output]

    def first(self, samples: int) -> "StepDerivative":
        """Of the first `samples` samples of the batch, as views."""
        return self._replace(states=self.states[:, :, :samples], drive=self.drive[:, :samples])

    def shaped(self, shape: Callable[[Tensor], Tensor]) -> "StepDerivative":
        """The same with `[B, n]` given the shape of some traces."""
        m = len(self.drive)
        by_state, by_drive = shape(self.states.flatten(0, 2)), shape(self.drive.flatten(0, 1))
        return self._replace(
            states=by_state.view(m, m, -1, *by_state.shape[1:]),
            drive=by_drive.view(m, -1, *by_drive.shape[1:]),
        )


def derivative(neuron: Neuron, drive: Tensor, before: Any) -> StepDerivative:
    """M and c of the step from `before` with this drive, `[B, n]`."""
    inputs = tuple(x.detach().expand(drive.shape) for x in (*before, drive))
    count, (batch, n) = len(inputs), drive.shape
    pushes = torch.eye(count, dtype=drive.dtype, device=drive.device).repeat_interleave(batch, 1)
    with forward_ad.dual_level():
        given = [
            forward_ad.make_dual(x.repeat(count, 1), push.unsqueeze(1).repeat(1, n))  # pyright: ignore[reportUnknownMemberType]
            for x, push in zip(inputs, pushes, strict=True)
        ]
        after = neuron.advance(given[-1], type(before)(*given[:-1]))
        dots = [forward_ad.unpack_dual(x).tangent for x in after]  # pyright: ignore[reportUnknownMemberType]
    none = drive.new_zeros(count * batch, n)
    columns = torch.stack([none if dot is None else dot for dot in dots]).view(-1, count, batch, n)
    return StepDerivative(columns[:, :-1], columns[:, -1], before._fields.index("s"))


def derived_tangent(drive_dot: Tensor, tangent: Any, through: StepDerivative) -> Any:
    """ẋ = M ẋ⁻ + c ḋ. tangent: of the states before; drive_dot: `[B, n]`."""
    after = (through.states * torch.stack(list(tangent))).sum(1) + through.drive * drive_dot
    return type(tangent)(*after)


class DerivedEligibility(NamedTuple):
    """ε of every state and of the output, `[m, …]`, and ē, of the shape of the traces they belong to."""

    states: Tensor
    filtered: Tensor


def derived_blank(zero: Tensor, m: int) -> DerivedEligibility:
    """Nothing learnt yet. m: states, the output among them."""
    return DerivedEligibility(zero.new_zeros(m, *zero.shape), zero)


def derived_advance(
    source: Tensor, before: DerivedEligibility, through: StepDerivative, kappa: float
) -> DerivedEligibility:
    """ε = M ε⁻ + c x, ē = κ ē⁻ + ε_s. source: x; through: shaped as the traces are."""
    states = (through.states * before.states).sum(1) + through.drive * source
    return DerivedEligibility(states, kappa * before.filtered + states[through.output])


def check_step(neuron: Neuron) -> None:
    """Raise `UserError` where a step does not return what it should, or mixes neurons or samples."""
    name = type(neuron).__name__
    drawn = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    parameter = next(iter(neuron.parameters()), None)
    drawn = drawn if parameter is None else drawn.to(parameter)
    before = neuron.initial_state(torch.zeros_like(drawn))
    one = torch.zeros_like(drawn)
    one[0, 0] = 1.0
    along = neuron.initial_tangent(torch.zeros_like(drawn))._replace(**dict.fromkeys(before._fields, one))
    flat = (*before, drawn)

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(neuron.advance(given[-1], type(before)(*given[:-1])))

    with torch.no_grad():
        after, dots = torch.func.jvp(step, flat, (*along, one))[:2]
    for field, value, dot in zip(before._fields, after, dots, strict=True):
        if value.shape != drawn.shape:
            raise UserError(
                f"the step of {name} makes '{field}' of shape {list(value.shape)} where the drive has "
                f"{list(drawn.shape)}"
            )
        if bool((dot * (1.0 - one)).any()):
            raise UserError(
                f"the step of {name} mixes neurons or samples in '{field}': neurons are on their own there, "
                "connections between them are recurrent=True"
            )
