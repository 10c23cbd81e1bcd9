"""Record what one training sequence saw, and train on it again with chosen parts of it replaced by noise.

Both runs are the learner's own: real rule, real traces, real optimizer. On playback the network's step hands
out what was recorded, so that a layer's update can change only if it was computed from something replaced.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.measure.locality.graph import grafted_step
from neurofdfa.measure.locality.noise import Change, Noise, layer_names
from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.loss import Loss, When
from neurofdfa.nn.network import Masks, Network, NetworkState, NetworkStep
from neurofdfa.nn.readout import ReadoutState, ReadoutStep, ReadoutTangent
from neurofdfa.train.trainer import Trainer

Make: TypeAlias = Callable[[Network], Trainer]


@dataclass
class Tape:
    """What a sequence saw, in order: steps, errors `[B, k]`, outputs' tangents, what the drives of layers
    answered to a rule's probes, and outputs of a copy of the network that a rule runs.
    """

    steps: list[NetworkStep] = field(default_factory=list[NetworkStep])
    errors: list[Tensor] = field(default_factory=list[Tensor])
    tangents: list[ReadoutTangent] = field(default_factory=list[ReadoutTangent])
    answers: list[Tensor] = field(default_factory=list[Tensor])
    copies: list[Tensor] = field(default_factory=list[Tensor])


class Outcome(NamedTuple):
    """Per layer name: what the optimizer was handed, and weights and feedback after it.

    history: the same before every step, for all layers.
    """

    handed: dict[str, list[Tensor]]
    after: dict[str, list[Tensor]]
    history: list[list[Tensor]]


def train_once(
    make: Make,
    network: Network,
    x: Tensor,
    target: Tensor,
    *,
    tape: Tape | None = None,
    change: Change | None = None,
    regulated: bool = True,
) -> Outcome:
    """Train a copy of `network` on one batch. With `change`, play `tape` back; else record onto it.

    regulated: keep the firing-rate regulariser, which averages over the batch.
    """
    network = copy.deepcopy(network)
    noise = None if change is None else Noise(change, network, x.shape[1])
    if noise is not None:
        noise.replace_weights(network)
    learner = make(network)
    if not regulated:
        learner.rate_regulariser = replace(learner.rate_regulariser, strength=0.0)
    _wake(learner)
    session = _Session(network, learner, tape if tape is not None else Tape(), noise)
    session.install()
    if noise is not None:
        x, target = noise.altered("input", x, 1), noise.other_target(target)
    learner.step(x, target)
    return Outcome(session.handed, _by_layer(learner, lambda tensor: tensor), session.history)


def trainable(learner: Trainer) -> tuple[Tensor, ...]:
    """The learner's feedback tensors."""
    return learner.rule.trainable(learner.rule_state)


