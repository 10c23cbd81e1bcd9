"""A learning rule of your own: ten lines, and the training step, traces, optimizer and measures are there.

The rule: direct feedback alignment with events instead of numbers. An output broadcasts only when it is
clearly wrong, and then only the sign: λ = B · sign(e) where |e| > 0.2, which is cheap to send on a chip.
Does it still learn, and does it still point along the exact gradient?
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurofdfa.data.digits import digits
from neurofdfa.data.encode import direct
from neurofdfa.nn.network import Network, NetworkStep, feed_forward, scale_to_rate
from neurofdfa.rules import DFA, Broadcast, ReadoutOnly, Rule, Signals
from neurofdfa.rules.bptt import BPTT
from neurofdfa.train.trainer import Trainer

STEPS, EPOCHS, BATCH = 8, 3, 48


# ---- the rule ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ErrorEvents(Rule[tuple[Tensor, ...]]):
    """λ_l[t] = w[t] B_l sign(e[t]) of the outputs with |e| > 0.2, B_l fixed and random."""

    name: ClassVar[str] = "error-events"

    def init(self, network: Network, generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(torch.randn(layer.n, network.n_out, generator=generator) for layer in network.hidden)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: tuple[Tensor, ...]
    ) -> tuple[Signals, tuple[Tensor, ...]]:
        clear = broadcast.error.abs() > 0.2 * broadcast.weight
        events = broadcast.weight * broadcast.error.sign() * clear
        return Signals(tuple(events @ b.t() for b in state)), state


# ---- what it is worth ----------------------------------------------------------------------------------
def main() -> None:
    torch.set_num_threads(1)
    data = digits(STEPS, direct)
    x_val, y_val = direct(data.validation.inputs, STEPS), data.validation.targets
    print(f"{'rule':14} {'validation %':>12} {'cosine with BPTT':>17}")
    for rule in (ReadoutOnly(), DFA(), ErrorEvents()):
        generator = torch.Generator().manual_seed(0)
        network = feed_forward(data.n_in, [32], data.n_out, generator=generator)
        scale_to_rate(network, direct(data.train.inputs[:128], STEPS), 0.06)
        learner = Trainer(network, rule, torch.optim.Adam(network.parameters(), lr=5e-3), generator=generator)
        for _ in range(EPOCHS):
            shuffled = data.train.select(torch.randperm(len(data.train), generator=generator))
            for first in range(0, len(shuffled), BATCH):
                batch = shuffled.select(slice(first, first + BATCH))
                learner.step(direct(batch.inputs, STEPS), batch.targets)
        accuracy = 100 * (learner.predict(x_val).argmax(1) == y_val).float().mean()
        # the first parameter is the hidden layer's weight
        update, exact = (
            learner.gradients(x_val, y_val)[0],
            Trainer(network, BPTT()).gradients(x_val, y_val)[0],
        )
        cosine = torch.cosine_similarity(update.flatten(), exact.flatten(), 0)
        print(f"{rule.name:14} {accuracy:12.1f} {cosine:17.2f}")


if __name__ == "__main__":
    main()
