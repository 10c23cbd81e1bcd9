"""One trainer for every rule: what learns, how a step is executed, and loops over epochs for those who want
none of their own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network, Trajectory
from neurofdfa.notebook import card
from neurofdfa.rules import as_rule
from neurofdfa.rules.base import Rule
from neurofdfa.train.batch import BatchStats, Given, Inputs, densely, prepare, prepare_inputs, prepare_lengths
from neurofdfa.train.device import Device
from neurofdfa.train.evaluation import Evaluation, asked, checked, evaluate, scores_of
from neurofdfa.train.finite import check_loss
from neurofdfa.train.fit import Callback, EpochStats, Schedule, Scheduler, Source, batches_of, fit
from neurofdfa.train.graph_loop import GraphLoop
from neurofdfa.train.learning import Learning
from neurofdfa.train.online import OnlineLoop
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.sequence_loop import SequenceLoop, why_not_whole
from neurofdfa.train.state import Tensors, move, pack, unpack
from neurofdfa.train.stream import OnlineStream, Stream

if TYPE_CHECKING:
    from neurofdfa.events.feedback_binding import Probes

Engine = Literal["auto", "events", "reference"]
EVALUATION_BATCH = 256


class Executor(Protocol):
    """How gradients come about. x: `[T, B, n_in]`, as `prepare` hands it over; target to fit."""

    takes_events: ClassVar[bool]
    """Whether x may be lists of events, and tensors of any type; else it has the weights' type."""

    def train(self, x: Any, target: Tensor, lengths: Tensor | None = None) -> BatchStats:
        """Learn from one batch of sequences. lengths: each sample's own, `[B]`, where they differ."""
        ...

    def gradients(self, x: Any, target: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer, in the order of `network.parameters()`."""
        ...

    def run(self, x: Any) -> Trajectory:
        """Inference over sequences."""
        ...

    def abandon(self) -> None:
        """Forget a sequence that was interrupted, and all that was summed up in it."""
        ...


@runtime_checkable
class Habitual(Protocol):
    """An executor whose earlier batches decide how it adds numbers up, and with it their last bits."""

    @property
    def habits(self) -> dict[str, bool]:
        """What they have decided."""
        ...

    def resume(self, habits: dict[str, bool]) -> None:
        """Add up as an executor with these habits did."""
        ...


class Trainer(Learning):
    """Trains a network with a rule.

    network, rule: what learns and how (`neurofdfa.rules`); the name of a rule stands for it with its usual
    settings. optimizer: a `torch.optim` instance made from the
    network's parameters, Adam with a learning rate of 2e-3 where none is given; schedulers of torch act on
    it. loss: cross-entropy at every step where none is given. engine: "auto" takes the event engine where it
    can do the job and the reference elsewhere, with one notice that says why; "events" and "reference"
    insist. update_every: steps between weight updates, None for one at the end of each sequence.
    rate_regulariser: a local pull of firing rates. device: what hardware would do to the learning. generator:
    of feedback, probes and dropout. group: the processes that train together; each is handed the same
    batches, works on its share of them and ends with the same weights. threads: of the event engine. chunk:
    steps between which the event engine filters errors back (None: as many as fit, at most 128). probes:
    "counter" lets the event engine draw a rule's probes from a counter-based generator seeded by `generator`;
    "reference" draws the very numbers that the reference draws, which is slower. batch_first: data come as
    `[B, T, …]`; without it they are time-major, `[T, B, …]`.

    Raises `UserError` for settings that do not go together.

    >>> trainer = Trainer(network, FDFA(), torch.optim.Adam(network.parameters(), lr=4e-3))
    >>> for x, target in batches:          # x [T, B, n_in], target [B]
    ...     trainer.step(x, target)
    """

    def __init__(
        self,
        network: Network,
        rule: Rule[Any] | str,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        loss: Loss | None = None,
        engine: Engine = "auto",
        update_every: int | None = None,
        rate_regulariser: RateRegulariser | None = None,
        device: Device | None = None,
        generator: torch.Generator | None = None,
        group: ProcessGroup = SINGLE,
        threads: int = 1,
        chunk: int | None = None,
        probes: "Probes" = "counter",
        batch_first: bool | None = None,
    ) -> None:
        if engine not in ("auto", "events", "reference"):
            raise UserError(f"unknown engine '{engine}': choose auto, events or reference")
        if threads < 1 or (chunk is not None and chunk < 1):
            raise UserError(f"threads and chunk must be at least 1, got {threads} and {chunk}")
        self.engine: Engine = engine
        self.threads, self.chunk = threads, chunk
        self.probes: Probes = probes
        self.batch_first = batch_first
        self.epochs = 0
        """Epochs that `fit` has finished."""
        self._stream: Stream | None = None
        super().__init__(
            network, as_rule(rule), optimizer, loss=loss, update_every=update_every,
            rate_regulariser=rate_regulariser, device=device, generator=generator, group=group,
        )  # fmt: skip
        self.executor = self._executor()
        self._constants = network.constants

    def _executor(self) -> Executor:
        """THE choice of engine: by the rule's facts, the network and what was asked for."""
        through_time = self.rule.through_time
        if through_time is not None:
            if self.engine == "events":
                raise UserError(
                    f"the event engine does not execute '{self.rule.name}', which goes back through "
                    "autograd's graph: leave engine at 'auto'"
                )
            return GraphLoop(self, through_time.window)
        if self.engine == "reference":
            return OnlineLoop(self)
        whole = why_not_whole(self) is None
        on_cpu = self.network.readout.synapse.weight.device.type == "cpu"
        if self.engine == "auto" and not on_cpu:
            return SequenceLoop(self) if whole else OnlineLoop(self)
        from neurofdfa.events.notice import fall_back  # numba takes a second to import
        from neurofdfa.events.support import why_not
        from neurofdfa.events.trainer import EventEngine

        reason = why_not(self)
        if reason is None:
            return EventEngine(self, self.threads, self.chunk, self.probes)
        if self.engine == "events":
            raise UserError(f"{reason}: change that, or leave engine at 'auto'")
        fall_back(reason, whole=whole)
        return SequenceLoop(self) if whole else OnlineLoop(self)

    def step(self, x: Given, target: Tensor, lengths: Any = None) -> BatchStats:
        """Learn from one batch of sequences.

        x: `[T, B, n_in]` (or `[B, T, n_in]` with `batch_first`) of any number type, or `Events`; target:
        labels `[B]`, or values `[B, k]` or `[T, B, k]`, as the loss takes them. lengths: steps that are each
        sample's own, `[B]`, where shorter ones are filled up: what is behind its end counts nowhere, in no
        loss, trace, rate or score, and the mean over the batch is that of the samples on their own. The
        reference computes those of one length together, and so takes longer.
        Raises `UserError`, before anything is learnt, for what does not fit or is not finite, and `Diverged`
        where loss, gradients or weights are no longer finite: gradients are looked at before they are
        applied. After an error, Ctrl-C among them, nothing of the batch is left over for the next one.
        """
        if self._stream is not None and not self._stream.ended:
            raise UserError("a stream of this trainer is still open: end() it before learning from a batch")
        executor = self._up_to_date()
        given, wanted = self._prepared(x, target)
        own = self._lengths(given, lengths)
        self.check_changed_weights()
        kept, updates = self.state, self.updates
        try:
            stats = executor.train(given, wanted, own)
            check_loss(stats.loss)
        except BaseException:
            executor.abandon()
            self.clear_gradients()
            if self.updates == updates:
                self.state = kept
            raise
        return stats

    def gradients(self, x: Given, target: Tensor, lengths: Any = None) -> tuple[Tensor, ...]:
        """What one batch would hand to the optimizer, in the order of `network.parameters()`.

        Nothing is updated, neither weights nor feedback, and no neuron is dropped; the rule's and the
        generator's state move on only inside. In a group each process computes the whole batch's by itself.
        """
        executor = self._up_to_date()
        given, wanted = self._prepared(x, target)
        own = self._lengths(given, lengths)
        self.check_changed_weights()
        return executor.gradients(given, wanted, own)

    @torch.no_grad()
    def predict(self, x: Given, lengths: Any = None) -> Tensor:
        """Scores `[B, k]` of a batch of sequences, read the way that the rule reads them, and at the end of
        each sample's own length where `lengths` `[B]` are given.
        """
        given = prepare_inputs(self.network, x, batch_first=self.batch_first)
        self.check_weights()
        own = prepare_lengths(given, lengths)
        if self.rule.own_scores:
            return asked(self.predict_dense, densely(self.network, given), own)
        executor = self._up_to_date()
        y = executor.run(given if executor.takes_events else densely(self.network, given)).y
        return scores_of(self.network, y, self.loss.when, own)

    def evaluate(self, data: Source, *, batch: int = EVALUATION_BATCH) -> Evaluation:
        """Loss, accuracy and firing rates on a split of a data set or a loader of `(x, target)`, without
        dropout; every process of a group runs its share. batch: samples at a time, for a split.
        """
        self.check_weights()
        executor = self._up_to_date()
        found = batches_of(data, batch, None, self.batch_first)
        return evaluate(
            self.network,
            executor.run,
            checked(
                self.network, self.loss, found, lists=executor.takes_events, batch_first=self.batch_first
            ),
            self.loss,
            scores=self.predict_dense if self.rule.own_scores else None,
            group=self.group,
        )

    def predict_dense(self, x: Inputs) -> Tensor:
        """The rule's own scores of time-major inputs."""
        return self.rule.predict(self.network, densely(self.network, x), self.rule_state)

    def fit(
        self,
        train: Source,
        validation: Source | None = None,
        epochs: int = 1,
        *,
        batch: int = 64,
        callbacks: Sequence[Callback] = (),
        scheduler: Scheduler | None = None,
        schedule: Schedule = "epoch",
        progress: bool = True,
    ) -> list[EpochStats]:
        """Learn for so many more epochs; called again it goes on where it stopped.

        train, validation: splits of a data set, or loaders: anything that yields `(x, target)`, or
        `(x, target, lengths)`, each time it is gone through. batch: samples at a time, for a
        split. callbacks: called with the trainer and every epoch's measures; one that returns True ends the
        training. scheduler: of torch, stepped after every epoch or, with schedule "batch", after every
        batch. progress: a bar on a terminal or in a notebook.
        """
        return fit(
            self, train, validation, epochs, batch=batch, callbacks=callbacks, scheduler=scheduler,
            schedule=schedule, progress=progress and self.group.leads,
        )  # fmt: skip

    def stream(self, batch: int = 1, *, horizon: int = 100, values: bool = False) -> Stream:
        """Learn step by step: `y = stream.step(x_t, target_t)`, x_t `[batch, n_in]`, then `stream.end()`.

        horizon: how many steps the loss is spread over, the length of the sequence where there is an end; a
        stream may go on beyond it. Weights change every `update_every` steps of the trainer, or at the end
        where it has none. values: inputs are any numbers, not spikes of 0 and 1 (the reference takes both).
        Raises `UserError` for a rule that needs the whole sequence.
        """
        if self.rule.through_time is not None:
            raise UserError(
                f"'{self.rule.name}' needs the whole sequence before it learns: take step(), or another rule"
            )
        if horizon < 1 or batch < 1:
            raise UserError(f"a stream has at least 1 sample and a horizon of 1 step, got {batch}, {horizon}")
        if self._stream is not None and not self._stream.ended:
            raise UserError("a stream of this trainer is still open: end() it before opening another")
        self.check_changed_weights()
        self._stream = self._open_stream(batch, horizon, values)
        return self._stream

    def _open_stream(self, batch: int, horizon: int, values: bool) -> Stream:
        if isinstance(self._up_to_date(), OnlineLoop):
            return OnlineStream(self, batch, horizon)
        from neurofdfa.events.notice import fall_back
        from neurofdfa.events.stream import LearnStream, why_not_stream

        reason = why_not_stream(self, batch)
        if reason is None:
            return LearnStream(self, batch, horizon=horizon, values=values, probes=self.probes)
        if self.engine == "events":
            raise UserError(reason)
        fall_back(reason)
        return OnlineStream(self, batch, horizon)

    def state_dict(self, generators: dict[str, torch.Generator] | None = None) -> Tensors:
        """Everything that training carries on, as flat tensors: weights, feedback, optimizers, generators and
        counters. What goes on from it is the very training that was left, bit for bit.

        generators: further ones to keep with it, by name, such as the one that draws the batches.
        """
        habits = self.executor.habits if isinstance(self.executor, Habitual) else {}
        own = {f"habit.{name}": torch.tensor(value) for name, value in habits.items()}
        return pack(self, generators or {}) | own | {"counter.epochs": torch.tensor(self.epochs)}

    def load_state_dict(self, state: Tensors, generators: dict[str, torch.Generator] | None = None) -> None:
        """Go on from a `state_dict` of a trainer that was made alike; `UserError` where it does not fit."""
        unpack(state, self, generators or {})
        self.epochs = int(state.get("counter.epochs", torch.tensor(0)))
        self.executor = self._executor()
        if isinstance(self.executor, Habitual):
            habits = {name: bool(x) for name, x in state.items() if name.startswith("habit.")}
            self.executor.resume({name.removeprefix("habit."): x for name, x in habits.items()})

    def to(self, device: torch.device | str) -> "Trainer":
        """Move network, feedback and optimizers to a device of torch; the engine is chosen anew."""
        move(self, torch.device(device))
        self.executor = self._executor()
        return self

    def __repr__(self) -> str:
        parts = ", ".join(str(n) for n in (self.network.n_in, *(x.n for x in self.network.hidden)))
        return (
            f"Trainer({parts}, {self.network.n_out} with {self.rule!r}, {type(self.optimizer).__name__}, "
            f"{type(self.loss).__name__}, on {type(self.executor).__name__})"
        )

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        sizes = (self.network.n_in, *(layer.n for layer in self.network.hidden), self.network.n_out)
        rate = float(self.optimizer.param_groups[0]["lr"])
        rows: list[tuple[str, object]] = [
            ("network", "-".join(map(str, sizes))),
            ("rule", repr(self.rule)),
            ("optimizer", f"{type(self.optimizer).__name__}, learning rate {rate:.3g}"),
            ("loss", repr(self.loss)),
            ("runs on", type(self.executor).__name__),
            ("epochs so far", self.epochs),
        ]
        return card("trainer", rows)

    def _up_to_date(self) -> Executor:
        """The executor, made anew where a setting of the neurons has changed since: engines copy them."""
        if self._constants != self.network.constants:
            self._constants = self.network.constants
            self.executor = self._executor()
        return self.executor

    def _lengths(self, x: Any, lengths: Any) -> Tensor | None:
        """None where all samples are as long as the batch; raises `UserError` for what cannot be."""
        own = prepare_lengths(x, lengths)
        if own is None:
            return None
        for there, what in (
            (self.update_every is not None, "update_every goes with samples of one length: leave it out"),
            (self.group.size > 1, "several processes learn from samples of one length: take one process"),
        ):
            if there:
                raise UserError(f"the samples have lengths of their own, and {what}")
        return own

    def _prepared(self, x: Given, target: Tensor) -> tuple[Any, Tensor]:
        given, wanted = prepare(self.network, self.loss, x, target, batch_first=self.batch_first)
        return (given if self.executor.takes_events else densely(self.network, given)), wanted