def _wake(learner: Trainer) -> None:
    """Feedback that starts at zero would hide what it carries."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in trainable(learner):
            if not tensor.any():
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))


def _by_layer(learner: Trainer, of: Callable[[Tensor], Tensor]) -> dict[str, list[Tensor]]:
    network = learner.network
    names = layer_names(network)
    found = {
        name: [of(p).detach().clone() for p in module.parameters()]
        for name, module in zip(names, (*network.hidden, network.readout), strict=True)
    }
    feedback = trainable(learner)
    if len(feedback) == len(network.hidden):
        for name, tensor in zip(names, feedback, strict=False):
            found[name].append(of(tensor).detach().clone())
    return found


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


class _Session:
    """Hooks of one run around one network and its learner."""

    def __init__(
        self,
        network: Network,
        learner: Trainer,
        tape: Tape,
        noise: Noise | None,
    ) -> None:
        self.network, self.learner, self.tape, self.noise = network, learner, tape, noise
        self.within_rule = False
        self.steps = self.errors = self.tangents = self.answers = self.copies = 0
        self.handed: dict[str, list[Tensor]] = {name: [] for name in layer_names(network)}
        self.history: list[list[Tensor]] = []

    def install(self) -> None:
        """Put this session between the learner and what it reads."""
        self.network.__dict__["step"] = self.step
        self.network.__dict__["drive_tangent"] = self.drive_tangent
        self.network.readout.__dict__["tangent_step"] = self.tangent_step
        self.network.readout.__dict__["step"] = self.readout_step
        self.learner.optimizer.register_step_pre_hook(self.about_to_update)
        if self.learner.rule.through_time is None:
            self.learner.loss = _Bus(self.learner.loss, self)
            self.learner.rule = _Watched(self.learner.rule, self)  # pyright: ignore[reportAttributeAccessIssue]

    def step(
        self, x: Tensor, state: NetworkState, masks: Masks | None = None, *, differentiable: bool = False
    ) -> NetworkStep:
        """The network's step, recorded or played; what a rule steps by itself is real."""
        real: Any = type(self.network).step
        if self.within_rule:
            return real(self.network, x, state, masks, differentiable=differentiable)
        everything = (*self.network.parameters(), *trainable(self.learner))
        self.history.append([t.detach().clone() for p in everything for t in (p, _grad(p))])
        t, self.steps = self.steps, self.steps + 1
        if self.noise is None:
            step: NetworkStep = real(self.network, x, state, masks, differentiable=differentiable)
            self.tape.steps.append(_detached(step))
            return step
        played = self.noise.altered_step(self.tape.steps[t])
        return grafted_step(self.network, x, state, played) if differentiable else played

    def error(self, loss: Loss, y: Tensor, target: Tensor) -> Tensor:
        """∂loss/∂y, recorded or played."""
        t, self.errors = self.errors, self.errors + 1
        if self.noise is None:
            self.tape.errors.append(loss.error(y, target))
            return self.tape.errors[-1]
        return self.noise.altered("error", self.tape.errors[t])

    def tangent_step(self, pre_dot: Tensor, tangent: ReadoutTangent, step: Any) -> ReadoutTangent:
        """The outputs' tangent, which all layers may hear, recorded or played."""
        real: Any = type(self.network.readout).tangent_step
        t, self.tangents = self.tangents, self.tangents + 1
        if self.noise is None or t >= len(self.tape.tangents):
            found: ReadoutTangent = real(self.network.readout, pre_dot, tangent, step)
            if self.noise is None:
                self.tape.tangents.append(found)
            return found
        true = self.tape.tangents[t]
        y, drive = (self.noise.altered("output tangents", x) for x in (true.y, true.drive))
        return ReadoutTangent(y, drive, true.neuron)

    def drive_tangent(self, index: int, sent: Tensor) -> Tensor:
        """What the drive above a layer answers to its probes, recorded or played."""
        t, self.answers = self.answers, self.answers + 1
        if self.noise is None:
            real: Any = type(self.network).drive_tangent
            self.tape.answers.append(real(self.network, index, sent))
            return self.tape.answers[-1]
        source = f"{layer_names(self.network)[index + 1]}.drive tangents"
        return self.noise.altered(source, self.tape.answers[t])

    def readout_step(self, pre: Tensor, state: ReadoutState, *, differentiable: bool = False) -> ReadoutStep:
        """The readout's step; the outputs of a copy that the rule runs, which all layers may hear, are
        recorded or played as their tangents are.
        """
        real: Any = type(self.network.readout).step
        found: ReadoutStep = real(self.network.readout, pre, state, differentiable=differentiable)
        if not self.within_rule:
            return found
        t, self.copies = self.copies, self.copies + 1
        if self.noise is None:
            self.tape.copies.append(found.y)
            return found
        return found._replace(y=self.noise.altered("output tangents", self.tape.copies[t]))

    def about_to_update(self, *_: Any) -> None:
        """Keep what the optimizer is about to use."""
        for name, tensors in _by_layer(self.learner, _grad).items():
            self.handed[name] += tensors

    def begun(self, state: Any, own: tuple[Tensor, ...]) -> Any:
        """A rule's state at the start of the sequence, with some layers' part of it replaced."""
        if self.noise is None:
            return state
        return self.noise.altered_memory(state, None, {id(t) for t in own})


class _Bus:
    """The loss, with the error that is broadcast taken from a session."""

    def __init__(self, loss: Loss, session: _Session) -> None:
        self.loss, self.session = loss, session

    @property
    def when(self) -> When:
        return self.loss.when

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        return self.loss.value(y, target)

    def error(self, y: Tensor, target: Tensor) -> Tensor:
        return self.session.error(self.loss, y, target)


class _Watched:
    """A rule whose own steps of the network are told from the learner's."""

    def __init__(self, rule: Any, session: _Session) -> None:
        self._rule, self._session = rule, session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)

    def begin(self, network: Network, state: Any, share: Shard) -> Any:
        begun = self._inside(lambda: self._rule.begin(network, state, share))
        return self._session.begun(begun, self._rule.trainable(begun))

    def present(self, *arguments: Any) -> Tensor:
        return self._inside(lambda: self._rule.present(*arguments))

    def signals(self, *arguments: Any) -> Any:
        return self._inside(lambda: self._rule.signals(*arguments))

    def _inside(self, call: Callable[[], Any]) -> Any:
        self._session.within_rule = True
        try:
            return call()
        finally:
            self._session.within_rule = False


def _detached(step: NetworkStep) -> NetworkStep:
    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach()
        if isinstance(value, LayerStep):
            kept = plain((value.pre, value.before, value.after, value.psi, value.mask))
            return LayerStep(*kept)
        if not isinstance(value, tuple):
            return value
        items = [plain(x) for x in value]  # pyright: ignore[reportUnknownVariableType]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    return plain(step)
