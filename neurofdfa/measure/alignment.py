"""How well a local rule's update points along the exact surrogate gradient.

For every hidden layer: the cosine between the rule's weight update and that of BPTT on the same weights
and the same sample, as mean and standard deviation over samples (Launay et al. 2019).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from neurofdfa.rules import EXACT
from neurofdfa.train.trainer import Trainer


@dataclass(frozen=True)
class Alignment:
    """Per hidden layer: mean and standard deviation of the per-sample cosine, the ratio of norms
    (rule over BPTT, median), and how many samples were left out since one of both gradients is zero.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    norm_ratio: tuple[float, ...]
    excluded: tuple[int, ...]


def alignment(learner: Trainer, x: Tensor, target: Tensor, lengths: Tensor | None = None) -> Alignment:
    """Compare on samples `[T, B, n_in]`, without dropout; neither weights nor the rule's state change.

    lengths: steps that are each sample's own, `[B]`; all of them unless given.
    """
    exact = Trainer(learner.network, EXACT, loss=learner.loss)
    hidden = {id(layer.synapse.weight) for layer in learner.network.hidden}
    weights = [index for index, p in enumerate(learner.network.parameters()) if id(p) in hidden]
    cosines: list[Tensor] = []
    ratios: list[Tensor] = []
    for b in range(x.shape[1]):
        steps = x.shape[0] if lengths is None else int(lengths[b])
        sample = x[:steps, b : b + 1]
        label = target[:steps, b : b + 1] if target.dim() == 3 else target[b : b + 1]
        local = learner.gradients(sample, label)
        true = exact.gradients(sample, label)
        pairs = [(local[index].flatten(), true[index].flatten()) for index in weights]
        norms = torch.stack([torch.stack([(a @ a).sqrt(), (c @ c).sqrt()]) for a, c in pairs])
        products = torch.stack([a @ c for a, c in pairs])
        cosines.append(products / norms.prod(1))  # NaN where a gradient is zero: excluded below
        ratios.append(norms[:, 0] / norms[:, 1])
    per_layer = torch.stack(cosines, 1)
    per_ratio = torch.stack(ratios, 1)
    kept = [
        (row[row.isfinite()], ratio[row.isfinite()]) for row, ratio in zip(per_layer, per_ratio, strict=True)
    ]
    return Alignment(
        tuple(float(row.mean()) if len(row) else 0.0 for row, _ in kept),
        tuple(float(row.std()) if len(row) > 1 else 0.0 for row, _ in kept),
        tuple(float(ratio.median()) if len(ratio) else 0.0 for _, ratio in kept),
        tuple(x.shape[1] - len(row) for row, _ in kept),
    )
