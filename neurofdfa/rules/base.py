"""What every learning rule is: a source of learning signals λ for the hidden layers.

The training step (`neurofdfa.train.online`) runs the network forward, asks the rule for λ[t] of each hidden
layer, multiplies it with the layer's eligibility trace and hands the sum to an optimizer:

    ΔW_ji ∝ −Σ_t λ_j[t] · trace_ji[t]

A rule is a frozen dataclass of settings and pure functions; what it remembers is a state that it returns.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.cost import Case, Counts
from neurofdfa.rules.engine_facts import EngineFacts
from neurofdfa.rules.traces import LayerGradient, PerSynapse, Trace

S = TypeVar("S")
OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


class Broadcast(NamedTuple):
    """What every layer is told in step t: the global bus of a local rule.

    error: w[t] ∂loss/∂y[t], `[B, k]`; target: of this step; weight: w[t] of the loss; steps: T. Of all steps
    side by side the rows are those of the first step, then of the second, …; weight is `[T·B, 1]` and t the
    last step.
    """

    t: int
    steps: int
    weight: float | Tensor
    error: Tensor
    target: Tensor


class Signals(NamedTuple):
    """hidden: λ[t] of each hidden layer, `[B, n]`, or None where the layer does not learn.

    feedback: pseudo-gradients of `Rule.trainable(state)` to add in this step, or None; means over the samples
    here, or over `observed` where only some of them count.
    direct: weight gradients (summed over the batch) of rules that are not signal × trace, None per layer
    that has none; they are added to those of the signals.
    """

    hidden: tuple[Tensor | None, ...]
    feedback: tuple[Tensor, ...] | None = None
    direct: tuple[LayerGradient | None, ...] | None = None
    observed: Shard | None = None


class ThroughTime(NamedTuple):
    """The fact of a rule that it is the loss's gradient through time, which autograd computes.

    window: steps that a gradient reaches back at most; None for all of the sequence.
    """

    window: int | None


@dataclass(frozen=True)
class Rule(Generic[S]):
    """Base of all rules; S is the type of the rule's state.

    trace: the eligibility trace that the signals are multiplied with.
    passes: how often the network sees each sample, side by side in one batch; the first pass is the input
    as it is, and it alone has outputs that count.
    A rule whose λ is `broadcast_back(state.matrices, step, rule.message(broadcast))` is a broadcast rule;
    its state names the matrices `matrices`.
    A batch may be shared by several processes (`neurofdfa.distributed.group`): what a rule draws for each
    sample it draws for the whole batch, `share.rows(draw(share.total))`; means that it uses at once it takes
    with `share.mean`; both from the share that it is given at the start of the sequence.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """How it is written in prose, where that is not its name."""
    source: ClassVar[str]
    frugal: ClassVar[dict[str, Any]] = {}
    """Settings with which it costs less and, as far as studies can tell, learns as well; benchmarks take
    them, and tables of costs show them beside the default.
    """
    passes: ClassVar[int] = 1
    scheduled_feedback: ClassVar[bool] = True
    """Whether the learning-rate schedule acts on the feedback's optimizer too."""

    learns_hidden: ClassVar[bool] = True
    """Whether hidden layers learn at all."""
    steps_side_by_side: ClassVar[bool] = False
    """Whether `signals`, as this very class defines it, may be asked about all steps of a sequence at once,
    as if they were samples (see `Broadcast`), because none needs the one before; the feedback's gradients are
    then means over the steps.
    """
    without_trace: ClassVar[str] = ""
    """Why its hidden layers learn from no trace; nothing where they do."""

    trace: Trace[Any] = field(default_factory=PerSynapse, kw_only=True)

    @property
    def own_scores(self) -> bool:
        """Whether `predict` reads anything but the network's outputs."""
        kind: Any = type(self)
        return kind.predict is not Rule.predict  # pyright: ignore[reportUnknownMemberType]

    @property
    def through_time(self) -> ThroughTime | None:
        """Whether autograd computes what it learns, and how far back; None for rules that learn online."""
        return None

    @property
    def local_in_space(self) -> bool:
        """Whether a layer learns from its input spikes, its own state and a broadcast alone."""
        return True

    @property
    def local_in_time(self) -> bool:
        """Whether learning runs forward in time with memory that the sequence's length does not change."""
        return True

    @property
    def learns_time_constants(self) -> bool:
        """Whether it can learn them: it needs signals and a trace that has an eligibility for them."""
        return isinstance(self.trace, PerSynapse) and not self.without_trace

    @property
    def engine_facts(self) -> EngineFacts | str:
        """What an engine has to do for it, or why there is none that does."""
        return f"the event engine does not execute the rule '{self.name}'"

    def teaches_at(self, t: int, steps: int) -> bool:
        """Whether hidden layers learn in step t of a sequence of so many, where there is an error."""
        return True

    def cost(self, case: Case) -> Counts:
        """What it adds to the work at the synapses, per sample; raises `UserError` where it does not say."""
        raise UserError(f"no energy ledger for rule '{self.name}': give it a method `cost`")

    def init(self, network: Network, generator: torch.Generator) -> S:
        """State at the start of training, e.g. the feedback matrices."""
        raise NotImplementedError

    def begin(self, network: Network, state: S, share: Shard) -> S:
        """State at the start of a sequence, for the `share.count` samples that are here."""
        return state

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: S
    ) -> tuple[Signals, S]:
        """λ[t] for every hidden layer, bottom up."""
        raise NotImplementedError

    def side_by_side(self, state: S, steps: int) -> S:
        """The state for `signals` of all steps of a sequence at once, where `steps_side_by_side` says so."""
        return state

    def message(self, broadcast: Broadcast) -> Tensor:
        """What a broadcast rule sends through its matrices, `[B, k]`: the error, unless it says otherwise."""
        return broadcast.error

    def present(self, network: Network, x_t: Tensor, target: Tensor, state: S) -> Tensor:
        """The input of all passes, `[passes · B, n_in]`, made from one step's `[B, n_in]`."""
        return x_t

    def predict(self, network: Network, x: Tensor, state: S) -> Tensor:
        """Scores `[B, k]` of a batch of sequences `[T, B, n_in]`: read from the network's outputs."""
        return network.decode(network.run(x).y)

    def trainable(self, state: S) -> tuple[Tensor, ...]:
        """Tensors of the state that an optimizer of their own updates in place (e.g. feedback)."""
        return ()

    def feedback_optimizer(
        self, factory: OptimizerFactory, tensors: tuple[Tensor, ...]
    ) -> torch.optim.Optimizer:
        """The optimizer of `trainable`; `factory` makes one like the network's own."""
        return factory(tensors)

    @property
    def readout_decay(self) -> float:
        """Weight decay that the rule asks for on the readout and on `trainable`, per unit learning rate."""
        return 0.0


