"""What learns: a network, a rule and an optimizer, and all that they remember between two sequences.

An executor (`neurofdfa.train.online`, `neurofdfa.train.graph_loop`, `neurofdfa.events.trainer`) computes
gradients; what is done with them is the same for all, and stands here.
"""

import inspect
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import CrossEntropy, Loss
from neurofdfa.nn.network import Network
from neurofdfa.rules.base import Rule
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.device import Device
from neurofdfa.train.finite import check_gradients, check_loss, check_weights
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.signals import SignalState

LEARNING_RATE = 2e-3
"""Of Adam, where no optimizer is given."""


def rule_for(network: Network, rule: Rule[Any]) -> Rule[Any]:
    """The rule, with another trace where its own fits not all hidden layers and none of them learns from it.

    A spiking readout learns from the trace, and keeps it.
    """
    used = rule.learns_hidden or network.readout.population is not None
    if used or not isinstance(rule.trace, PerNeuron) or all(layer.plain for layer in network.hidden):
        return rule
    return replace(rule, trace=PerSynapse())


class Learning:
    """The parts of one learner; arguments as for `neurofdfa.train.trainer.Trainer`.

    Attributes: network, rule, optimizer, loss, update_every, rate_regulariser, device, generator, group as
    given; feedback_optimizer: of the feedback that the rule learns, or None; state: what the rule and what
    is wrapped around it remember.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule[Any],
        optimizer: torch.optim.Optimizer | None = None,
        *,
        loss: Loss | None = None,
        update_every: int | None = None,
        rate_regulariser: RateRegulariser | None = None,
        device: Device | None = None,
        generator: torch.Generator | None = None,
        group: ProcessGroup = SINGLE,
    ) -> None:
        if update_every is not None and update_every < 1:
            raise UserError(f"update_every must be at least 1 step, got {update_every}")
        learnt = [x.time_constants for x in network.hidden if x.time_constants is not None]
        if any(x.learn for x in learnt) and not rule.learns_time_constants:
            raise UserError(
                f"rule '{rule.name}' has no eligibility for time constants: take a rule that sends signals, "
                "with the option trace = 'per-synapse', or backpropagation through time, or fix them "
                "(learn_tau = false)"
            )
        if optimizer is None:
            optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        check_optimizer(optimizer, network)
        self.network = network
        self.rule = rule_for(network, rule)
        self.optimizer: torch.optim.Optimizer = optimizer
        self.loss: Loss = loss if loss is not None else CrossEntropy()
        self.update_every = update_every
        self.rate_regulariser = (
            rate_regulariser if rate_regulariser is not None else RateRegulariser(strength=0.0)
        )
        self.device = device if device is not None else Device()
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self.group = group
        self.state = SignalState(rule.init(network, self.generator), self.rate_regulariser.init(network))
        self.device.check(rule, self.rule_state, network, self.loss, group)
        self.stored = self.device.weights(network, self.generator)
        feedback = rule.trainable(self.rule_state)
        self.feedback_optimizer = (
            rule.feedback_optimizer(lambda tensors: optimizer_like(optimizer, tensors), feedback)
            if feedback
            else None
        )
        self.parameters = tuple(network.parameters())
        """The network's, once looked up: with few samples that shows."""
        self._first_rate = _first_rate(optimizer)
        self.updates = 0
        """Times that weights have been updated in this process."""
        self._versions: tuple[int, ...] = ()

    @property
    def rule_state(self) -> Any:
        """What the rule remembers: its feedback matrices, and whatever else it carries."""
        return self.state.rule

    @rule_state.setter
    def rule_state(self, value: Any) -> None:
        self.state = self.state._replace(rule=value)

    @property
    def rates(self) -> tuple[Tensor, ...]:
        """The rate regulariser's running averages, `[n]` per hidden layer."""
        return self.state.rates

    @rates.setter
    def rates(self, value: tuple[Tensor, ...]) -> None:
        self.state = self.state._replace(rates=value)

    @contextmanager
    def trial(self) -> Generator[None]:
        """Gradients are empty before and after; the rule, the rates and the generator move on only inside."""
        state, drawn = self.state, self.generator.get_state()
        self.clear_gradients()
        try:
            yield
        finally:
            self.clear_gradients()
            self.state = state
            self.generator.set_state(drawn)

    def update(self, stats: Sequence[Tensor] = (), *, feedback: bool = False) -> None:
        """Apply the gradients of all processes, which come in one message with the stats.

        feedback: whether the rule's feedback has gradients too. stats: the mean loss first. Raises
        `Diverged` for what is not finite; loss and gradients are looked at before they are applied.
        """
        taught = self.rule.trainable(self.rule_state) if feedback else ()
        learnt = (*self.parameters, *taught)
        self.group.sum_([*(p.grad for p in learnt if p.grad is not None), *stats])
        check_gradients(self.network, [(p, p.grad) for p in learnt if p.grad is not None])
        if stats:
            check_loss(stats[0])
        self.updates += 1
        self.optimizer.step()
        if self.feedback_optimizer is not None and feedback:
            self.follow_schedule()
            self.feedback_optimizer.step()
        self.decay(taught if self.feedback_optimizer is not None else ())
        self.device.store(self.stored, self.generator)
        self.clear_gradients()
        self.check_weights()

    def check_weights(self) -> None:
        """Raise `Diverged`, with the layer's name, unless weights and learnt feedback are finite."""
        check_weights(self.network, (*self.parameters, *self.rule.trainable(self.rule_state)))
        self._versions = self._now()

    def check_changed_weights(self) -> None:
        """The same, if somebody has changed them since they were looked at."""
        if self._now() != self._versions:
            self.check_weights()

    def _now(self) -> tuple[int, ...]:
        tensors = (*self.parameters, *self.rule.trainable(self.rule_state))
        return tuple(n for p in tensors for n in (p._version, p.data_ptr()))  # pyright: ignore[reportPrivateUsage]

    def decay(self, feedback: Iterable[Tensor]) -> None:
        """The weight decay that the rule asks for, on the readout and on the feedback that has learnt."""
        if self.rule.readout_decay:
            rate = self.optimizer.param_groups[0]["lr"] * self.rule.readout_decay
            for tensor in (self.network.readout.synapse.weight, *feedback):
                tensor.mul_(1.0 - rate)

    def follow_schedule(self) -> None:
        """Let a schedule of the weights' learning rate act on the feedback's too, if the rule wants that."""
        if self.feedback_optimizer is None or not self.rule.scheduled_feedback:
            return
        now = self.optimizer.param_groups[0]["lr"]
        for group in self.feedback_optimizer.param_groups:
            first = group.setdefault("initial_lr", group["lr"])
            group["lr"] = now if first == self._first_rate else first * (now / self._first_rate)

    def clear_gradients(self) -> None:
        """Set every gradient to zero."""
        for tensor in (*self.parameters, *self.rule.trainable(self.rule_state)):
            if tensor.grad is not None:
                tensor.grad.zero_()


