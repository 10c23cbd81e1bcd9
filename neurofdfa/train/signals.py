"""Where learning signals come from: a rule, and what is wrapped around it.

A source is a pure function from a step and its broadcast to signals; a wrapper makes a source from a source,
as optax chains transformations of gradients:

    source = of_rule(rule, network)                    λ = what the rule says
    source = device.around(source, …)                  … as a device would deliver it
    source = regulariser.around(source, …)             … with a pull towards a firing rate
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals

ErrorQueue: TypeAlias = tuple[Broadcast, ...]
"""Broadcasts that are still on their way, the oldest first."""


class SignalState(NamedTuple):
    """What the sources remember. rule: the rule's own state; rates: averages of the rate regulariser, `[n]`
    per hidden layer; line: of a device's slow bus, empty at the start of every sequence. fired: spikes of the
    samples of unequal lengths so far, `[n]` per hidden layer, of a regularised batch of them.
    """

    rule: Any
    rates: tuple[Tensor, ...]
    line: ErrorQueue = ()
    fired: tuple[Tensor, ...] = ()


SignalSource: TypeAlias = Callable[[NetworkStep, Broadcast, SignalState], tuple[Signals, SignalState]]


def of_rule(rule: Rule[Any], network: Network) -> SignalSource:
    """The rule's own signals."""

    def source(step: NetworkStep, broadcast: Broadcast, state: SignalState) -> tuple[Signals, SignalState]:
        signals, after = rule.signals(network, step, broadcast, state.rule)
        return signals, state._replace(rule=after)

    return source
