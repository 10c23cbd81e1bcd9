"""What the engine knows of rules: what layers are told, and how the feedback that tells them learns.

`EventEngine` runs batches through the kernels and asks this for everything that differs between rules.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard, parts_of
from neurofdfa.errors import UserError
from neurofdfa.events.bound_batch import point_at_probes
from neurofdfa.events.constants import fill_probes
from neurofdfa.events.optimizer import running_average
from neurofdfa.events.parameters import Gradients, Packed, copy_of
from neurofdfa.events.relevance import give_relevance, seen_errors
from neurofdfa.events.session import PreparedBatch
from neurofdfa.events.support import prober
from neurofdfa.events.tiling import tilings
from neurofdfa.events.weight_layout import feedback_of
from neurofdfa.nn.network import Network
from neurofdfa.rules.base import Rule
from neurofdfa.rules.engine_facts import OuterProduct
from neurofdfa.rules.spatial import synapses_above
from neurofdfa.rules.traces import PerSynapse

Probes = Literal["counter", "reference"]


class FeedbackBinding:
    """A rule as the kernels see it. State of the rule is handed in and out, as everywhere.

    kind: "none" (no signal for hidden layers), "broadcast" (the error, through fixed matrices), "target" (the
    target in its place), "delta" (the error times ψ of a spiking readout), "outer" (matrices learn from the
    outer product of activity and error) or "probed" (from probes).
    """

    def __init__(self, network: Network, rule: Rule[Any], state: Any, probes: Probes) -> None:
        facts = rule.engine_facts
        if isinstance(facts, str):
            raise UserError(facts)
        self.network, self.trace, self.probes = network, rule.trace, probes
        self.prober = prober(facts)
        self.outer = facts.learning if isinstance(facts.learning, OuterProduct) else None
        self.symmetric = facts.feedback == "weights"
        """Whether the matrices are the network's own weights."""
        self.kind = {"none": "none", "error": "broadcast", "target": "target"}[facts.signal]
        if self.prober is not None:
            self.kind = "probed"
        elif self.outer is not None:
            self.kind = "outer"
        elif self.symmetric and network.readout.population is not None:
            self.kind = "delta"
        self.matrices: tuple[Tensor, ...] = () if self.kind == "none" else state.matrices
        if self.symmetric:
            self.matrices = tuple(b.clone(memory_format=torch.contiguous_format) for b in self._paths())
        self.copies = [copy_of(b) for b in feedback_of(network, self.matrices)] if self.matrices else []
        self.tilings = tilings(network.hidden)
        self.shared = any(len(b) < x.n for b, x in zip(self.matrices, network.hidden, strict=False))
        """Whether neurons share rows of the feedback, and so the probes."""
        self.stages: tuple[int, ...] = ()
        """Decays of the noise trace per layer."""
        if self.prober is not None:
            self.stages = tuple(sum(1 for d in kernel if d) for kernel in self.prober.kernels(network))
        self.per_synapse = isinstance(self.trace, PerSynapse)
        """Traces per synapse: the chunks of a sequence are learnt from last to first."""
        self.counted: Tensor | None = None
        """Σ of the weights of a batch's estimates, over steps, per output; None where each weighs 1."""

    @property
    def averaged(self) -> list[Packed]:
        """Copies of the feedback whose gradients have the same form."""
        return self.copies if self.prober is not None else []

    @property
    def filtered(self) -> bool:
        """Whether the traces that the kernels keep pass the readout's κ."""
        return getattr(self.trace, "filtered", False) and not self.per_synapse

    def begin(self, state: Any, share: Shard) -> tuple[Any, Shard | None]:
        """Count the batch as the rule does; the new state, and the samples that carry tangents."""
        return (state, None) if self.prober is None else self.prober.count(state, share)

    def write(self, work: PreparedBatch) -> None:
        """Write what stays the same for all batches of a shape."""
        for frame in work.frames:
            filtered = getattr(self.trace, "filtered", False)
            frame.head.error_kappa = self.network.readout.kappa if filtered else 0.0
            frame.head.downstream = getattr(self.trace, "downstream", False)
            if work.shape.probed and self.prober is not None:
                fill_probes(frame, self.network, self.prober)

    def bind(self, work: PreparedBatch, gradient: Gradients) -> None:
        """Tell the records where the feedback and its gradients lie."""
        for worker, frame in enumerate(work.frames):
            for index, (b, rows) in enumerate(zip(self.matrices, self.copies, strict=True), 1):
                frame.layers[index].feedback = rows.address
                frame.layers[index].feedback_gradient = gradient.address(b, worker)

    def refresh(self) -> None:
        """Bring the feedback, where it is the network's own weights, and its copies up to date."""
        if self.symmetric:
            for b, path in zip(self.matrices, self._paths(), strict=True):
                b.copy_(path)
        for kept in self.copies:
            kept.refresh()

    @torch.no_grad()
    def _paths(self) -> tuple[Tensor, ...]:
        """The weights from every layer to the outputs, `[n, k]`, as symmetric e-prop takes them."""
        weight = self.network.readout.synapse.weight
        path, found = torch.eye(self.network.n_out, dtype=weight.dtype), list[Tensor]()
        for synapse in reversed(synapses_above(self.network)):
            path = synapse.transpose(path)
            found.append(path.t())
        return tuple(reversed(found))

    def give_probes(
        self,
        work: PreparedBatch,
        state: Any,
        steps: int,
        share: Shard,
        observed: Shard | None,
        lengths: Tensor | None,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Seed of the probes, or the probes themselves. lengths: each sample's own, where they differ."""
        prober = self.prober
        if prober is None or observed is None:
            return []
        give_relevance(work, state.relevance)
        if self.probes == "reference" or prober.probe == "gaussian" or self.shared:
            given = [b.new_zeros(steps, observed.count, len(b)) for b in self.matrices]
            parts = [] if lengths is None else parts_of(lengths)
            for length, seen in [(n, prober.probed(part)) for n, part in parts] or [(steps, observed)]:
                places = list(seen.here) if parts else slice(None)
                for t in range(length):
                    for probes, b in zip(given, self.matrices, strict=True):
                        drawn = prober.draw(seen, b, generator)
                        if seen.weight:
                            probes[t, places] = drawn
            given = [v if t is None else t.spread(v) for v, t in zip(given, self.tilings, strict=True)]
            point_at_probes(work, share, 0, given)
            return given
        seed = torch.randint(-(2**62), 2**62, (1,), generator=generator, device=generator.device)
        point_at_probes(work, share, int(seed), [])
        return []

    def take_seen(self, work: PreparedBatch, state: Any) -> Any:
        """What the probed samples' errors were, for the weights of this batch and for the relevance."""
        self.counted = None
        relevance = getattr(state, "relevance", None)
        if relevance is None or not work.shape.probed:
            return state
        seen, self.counted = seen_errors(work, relevance)
        return state._replace(seen=state.seen + seen / work.shape.steps)

    def touched(self, probed: bool) -> bool:
        """Whether a batch brings gradients of the feedback."""
        return self.outer is not None or probed

    def parts(self, gradient: Gradients, share: Shard) -> Sequence[Tensor]:
        """The feedback's gradients, weighed for the sum over all processes."""
        observed = share if self.prober is None else self.prober.probed(share)
        parts = [gradient.flat(b).mul_(observed.weight) for b in self.matrices]
        return parts if self.counted is None else [*parts, self.counted.mul_(observed.weight)]

    def average(
        self, state: Any, optimizer: torch.optim.Optimizer, weight: float, count: int
    ) -> tuple[float, float] | None:
        """How much an update keeps of the feedback and takes of its gradient, where that is all it does.

        weight: of one step; count: steps since the last update.
        """
        if self.prober is None or self.counted is not None:
            return None
        gain = self.prober.early_gain(state.updates)
        return running_average(gain, optimizer, self.matrices, weight, count)

    def take_gradients(self, gradient: Gradients, state: Any, weight: float, count: int, told: float) -> None:
        """Hand the feedback's pseudo-gradients to its optimizer and empty them here.

        weight: of one step; count: steps since the last update; told: Σ of the loss's weights over them.
        """
        for b in self.matrices:
            b.grad = gradient.take(b)
            gradient.flat(b).zero_()
            if self.prober is not None:
                counted = count if self.counted is None else self.counted
                b.grad = torch.sub(b * (counted * weight), b.grad, alpha=weight)
                b.grad.mul_(self.prober.early_gain(state.updates))
            elif self.outer is not None and self.outer.anchor:
                b.grad = torch.add(b * (self.outer.anchor * told), b.grad, alpha=self.outer.gain)
