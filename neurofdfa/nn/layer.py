"""A layer: LIF neurons behind synapses, optional recurrence, dropout."""

from typing import NamedTuple

from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF, Dynamics, LIFState, LIFTangent, Spike, heaviside, lif_step, lif_tangent_step
from neurofdfa.nn.synapse import Synapse
from neurofdfa.nn.time_constants import TimeConstants


class SpikingLayer(nn.Module):
    """LIF neurons, one per output of `synapse`.

    recurrent: synapses from the layer's own spikes of the step before, or None. dropout: probability that a
    neuron's spikes are not transmitted during a sequence. time_constants: of every neuron in place of those
    of `neuron`, or None.
    """

    def __init__(
        self,
        synapse: Synapse,
        neuron: LIF,
        *,
        recurrent: Synapse | None = None,
        dropout: float = 0.0,
        time_constants: TimeConstants | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise UserError(f"dropout must be in [0, 1), got {dropout}")
        if recurrent is not None and (recurrent.n_in, recurrent.n_out) != (synapse.n_out, synapse.n_out):
            raise UserError(
                f"recurrent synapses of {recurrent.n_in} to {recurrent.n_out} neurons do not fit a layer of "
                f"{synapse.n_out}"
            )
        if time_constants is not None and time_constants.n != synapse.n_out:
            raise UserError(
                f"{time_constants.n} time constants do not fit a layer of {synapse.n_out} neurons"
            )
        self.neuron = neuron
        self.dropout = dropout
        self.synapse = synapse
        self.recurrent = recurrent
        self.time_constants = time_constants

    @property
    def dynamics(self) -> Dynamics:
        """The neurons as a step sees them."""
        return self.neuron if self.time_constants is None else self.time_constants.dynamics(self.neuron)

    @property
    def plain(self) -> bool:
        """Whether all neurons are alike and their thresholds fixed."""
        return self.time_constants is None and not self.neuron.adaptation

    @property
    def mean_decays(self) -> tuple[float, float]:
        """α and β, their means where neurons differ."""
        lif = self.dynamics
        alpha, beta = (float(x.mean()) if isinstance(x, Tensor) else x for x in (lif.alpha, lif.beta))
        return alpha, beta

    @property
    def n(self) -> int:
        """Number of neurons."""
        return self.synapse.n_out

    def initial_state(self, batch: int) -> LIFState:
        """All zero, `[B, n]`, on the weights' device and dtype."""
        zero = self.synapse.weight.new_zeros(batch, self.n)
        return LIFState(zero, zero, zero, zero)

    def initial_tangent(self, batch: int) -> LIFTangent:
        """All zero, `[B, n]`."""
        return LIFTangent(*self.initial_state(batch))

    def step(self, pre: Tensor, state: LIFState, spike: Spike = heaviside) -> LIFState:
        """One time step. pre: transmitted spikes of the layer below, `[B, n_in]`."""
        drive = self.synapse(pre)
        if self.recurrent is not None:
            drive = drive + self.recurrent(state.s)
        return lif_step(drive, state, self.dynamics, spike)

    def tangent_step(
        self,
        pre_dot: Tensor,
        own_dot: Tensor | None,
        tangent: LIFTangent,
        before: LIFState,
        after_psi: Tensor,
    ) -> LIFTangent:
        """The derivative of `step`. pre_dot: tangent of `pre`; own_dot: tangent of the layer's own
        transmitted spikes of the step before (None leaves the recurrence out of the tangent).
        """
        drive_dot = self.synapse.linear(pre_dot)
        if self.recurrent is not None and own_dot is not None:
            drive_dot = drive_dot + self.recurrent.linear(own_dot)
        return lif_tangent_step(drive_dot, tangent, before, after_psi, self.dynamics)


class LayerStep(NamedTuple):
    """What one layer saw and did in one step: all that a local rule may read of it.

    pre: transmitted spikes of the layer below, `[B, n_in]`; before, after: its state around the step;
    psi: ψ after the step, `[B, n]`; mask: dropout scaling of its transmitted spikes, `[B, n]` or None.
    """

    pre: Tensor
    before: LIFState
    after: LIFState
    psi: Tensor
    mask: Tensor | None

    @property
    def sent(self) -> Tensor:
        """The spikes that the next layer receives, `[B, n]`."""
        return self.after.s if self.mask is None else self.after.s * self.mask

    def first(self, samples: int) -> "LayerStep":
        """The same step for the first `samples` samples of the batch, as views."""
        before, after = (LIFState(*(x[:samples] for x in state)) for state in (self.before, self.after))
        mask = None if self.mask is None else self.mask[:samples]
        return LayerStep(self.pre[:samples], before, after, self.psi[:samples], mask)
