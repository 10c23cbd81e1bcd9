"""How well a rule's feedback matrices point along the path that they stand for.

The true gain of a layer: what one more transmitted spike adds to the readout's input over the rest of the
sequence, averaged over samples and onsets. It is computed exactly, with one tangent per neuron, and without
the layer's own reset, which no feedback matrix knows of.
"""

from typing import cast

import torch
from torch import Tensor

from neurofdfa.nn.network import Network
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.train.trainer import Trainer


def feedback_quality(learner: Trainer, x: Tensor) -> tuple[float, ...] | None:
    """Per hidden layer the cosine between B and the true gain on samples `[T, S, n_in]`.

    Sample s spikes at step ⌊(s + ½) T / S⌋. A row that the positions of a channel share is held against their
    mean gain. None for rules without feedback matrices `[n, k]` or `[channels, k]`.
    """
    matrices = cast("tuple[Tensor, ...] | None", getattr(learner.rule_state, "matrices", None))
    network = learner.network
    rows = [(layer.n, layer.synapse.channels) for layer in network.hidden]
    if not matrices or len(matrices) != len(rows):
        return None
    if any(b.shape[0] not in n or b.shape[1] != network.n_out for b, n in zip(matrices, rows, strict=True)):
        return None
    gains = [
        true_gain(network, x, index).view(b.shape[0], -1, network.n_out).mean(1).flatten()
        for index, b in enumerate(matrices)
    ]
    return tuple(
        float(torch.nn.functional.cosine_similarity(b.detach().flatten(), gain, dim=0))
        for b, gain in zip(matrices, gains, strict=True)
    )


@torch.no_grad()
def true_gain(network: Network, x: Tensor, index: int) -> Tensor:
    """∂(Σ input of the readout)/∂(a transmitted spike) of hidden layer `index`, `[n, k]`."""
    steps, samples, n = x.shape[0], x.shape[1], network.hidden[index].n
    unit = torch.eye(n, dtype=x.dtype)
    total = x.new_zeros(n, network.n_out)
    for sample in range(samples):
        onset = int((sample + 0.5) * steps / samples)
        tangent = initial_tangent(network, n)
        for t, step in enumerate(network.steps(x[:, sample : sample + 1].expand(steps, n, -1))):
            if t < onset:
                continue
            probes = tuple(
                unit if (k == index and t == onset) else x.new_zeros(n, layer.n)
                for k, layer in enumerate(network.hidden)
            )
            tangent = tangent_step(network, step, probes, tangent)
            total += tangent.readout.drive
    return total / samples
