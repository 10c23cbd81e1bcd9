"""A layer as rules and engines see it: neurons behind synapses, optional recurrence, dropout."""

from collections.abc import Iterator
from typing import NamedTuple

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
            "per synapse or bptt; the event engine, exports, audits and energy need LIF, ALIF, CubaLIF or IF"
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
                    "(…,), or choose FDFA(kernel='output')"
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
        after = self.step(pre, before, differentiable=differentiable)
        if isinstance(self.cell, LIF):
            return LayerStep(pre, before, after, psi(after, self.cell), mask)
        with torch.no_grad():
            found = derivative(self.cell, self.drive(pre, before), before)
        return LayerStep(pre, before, after, found.psi, mask, found)

    def tangent_step(
        self, pre_dot: Tensor, own_dot: Tensor | None, tangent: LIFTangent, seen: "LayerStep"
    ) -> LIFTangent:
        """The derivative of the step that was `seen`. pre_dot: tangent of `pre`; own_dot: tangent of the
        layer's own transmitted spikes of the step before (None leaves the recurrence out of the tangent).
        """
        drive_dot = self.synapse.linear(pre_dot)
        if self.recurrent is not None and own_dot is not None:
            drive_dot = drive_dot + self.recurrent.linear(own_dot)
        return self.driven_tangent(drive_dot, tangent, seen)

    def driven_tangent(self, drive_dot: Tensor, tangent: LIFTangent, seen: "LayerStep") -> LIFTangent:
        """The same from the tangent of the drive, `[B, n]`."""
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


class LayerStep(NamedTuple):
    """What one layer saw and did in one step: all that a local rule may read of it.

    pre: transmitted spikes of the layer below, `[B, n_in]`; before, after: its state around the step;
    psi: ψ after the step, ∂output/∂drive, `[B, n]`; mask: dropout scaling of its transmitted spikes, `[B, n]`
    or None; derived: derivatives of the step of a neuron of the user's own, None for those written out.
    """

    pre: Tensor
    before: LIFState
    after: LIFState
    psi: Tensor
    mask: Tensor | None
    derived: StepDerivative | None = None

    @property
    def sent(self) -> Tensor:
        """The spikes that the next layer receives, `[B, n]`."""
        return self.after.s if self.mask is None else self.after.s * self.mask

    def first(self, samples: int) -> "LayerStep":
        """The same step for the first `samples` samples of the batch, as views."""
        before, after = (type(state)(*(x[:samples] for x in state)) for state in (self.before, self.after))
        mask = None if self.mask is None else self.mask[:samples]
        derived = None if self.derived is None else self.derived.first(samples)
        return LayerStep(self.pre[:samples], before, after, self.psi[:samples], mask, derived)
