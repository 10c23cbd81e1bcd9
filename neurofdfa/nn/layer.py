"""A layer as rules and engines see it: neurons behind synapses, optional recurrence, dropout."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.derived import StepDerivative, derivative, derived_tangent
from neurofdfa.nn.dropout import Dropout
from neurofdfa.nn.lif import LIF, Dynamics, LIFState, LIFTangent, lif_step, lif_tangent_step, psi
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.surrogate import heaviside
from neurofdfa.nn.synapse import Convolution, Dense, Synapse
from neurofdfa.nn.time_constants import TimeConstants


class SpikingLayer:
    """Neurons, one per output of `synapse`.

    cell: the neurons, of whichever kind; `neuron` is the same where they are of the LIF family.
    recurrent: synapses from the layer's own spikes of the step before, or None. dropped: what silences
    neurons during a training sequence, or None.
    """

    def __init__(self, synapse: Synapse, cell: Neuron, dropped: Dropout | None = None) -> None:
        self.synapse = synapse
        self.cell = cell
        self.dropped = dropped
        self.recurrent = _recurrent(synapse, cell)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of synapses and neurons."""
        yield from self.synapse.parameters()
        yield from self.cell.parameters()

    @property
    def neuron(self) -> LIF:
        """The neurons' parameters; raises `UserError` where they are no `LIF`, for all that needs one."""
        if isinstance(self.cell, LIF):
            return self.cell
        raise UserError(
            f"{type(self.cell).__name__} is not a LIF neuron: it trains on the reference engine with traces "
            "per synapse, or back through time; the event engine, exports, audits and energy need LIF, ALIF, "
            "CubaLIF or IF"
        )

    @property
    def dropout(self) -> float:
        """Probability that a neuron's spikes are not transmitted during a training sequence."""
        return 0.0 if self.dropped is None else self.dropped.p

    @property
    def time_constants(self) -> TimeConstants | None:
        """Of every neuron in place of those of `neuron`, or None."""
        return self.cell.time_constants if isinstance(self.cell, LIF) else None

    @property
    def dynamics(self) -> Dynamics:
        """The neurons as a step sees them."""
        return self.neuron.dynamics

    @property
    def plain(self) -> bool:
        """Whether all neurons are alike and their thresholds fixed."""
        cell = self.cell
        return isinstance(cell, LIF) and cell.time_constants is None and not cell.adaptation

    @property
    def mean_decays(self) -> tuple[float, ...]:
        """α and β, their means where neurons differ; `decays` of a neuron of the user's own."""
        if not isinstance(self.cell, LIF):
            if self.cell.decays is None:
                raise UserError(
                    f"how long a spike lasts in {type(self.cell).__name__} is not said: give it decays = "
                    "(…,), or choose the kernel 'output' where the rule has one"
                )
            return self.cell.decays
        lif = self.dynamics
        alpha, beta = (float(x.mean()) if isinstance(x, Tensor) else x for x in (lif.alpha, lif.beta))
        return alpha, beta

    @property
    def n(self) -> int:
        """Number of neurons."""
        return self.synapse.n_out

    def initial_state(self, batch: int) -> LIFState:
        """At the start of a sequence, `[B, n]`, on the weights' device and dtype."""
        return self.cell.initial_state(self.synapse.weight.new_zeros(batch, self.n))

    def initial_tangent(self, batch: int) -> LIFTangent:
        """All zero, `[B, n]`."""
        return self.cell.initial_tangent(self.synapse.weight.new_zeros(batch, self.n))

    def drive(self, pre: Tensor, state: LIFState) -> Tensor:
        """What the neurons are driven with, `[B, n]`. pre: as for `step`; state: before the step."""
        drive = self.synapse(pre)
        return drive if self.recurrent is None else drive + self.recurrent(state.s)

    def step(self, pre: Tensor, state: LIFState, *, differentiable: bool = False) -> LIFState:
        """One time step. pre: transmitted spikes of the layer below, `[B, n_in]`; differentiable: give spikes
        the surrogate's derivative under autograd.
        """
        drive = self.drive(pre, state)
        if isinstance(self.cell, LIF) and not differentiable:
            return lif_step(drive, state, self.cell.dynamics, heaviside)
        return self.cell.advance(drive, state)

    def play(
        self, pre: Tensor, before: LIFState, mask: Tensor | None, *, differentiable: bool = False
    ) -> "LayerStep":
        """One time step, with all that a rule may read of it. mask: dropout scaling, `[B, n]`, or None."""
        cell = self.cell
        drive = self.drive(pre, before)
        if isinstance(cell, LIF):
            spike = cell.spike if differentiable else heaviside
            after = lif_step(drive, before, cell.dynamics, spike)
            return LayerStep(pre, before, after, partial(psi, after, cell), mask)
        after = cell.advance(drive, before)
        return LayerStep(pre, before, after, partial(derivative, cell, drive.detach(), before), mask)

    def slopes(self, steps: Sequence["LayerStep"]) -> Tensor:
        """ψ of many steps of this layer, `[T, B, n]`; one derivation for all of them where it is derived."""
        cell = self.cell
        with torch.no_grad():
            if isinstance(cell, LIF):
                return torch.stack([seen.psi for seen in steps])
            drive = torch.cat([self.drive(seen.pre, seen.before) for seen in steps])
            before = (torch.cat(parts) for parts in zip(*(seen.before for seen in steps), strict=True))
            return derivative(cell, drive, cell.State(*before)).psi.view(len(steps), -1, self.n)

    def tangent_step(
        self,
        pre_dot: Tensor | None,
        own_dot: Tensor | None,
        tangent: LIFTangent,
        seen: "LayerStep",
        push: Tensor | None = None,
    ) -> LIFTangent:
        """The derivative of the step that was `seen`. pre_dot: tangent of `pre`, None for zero; own_dot: of
        the layer's own transmitted spikes of the step before (None leaves the recurrence out of the tangent);
        push: what is added to the tangent of the drive, `[B, n]`.
        """
        drive_dot = torch.zeros_like(tangent.s) if push is None else push
        if pre_dot is not None:
            drive_dot = drive_dot + self.synapse.linear(pre_dot)
        if self.recurrent is not None and own_dot is not None:
            drive_dot = drive_dot + self.recurrent.linear(own_dot)
        if seen.derived is not None:
            return derived_tangent(drive_dot, tangent, seen.derived)
        return lif_tangent_step(drive_dot, tangent, seen.before, seen.psi, self.dynamics)


