"""Readouts of a layer's own: each hidden layer predicts the target from its own spikes.

    z_l[t] = κ z_l[t−1] + s_l[t],   y_l[t] = G_l z_l[t],   e_l[t] = w[t] ∂loss(y_l[t], target)/∂y_l

κ is the network readout's when the rule's eligibility trace is filtered by it, else 0 (each step alone).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from neurofdfa.nn.loss import CrossEntropy, Loss, MeanSquaredError
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast
from neurofdfa.rules.traces import FilterState, cascade, cascade_state, filter_over


class LocalReadouts(NamedTuple):
    """projections: G per layer, `[k, n]`; activity: κ-filtered spikes per layer, `[B, n]`. steps: how many of
    them stand side by side, or None for one after the other.
    """

    projections: tuple[Tensor, ...]
    activity: tuple[FilterState, ...] = ()
    steps: int | None = None


class LocalErrors(NamedTuple):
    """Per layer: activity z `[B, n]`, error e_l `[B, k]` and its way back to the spikes, `[B, n]`."""

    activity: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    signals: tuple[Tensor, ...]

    def gradients(self) -> tuple[Tensor, ...]:
        """Mean gradient of each layer's loss with respect to its G, `[k, n]`."""
        pairs = zip(self.errors, self.activity, strict=True)
        return tuple(e.t() @ z / z.shape[0] for e, z in pairs)


def random_projections(network: Network, generator: torch.Generator, scale: float) -> LocalReadouts:
    """Gaussian G with standard deviation scale/√n."""
    weight = network.readout.synapse.weight
    return LocalReadouts(
        tuple(
            torch.randn(
                network.n_out, layer.n, generator=generator, dtype=weight.dtype, device=generator.device
            ).to(weight.device)
            * (scale / layer.n**0.5)
            for layer in network.hidden
        )
    )


def clear(readouts: LocalReadouts, kappa: float, batch: int) -> LocalReadouts:
    """Forget the activity of the last sequence."""
    zeros = (g.new_zeros(batch, g.shape[1]) for g in readouts.projections)
    return readouts._replace(activity=tuple(cascade_state((kappa,), zero) for zero in zeros))


def listen(
    readouts: LocalReadouts, kappa: float, step: NetworkStep, broadcast: Broadcast, loss: Loss | None
) -> tuple[LocalErrors, LocalReadouts]:
    """Advance every local readout by one step. loss None: cross-entropy for labels, else squared error."""
    if loss is None:
        loss = MeanSquaredError() if broadcast.target.is_floating_point() else CrossEntropy()
    activity: list[Tensor] = []
    stages: list[FilterState] = []
    errors: list[Tensor] = []
    signals: list[Tensor] = []
    for seen, g, before in zip(step.layers, readouts.projections, readouts.activity, strict=True):
        if readouts.steps is None:
            z, after = cascade((kappa,), seen.sent, before)
        else:
            z, after = filter_over(seen.sent, kappa, readouts.steps), before
        error = broadcast.weight * loss.error(z @ g.t(), broadcast.target)
        signal = error @ g
        activity.append(z)
        stages.append(after)
        errors.append(error)
        signals.append(signal if seen.mask is None else signal * seen.mask)
    local = LocalErrors(tuple(activity), tuple(errors), tuple(signals))
    return local, readouts._replace(activity=tuple(stages))