def readout_memory(trace: Trace[Any], network: Network) -> float:
    """κ of the readout if the trace is filtered by it, else 0: how long a rule's own readouts remember."""
    return network.readout.kappa if getattr(trace, "filtered", False) else 0.0


class Feedback(NamedTuple):
    """Feedback matrices B, `[rows, k]`, one per hidden layer."""

    matrices: tuple[Tensor, ...]


FeedbackPer = Literal["neuron", "channel"]
"""Whether every neuron has a row of B of its own, or all positions of a convolution's channel share one. In
dense layers every neuron is a channel.
"""


def check_feedback_per(name: str, value: str) -> None:
    """Raise `UserError` unless it is one of `FeedbackPer`."""
    if value not in ("neuron", "channel"):
        raise UserError(f"{name} has feedback per neuron or per channel, not per '{value}'")


def feedback_rows(layer: SpikingLayer, per: FeedbackPer) -> int:
    """Rows of a layer's B."""
    return layer.n if per == "neuron" else layer.synapse.channels


def per_row(values: Tensor, rows: int) -> Tensor:
    """A layer's values per row of its B, `[B, n]` → `[B, rows]`: the mean over positions that share one."""
    return values if values.shape[1] == rows else values.reshape(len(values), rows, -1).mean(2)


def broadcast_back(matrices: tuple[Tensor, ...], step: NetworkStep, signal: Tensor) -> tuple[Tensor, ...]:
    """λ = B e for every layer, the same at all positions that share a row of B, silenced where dropout
    silenced the neuron.
    """
    returned: list[Tensor] = []
    for b, layer in zip(matrices, step.layers, strict=True):
        x = signal @ b.t()
        n = layer.psi.shape[1]
        x = x if b.shape[0] == n else x.repeat_interleave(n // b.shape[0], 1)
        returned.append(x if layer.mask is None else x * layer.mask)
    return tuple(returned)


def random_feedback(
    network: Network, generator: torch.Generator, scale: float, per: FeedbackPer = "neuron"
) -> tuple[Tensor, ...]:
    """Gaussian B with std scale/√(n·k), the normalised feedback of Launay et al. 2019."""
    weight = network.readout.synapse.weight
    return tuple(
        torch.randn(
            feedback_rows(layer, per),
            network.n_out,
            generator=generator,
            dtype=weight.dtype,
            device=generator.device,
        ).to(weight.device)
        * (scale / (layer.n * network.n_out) ** 0.5)
        for layer in network.hidden
    )
