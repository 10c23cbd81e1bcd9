"""A local pull of each neuron's firing rate towards a target.

Each neuron keeps a slow running average r of its own spikes and adds strength · (r − target) to its
learning signal: the derivative of ½ strength (r − target)² with respect to its spikes. A trace that the
readout's κ filters hands the pull back to earlier spikes too, as if it were an error at the output: over T
steps an integrator makes it about (T + 1)/2 times as strong as the penalty `loss` is for BPTT.

Samples that have lengths of their own share no clock. During such a batch r stands still, and a sample's pull
is spread over its own steps; at the end r moves towards the rate of all of their steps together, as far as in
so many steps as they have on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.distributed.group import Part, Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Signals
from neurofdfa.train.signals import SignalSource, SignalState


@dataclass(frozen=True)
class RateRegulariser:
    """rate: spikes per step; strength: 0 switches it off; memory: steps that r averages over."""

    rate: float = 0.05
    strength: float = 0.03
    memory: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1 or not self.strength >= 0 or not self.memory >= 1:
            raise UserError(
                f"a rate target needs 0 < rate < 1, strength >= 0 and memory >= 1 step, got {self}"
            )

    def init(self, network: Network) -> tuple[Tensor, ...]:
        """Averages r of every hidden neuron, `[n]`, starting at the target."""
        return tuple(layer.synapse.weight.new_full((layer.n,), self.rate) for layer in network.hidden)

    def around(self, source: SignalSource, steps: int, share: Shard) -> SignalSource:
        """The source's signals with the pull of one of `steps` steps added; without strength the source
        itself.

        A layer that is taught in another way, by gradients of its own, hears the pull alone; one that does
        not learn does not hear it.
        """
        if not self.strength:
            return source

        def unequal(
            step: NetworkStep, broadcast: Broadcast, state: SignalState
        ) -> tuple[Signals, SignalState]:
            signals, after = source(step, broadcast, state)
            fired = [seen.after.s.sum(0) for seen in step.layers]
            if state.fired:
                fired = [a + b for a, b in zip(state.fired, fired, strict=True)]
            return pulled(signals, step, state.rates), after._replace(fired=tuple(fired))

        def pulled(signals: Signals, step: NetworkStep, rates: tuple[Tensor, ...]) -> Signals:
            direct = signals.direct or (None,) * len(rates)
            hidden = tuple(
                signal if signal is None and own is None else self._pulled(signal, rate, steps, seen)
                for signal, own, rate, seen in zip(signals.hidden, direct, rates, step.layers, strict=True)
            )
            return signals._replace(hidden=hidden)

        def regulated(
            step: NetworkStep, broadcast: Broadcast, state: SignalState
        ) -> tuple[Signals, SignalState]:
            signals, after = source(step, broadcast, state)
            fired = share.mean([seen.after.s.mean(0) for seen in step.layers])
            rates = tuple(map(self.observe, after.rates, fired))
            return pulled(signals, step, rates), after._replace(rates=rates)

        return unequal if isinstance(share, Part) else regulated

    def _pulled(self, signal: Tensor | None, rate: Tensor, steps: int, seen: LayerStep) -> Tensor:
        pull = self.signal(rate) / steps
        return pull.expand_as(seen.psi) if signal is None else signal + pull

    def observe(self, average: Tensor, fired: Tensor) -> Tensor:
        """The averages after one step. fired: share of a neuron's copies (the batch) that fired, `[n]`."""
        return average + (fired - average) / self.memory

    def averages(self, before: NDArray[np.float64], fired: NDArray[np.float64]) -> NDArray[np.float64]:
        """The averages after each of T steps, `[T, n]`. before: `[n]`; fired: as for `observe`, `[T, n]`."""
        found = fired / self.memory
        for t in range(len(found)):
            found[t] += (1.0 - 1.0 / self.memory) * (before if t == 0 else found[t - 1])
        return found

    def observe_all(
        self, averages: tuple[Tensor, ...], fired: Sequence[Tensor], lengths: Tensor
    ) -> tuple[Tensor, ...]:
        """The averages after a batch of samples of unequal lengths. fired: their spikes, `[n]` per layer."""
        total = int(lengths.sum())
        share = 1.0 - (1.0 - 1.0 / self.memory) ** (total / len(lengths))
        return tuple(
            old + share * (spikes.to(old) / total - old) for old, spikes in zip(averages, fired, strict=True)
        )

    def signal(self, average: Tensor) -> Tensor:
        """What is added to λ, `[n]`."""
        return self.strength * (average - self.rate)

    def loss(self, fired: Tensor) -> Tensor:
        """The same as a differentiable penalty on the mean over a sequence and batch, `[n]`, for BPTT."""
        return 0.5 * self.strength * (fired - self.rate).square().sum()
