"""A learning rule of your own: ten lines, and the training step, traces, optimizer and measures are there.

The rule: direct feedback alignment with events instead of numbers. An output broadcasts only when it is
clearly wrong, and then only the sign: λ = B · sign(e) where |e| > 0.2, which is cheap to send on a chip.
Does it still learn, and does it still point along the exact gradient?
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import neurofdfa as nf

EPOCHS, BATCH = 4, 48


# ---- the rule ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ErrorEvents(nf.Rule[tuple[Tensor, ...]]):
    """λ_l[t] = w[t] B_l sign(e[t]) of the outputs with |e| > 0.2, B_l fixed and random."""

    name: ClassVar[str] = "error-events"

    def init(self, network: nf.Network, generator: torch.Generator) -> tuple[Tensor, ...]:
        shapes = [(layer.n, network.n_out) for layer in network.hidden]
        like = network.readout.synapse.weight  # of this device and precision
        return tuple(torch.randn(shape, generator=generator).to(like) for shape in shapes)

    def signals(
        self, network: nf.Network, step: nf.NetworkStep, broadcast: nf.Broadcast, state: tuple[Tensor, ...]
    ) -> tuple[nf.Signals, tuple[Tensor, ...]]:
        clear = broadcast.error.abs() > 0.2 * broadcast.weight
        events = broadcast.weight * broadcast.error.sign() * clear
        return nf.Signals(tuple(events @ b.t() for b in state)), state


# ---- what it is worth ----------------------------------------------------------------------------------
def main() -> None:
    torch.set_num_threads(1)
    data = nf.data.load("digits", steps=8, encoder="direct")
    first, _ = next(data.train.batches(128, seed=0))
    x, target = next(data.validation.batches(len(data.validation)))
    print(f"{'rule':14} {'validation %':>12} {'cosine with BPTT':>17}")
    for rule in (nf.ReadoutOnly(), nf.DFA(), ErrorEvents()):
        network = nf.Network(
            nf.Linear(data.n_in, 32), nf.LIF(), nf.Linear(32, data.n_out), nf.I(),
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        nf.scale_to_rate(network, first, 0.06)
        # A rule of your own runs on the reference engine, which is plain PyTorch.
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        generator = torch.Generator().manual_seed(1)
        trainer = nf.Trainer(network, rule, optimizer, engine="reference", generator=generator)
        trainer.fit(data.train, epochs=EPOCHS, batch=BATCH, progress=False)
        accuracy = trainer.evaluate(data.validation).accuracy
        # The first parameter is the hidden layer's weight: how does its update lie to the exact gradient?
        update, exact = (t.gradients(x, target)[0] for t in (trainer, nf.Trainer(network, nf.BPTT())))
        cosine = torch.cosine_similarity(update.flatten(), exact.flatten(), 0)
        print(f"{rule.name:14} {100 * accuracy:12.1f} {cosine:17.2f}")


if __name__ == "__main__":
    main()
