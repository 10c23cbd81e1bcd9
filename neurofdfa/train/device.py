"""What a device does to learning and mathematics does not: late, coarse and lost errors, coarse memory.

    bus:      λ_l[t] = m_l[t] Q(B_l) q(e[t − d]),  m ~ Bernoulli(1 − drop) per step, sample and layer
    traces:   every filter's state is rounded after each step
    weights:  W ← R(W + ΔW): what is stored is on a grid, and there is no float copy beside it

A `Device` stands around a rule's signals and around its traces (`neurofdfa.train.signals`); each setting that
is off hands back the very objects that it was given and draws nothing, so that all of them off is learning as
it was, bit for bit.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup, Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.loss import Loss, step_weight
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.nn.rounding import Rounding, bounded, floating_tree, matrix, whole
from neurofdfa.rules.base import Broadcast, Rule, Signals, broadcast_back
from neurofdfa.rules.traces import LayerGradient, keeps_something
from neurofdfa.train.signals import ErrorQueue, SignalSource, SignalState

ON_THE_BUS = ("feedback_bits", "error_bits", "delay", "drop")


class StoredWeights(NamedTuple):
    """Weight matrices that live on a grid, and the float value of one integer of each."""

    tensors: tuple[Tensor, ...]
    steps: tuple[float, ...]


@dataclass(frozen=True)
class Device:
    """Settings; the defaults impair nothing.

    feedback_bits: precision of B where it multiplies e; a rule that learns B keeps its float copy.
    error_bits: precision of ∂loss/∂y on the bus, sign included; it saturates at ±error_range (cross-entropy
        stays within 1).
    delay: steps by which a broadcast is late, to traces as they are then; what is still on its way when
        a sequence ends is lost.
    drop: probability that a layer misses a sample's λ of one step; the learning of B goes on.
    trace_bits: magnitude bits of every trace, the readout's included, with an exponent that the layer shares
        per sample.
    stored_weight_bits: bits, sign included, of the weights themselves, biases left out. Their grid is fixed
        when learning starts: powers of two that reach at least weight_range times the larger of a
        matrix's standard deviation then and 1/√fan-in. (A network's `weight_bits` is something else: it
        keeps float weights and lets spikes see a rounded copy.)
    rounding: of error, traces and stored weights.

    Raises `UserError` for settings out of range.
    """

    feedback_bits: int | None = None
    error_bits: int | None = None
    error_range: float = 1.0
    delay: int = 0
    drop: float = 0.0
    trace_bits: int | None = None
    stored_weight_bits: int | None = None
    weight_range: float = 8.0
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        for name, least in (
            ("feedback_bits", 1),
            ("error_bits", 2),
            ("trace_bits", 1),
            ("stored_weight_bits", 2),
        ):
            bits: int | None = getattr(self, name)
            if bits is not None and not least <= bits <= 24:
                raise UserError(f"{name} must be from {least} to 24, or left out for float, got {bits}")
        if self.delay < 0 or not 0.0 <= self.drop <= 1.0:
            raise UserError(
                f"a delay is 0 or more steps and drop a probability, got {self.delay} and {self.drop}"
            )
        if not (self.error_range > 0 and self.weight_range > 0):
            raise UserError("error_range and weight_range must be above 0")
        if self.rounding not in ("nearest", "stochastic"):
            raise UserError(f"rounding is nearest or stochastic, not '{self.rounding}'")

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the settings that impair something."""
        bits = ("trace_bits", "stored_weight_bits")
        return tuple(x for x in (*ON_THE_BUS, *bits) if getattr(self, x) not in (None, 0))

    def check(
        self, rule: Rule[Any], state: Any, network: Network, loss: Loss, group: ProcessGroup = SINGLE
    ) -> None:
        """Raise `UserError`, with the rule's name, for a setting that would change nothing or cannot work."""
        bus = [name for name in self.active if name in ON_THE_BUS]
        if bus and not _matrices(state):
            raise UserError(
                f"{bus[0]} does not apply to '{rule.name}': it sends no error through feedback matrices"
            )
        if self.error_bits is not None and type(rule).message is not Rule[Any].message:
            raise UserError(
                f"error_bits does not apply to '{rule.name}': what it broadcasts is not the error"
            )
        if self.delay and loss.when == "last":
            raise UserError("delay does not go with a loss at the last step: its error would arrive too late")
        per_sample = self.error_bits is not None or self.trace_bits is not None
        if group.size > 1 and per_sample and self.rounding == "stochastic":
            raise UserError(
                "stochastic rounding of errors and traces draws in the order of the samples, which several "
                "processes do not share: train in one process, or round to nearest"
            )
        why_not = rule.without_trace or ("" if keeps_something(rule.trace) else "it keeps no trace")
        if self.trace_bits is not None and why_not:
            raise UserError(f"trace_bits does not apply to '{rule.name}': {why_not}")
        self.check_weights(network)

    def check_weights(self, network: Network) -> None:
        """Raise `UserError` where the weights are already learnt through a quantiser."""
        if self.stored_weight_bits is not None and any(x.synapse.grid is not None for x in network.hidden):
            raise UserError("stored_weight_bits and the network's weight_bits exclude each other: choose one")

    # ---- the bus -----------------------------------------------------------------------------------------
    def check_arrival(self, loss: Loss, steps: int) -> None:
        """Raise `UserError` when no error could arrive within a sequence of so many steps."""
        arriving = range(steps - self.delay)
        if self.delay and not any(step_weight(loss, t, steps) for t in arriving):
            raise UserError(
                f"with a delay of {self.delay} in {steps} steps no error would arrive: shorten it"
            )

    def around(
        self, source: SignalSource, rule: Rule[Any], generator: torch.Generator, share: Shard
    ) -> SignalSource:
        """The source's signals from what reaches the layers; the source itself when everything does."""
        if not any(name in ON_THE_BUS for name in self.active):
            return source

        def impaired(
            step: NetworkStep, broadcast: Broadcast, state: SignalState
        ) -> tuple[Signals, SignalState]:
            heard, line = self._travel(self._coarse_error(broadcast, generator), state.line)
            matrices = _matrices(state.rule)
            signals, after = source(step, heard, state._replace(line=line))
            hidden = signals.hidden
            if self.feedback_bits is not None:
                hidden = self._through_coarse(hidden, rule.message(heard), step, matrices)
            if self.drop:
                hidden = tuple(None if x is None else x * self._arrives(x, generator, share) for x in hidden)
            return signals._replace(hidden=hidden), after

        return impaired

    def _coarse_error(self, broadcast: Broadcast, generator: torch.Generator) -> Broadcast:
        if self.error_bits is None or broadcast.weight == 0:
            return broadcast
        largest = float(broadcast.weight) * self.error_range
        return broadcast._replace(
            error=bounded(broadcast.error, self.error_bits, largest, self.rounding, generator)
        )

    def _travel(self, sent: Broadcast, line: ErrorQueue) -> tuple[Broadcast, ErrorQueue]:
        if not self.delay:
            return sent, line
        if len(line) < self.delay:
            return sent._replace(weight=0.0, error=torch.zeros_like(sent.error)), (*line, sent)
        late, *rest = line
        return sent._replace(weight=late.weight, error=late.error, target=late.target), (*rest, sent)

    def _through_coarse(
        self,
        hidden: tuple[Tensor | None, ...],
        message: Tensor,
        step: NetworkStep,
        matrices: tuple[Tensor, ...],
    ) -> tuple[Tensor | None, ...]:
        """λ + (Q(B) − B) m: whatever else a rule adds to λ stays."""
        assert self.feedback_bits is not None
        bits = self.feedback_bits
        lost = broadcast_back(tuple(matrix(b, bits) - b for b in matrices), step, message)
        return tuple(x if x is None else x + more for x, more in zip(hidden, lost, strict=True))

    def _arrives(self, signal: Tensor, generator: torch.Generator, share: Shard) -> Tensor:
        drawn = torch.rand(share.total, 1, generator=generator, device=generator.device)
        return share.rows(drawn >= self.drop).to(signal.device, signal.dtype)

    # ---- memory ------------------------------------------------------------------------------------------
    def around_trace(self, trace: Any, generator: torch.Generator) -> Any:
        """The trace as it is stored; the trace itself when every bit of it is."""
        if self.trace_bits is None:
            return trace
        return RoundedTrace(trace, self.trace_bits, self.rounding, generator)

    def weights(self, network: Network, generator: torch.Generator) -> StoredWeights:
        """Choose the grids of a network's weights and put the weights on them."""
        if self.stored_weight_bits is None:
            return StoredWeights((), ())
        tensors = tuple(p for p in network.parameters() if p.dim() > 1)
        widths = (max(float(w.detach().std()), w[0].numel() ** -0.5) for w in tensors)
        reach = (2.0 ** math.ceil(math.log2(self.weight_range * width)) for width in widths)
        levels = 2 ** (self.stored_weight_bits - 1)
        stored = StoredWeights(tensors, tuple(r / levels for r in reach))
        self.store(stored, generator)
        return stored

    @torch.no_grad()
    def store(self, stored: StoredWeights, generator: torch.Generator) -> None:
        """Round the weights, in place, as the memory does that they are written to."""
        assert self.stored_weight_bits is not None or not stored.tensors
        for weight, step in zip(*stored, strict=True):
            levels = 2 ** ((self.stored_weight_bits or 1) - 1)
            rounded = whole(weight / step, self.rounding, generator)
            weight.copy_(rounded.clamp(-levels, levels - 1) * step)


@dataclass(frozen=True)
class RoundedTrace:
    """A trace whose state is rounded after every step, to `bits` of magnitude and an exponent per sample."""

    trace: Any
    bits: int
    rounding: Rounding
    generator: torch.Generator

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> Any:
        """As the trace itself."""
        return self.trace.init(layer, kappa, batch)

    def step(self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: Any) -> Any:
        """The trace's step, rounded."""
        stepped = self.trace.step(layer, kappa, seen, state)
        return floating_tree(stepped, self.bits, self.rounding, self.generator)

    def gradient(self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: Any) -> LayerGradient:
        """As the trace itself."""
        return self.trace.gradient(layer, signal, seen, state)


def _matrices(state: Any) -> tuple[Tensor, ...]:
    return tuple(getattr(state, "matrices", ()))