def _recurrent(synapse: Synapse, cell: Neuron) -> Synapse | None:
    own, n = cell.recurrent, synapse.n_out
    if own is None:
        return None
    if isinstance(own, Conv2d):
        image = synapse.image if isinstance(synapse, Convolution) else None
        if image is None:
            raise UserError(f"recurrent {own} needs an image of neurons and finds {n} in a row")
        found = Convolution(own, image)
        if found.image == image:
            return found
    elif own.n_in == own.n_out == n:
        return Dense(own)
    raise UserError(f"recurrent {own} does not fit a layer of {n} neurons")


Slope: TypeAlias = Tensor | Callable[[], Tensor | StepDerivative]


class LayerStep:
    """What one layer saw and did in one step: all that a local rule may read of it.

    pre: transmitted spikes of the layer below, `[B, n_in]`; before, after: its state around the step;
    psi: ψ after the step, ∂output/∂drive, `[B, n]`; mask: dropout scaling of its transmitted spikes, `[B, n]`
    or None; derived: derivatives of the step of a neuron of the user's own, None for those written out. The
    derivatives are found when they are first asked for, and inference never asks.
    """

    def __init__(
        self, pre: Tensor, before: LIFState, after: LIFState, slope: Slope, mask: Tensor | None
    ) -> None:
        self.pre = pre
        self.before = before
        self.after = after
        self.mask = mask
        self._slope = slope

    @cached_property
    def slope(self) -> Tensor | StepDerivative:
        """ψ, or everything that is derived from the step."""
        if not callable(self._slope):
            return self._slope
        with torch.no_grad():
            return self._slope()

    @property
    def psi(self) -> Tensor:
        """∂output/∂drive, `[B, n]`."""
        return self.slope if isinstance(self.slope, Tensor) else self.slope.psi

    @property
    def derived(self) -> StepDerivative | None:
        """Derivatives of the step, where they are not written out."""
        return None if isinstance(self.slope, Tensor) else self.slope

    @property
    def sent(self) -> Tensor:
        """The spikes that the next layer receives, `[B, n]`."""
        return self.after.s if self.mask is None else self.after.s * self.mask

    def first(self, samples: int) -> "LayerStep":
        """The same step for the first `samples` samples of the batch, as views."""

        def slope() -> Tensor | StepDerivative:
            whole = self.slope
            return whole[:samples] if isinstance(whole, Tensor) else whole.first(samples)

        before, after = (type(state)(*(x[:samples] for x in state)) for state in (self.before, self.after))
        mask = None if self.mask is None else self.mask[:samples]
        return LayerStep(self.pre[:samples], before, after, slope, mask)