def optimizer_like(
    optimizer: torch.optim.Optimizer, tensors: Iterable[Tensor], **changes: Any
) -> torch.optim.Optimizer:
    """An optimizer of the same kind and settings for other tensors. Raises `UserError` where it cannot be
    made from its defaults.
    """
    kind: Any = type(optimizer)
    taken = inspect.signature(kind.__init__).parameters
    settings = {name: value for name, value in optimizer.defaults.items() if name in taken} | changes
    try:
        return kind(list(tensors), **settings)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"an optimizer like the given {kind.__name__} cannot be made for a rule's feedback ({error}): "
            "take one of torch.optim, or a rule whose feedback is not learnt"
        ) from error


def check_optimizer(optimizer: object, network: Network) -> None:
    """Raise `UserError` unless it is an optimizer of (some of) the network's parameters."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            "the optimizer is an instance of torch.optim for the network's parameters, such as "
            f"torch.optim.Adam(network.parameters(), lr=2e-3), not {type(optimizer).__name__}"
        )
    own = {id(p) for p in network.parameters()}
    given = [id(p) for group in optimizer.param_groups for p in group["params"]]
    if not own.intersection(given):
        raise UserError(
            "the optimizer has none of the network's parameters: make it from the parameters() of the "
            "network that is trained"
        )


def _first_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate that a schedule's factors are of."""
    group = optimizer.param_groups[0]
    return float(group.get("initial_lr", group["lr"]))
