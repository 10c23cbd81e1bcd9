"""How near to BPTT could a broadcast error bring a deep network, and where does the learnt feedback lose?

Trains the network of studies/deep-mnist.toml with FDFA for some epochs, then compares weight
gradients of batches of 128 with BPTT's: their cosine per hidden layer, bottom up.

feedback: learnt, the rule's own B; mean, weighted: the path's exact gain averaged over samples, evenly or by
squared error; best: what explains BPTT's signals best (least squares), and the same for every label alone.
trace: per neuron, per synapse, and per synapse filtered by the membranes above, too (downstream).

    python benchmarks/broadcast_limits.py --data-root FOLDER --epochs 1
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.lab.build import build_data, build_network, build_schedule, build_trainer, settle_rates
from neurofdfa.lab.config import RunConfig
from neurofdfa.lab.study_file import read_study
from neurofdfa.nn.network import Network

STUDY = Path(__file__).parent.parent / "studies" / "deep-mnist.toml"
SAMPLES, BATCH = 512, 128


def trained(root: str, epochs: int) -> tuple[Network, tuple[Tensor, ...], Tensor, Tensor]:
    """A network, its feedback, and validation samples."""
    config = RunConfig().with_settings(
        {
            **read_study(STUDY).base,
            "data.root": root,
            "rule.options": {"momentum": 0.01},
            "training.epochs": epochs,
        }
    )
    data = build_data(config.data, 0)
    network = build_network(config.network, data.n_in, data.n_out, 0, data.shape)
    settle_rates(network, data, config.network.rate)
    learner: Any = build_trainer(config, network)
    generator = torch.Generator().manual_seed(2)
    every = -(-len(data.train) // BATCH)
    schedule = build_schedule(learner, config.training, epochs * every)
    for _ in range(epochs):
        for x, target in data.train.batches(BATCH, generator=generator):
            learner.step(x, target)
            schedule.step()
    x, target, _ = data.validation.first(SAMPLES)
    return network, learner.rule_state.matrices, x, target


class Seen(NamedTuple):
    """Of a layer: ψ, input traces and BPTT's signals, `[T, B, n]`; gain of its spikes, `[k, T, B, n]`."""

    psi: Tensor
    inputs: Tensor
    exact: Tensor
    gain: Tensor


def filtered(x: Tensor, decay: float, *, back: bool = False) -> Tensor:
    """A first-order filter along time."""
    found, kept = torch.zeros_like(x), torch.zeros_like(x[0])
    for t in range(len(x) - 1, -1, -1) if back else range(len(x)):
        found[t] = kept = decay * kept + x[t]
    return found


def observe(network: Network, x: Tensor, target: Tensor) -> tuple[list[Seen], Tensor]:
    """What every layer does and should hear; errors of all steps, `[T, B, k]`."""
    steps = list(network.steps(x, differentiable=True))
    y = torch.stack([step.y for step in steps])
    spikes = [[step.layers[k].after.s for step in steps] for k in range(len(network.hidden))]
    flat = [s for layer in spikes for s in layer]
    loss = sum(torch.nn.functional.cross_entropy(row, target, reduction="sum") for row in y) / len(x)
    wanted = [loss, *(y[-1, :, c].sum() for c in range(y.shape[2]))]
    found = [torch.autograd.grad(out, flat, retain_graph=True) for out in wanted]
    seen: list[Seen] = []
    for k, layer in enumerate(network.hidden):
        rows = [torch.stack(g[k * len(x) : (k + 1) * len(x)]) for g in found]
        psi = torch.stack([step.layers[k].psi for step in steps]).detach()
        pre = torch.stack([step.layers[k].pre for step in steps]).detach()
        seen.append(Seen(psi, filtered(pre, layer.neuron.beta), rows[0], torch.stack(rows[1:])))
    hot = torch.nn.functional.one_hot(target, y.shape[2])
    return seen, (torch.softmax(y.detach(), 2) - hot) / len(x)


def cosine(signal: Tensor, inputs: Tensor, seen: Seen) -> float:
    """Mean over batches of the cosine between Σ signal ⊗ inputs and the exact gradient."""
    total = 0.0
    for start in range(0, SAMPLES, BATCH):
        part = slice(start, start + BATCH)
        local = torch.einsum("tbi,tbj->ij", signal[:, part], inputs[:, part])
        exact = torch.einsum("tbi,tbj->ij", (seen.exact * seen.psi)[:, part], seen.inputs[:, part])
        total += float(torch.nn.functional.cosine_similarity(local.flatten(), exact.flatten(), 0))
    return total * BATCH / SAMPLES


def explained(errors: Tensor, seen: Seen, target: Tensor) -> tuple[Tensor, Tensor]:
    """Signals of the matrix that explains BPTT's best, and of one such matrix per label."""

    def fit(who: Tensor) -> Tensor:
        a, wanted = errors[:, who], seen.exact[:, who]
        return a @ torch.linalg.lstsq(a.flatten(0, 1), wanted.flatten(0, 1), driver="gelsd").solution

    alone = torch.zeros_like(seen.exact)
    for label in target.unique():
        alone[:, target == label] = fit(target == label)
    return fit(torch.ones_like(target, dtype=torch.bool)), alone


def main() -> None:
    """Print a row per feedback and trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    network, matrices, x, target = trained(given.data_root, given.epochs)
    seen, e = observe(network, x, target)
    rows: dict[str, list[float]] = {}
    for index, (b, layer) in enumerate(zip(matrices, seen, strict=True)):
        plain = filtered(e, 1.0, back=True)
        late, pulse = plain, torch.eye(len(x))[0]
        for above in network.hidden[index + 1 :]:
            late = filtered(late, above.neuron.beta, back=True)
            pulse = filtered(pulse.unsqueeze(1), above.neuron.beta).squeeze(1)
        reach = pulse.cumsum(0).flip(0)  # of what is sent at t, until the end
        gains = torch.einsum("ktbn,t->bnk", layer.gain, reach) / reach.square().sum()
        power = e.sum(0).square().unsqueeze(1)
        best, alone = explained(late, layer, target)
        tried = {
            "learnt, per neuron": (e @ b.t() * layer.psi, layer.inputs.cumsum(0)),
            "learnt, per synapse": (plain @ b.t() * layer.psi, layer.inputs),
            "learnt, downstream": (late @ b.t() * layer.psi, layer.inputs),
            "mean, downstream": (late @ gains.mean(0).t() * layer.psi, layer.inputs),
            "weighted, per synapse": (
                plain @ ((gains * power).sum(0) / power.sum(0)).t() * layer.psi,
                layer.inputs,
            ),
            "weighted, downstream": (
                late @ ((gains * power).sum(0) / power.sum(0)).t() * layer.psi,
                layer.inputs,
            ),
            "best, downstream": (best * layer.psi, layer.inputs),
            "best per label, downstream": (alone * layer.psi, layer.inputs),
        }
        for name, (signal, inputs) in tried.items():
            rows.setdefault(name, []).append(cosine(signal, inputs, layer))
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
