"""Forward Direct Feedback Alignment: the error reaches every hidden layer through a LEARNT matrix.

λ_l[t] = B_l e[t], as in DFA; B_l is a running average of forward-mode estimates of the data-averaged
Jacobian of the outputs with respect to the layer's transmitted spikes (Bacho & Chu 2022):

    v_l[t] ~ Rademacher or N(0, 1), fresh in every step, sample, neuron and layer, added to the transmitted
    spike tangent;  z_l = noise trace of v_l;  Ĵ_l[t] = ẋ[t] z_l[t]ᵀ / norm;  B_l ← (1 − a) B_l + a ⟨Ĵ_lᵀ⟩

B starts at 0. FDFA is DFA with a learnt feedback and not an unbiased gradient: B averages over data and time.

Two kernels for the noise trace:
- "output": ẋ = ẏ, z = κ z⁻ + v, norm = Σ κ^{2τ}: correlates the integrated output, as the paper does.
- "innovation": ẋ = ẏ − κẏ⁻, the readout's input; z filters v with the decays of the layers in between and
  norm = Σh²/Σh for that kernel h, so that B is the path's gain over time: exactly W_oᵀ for the last layer
  and Σh W_o ψ₂ W₂ below it for soft, detached resets of neurons that are alike, a fit to h elsewhere. The
  last layer's estimates are independent from step to step, so that their mean over T steps has 1/T of one
  step's variance; the output kernel's share is about 1/2 with an integrator and (1+κ²)/(1−κ²)/T with a leaky
  readout. Paths through the last layer's recurrence arrive later than h lasts: only the output kernel sees
  them.

Behind delays z starts when the probed spikes arrive (those of further layers count with their mean).

With weighting "error", column c of B averages its estimates with weights e_c², over samples and steps: B is
then what explains ẋ where an error is to be sent back, B_c = ⟨e_c² J_c⟩ / ⟨e_c²⟩, the diagonal part of the
regression ⟨Jᵀe eᵀ⟩⟨e eᵀ⟩⁻¹ that is the best B of all. Paths differ between samples, and with several
spiking layers above, those of samples that are learnt already are not those that an error meets.

With a row of B per channel, all S positions of a channel carry the same v: ẋ vᵀ / S is then the mean of
their Jacobians, with at most the variance of the mean of separate estimates, as (Σ_s J_s)² ≤ S Σ_s J_s².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.delay import new_line, send
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import (
    Broadcast,
    FeedbackPer,
    OptimizerFactory,
    Rule,
    Signals,
    broadcast_back,
    check_feedback_per,
    feedback_rows,
    per_row,
)
from neurofdfa.rules.cost import Case, Counts, broadcast_cost, tangent_cost
from neurofdfa.rules.engine_facts import EngineFacts
from neurofdfa.rules.forward_mode import initial_tangent, tangent_step
from neurofdfa.rules.traces import FilterState, cascade, cascade_state


class KernelPulse(NamedTuple):
    """Response of a noise kernel to a unit pulse so far: filter stages, Σh and Σh²."""

    stages: tuple[float, ...]
    total: float = 0.0
    energy: float = 0.0


class Answer(NamedTuple):
    """What probes do to the outputs y and to the readout's input, `[probed, k]`."""

    y: Tensor
    drive: Tensor


class ProbeDelay(NamedTuple):
    """Probes, and the kernel's gain, on their way through delays. steps: how late they come, `[rows]`."""

    steps: Tensor
    probes: Tensor
    gains: Tensor


class FDFAState(NamedTuple):
    """matrices: B per layer, `[rows, k]`. updates: refreshes so far. generator: of the probes.

    tangent: what carries the probes. tangent, noise, kernels, waits: of the current sequence, None when it
    is not probed. observed: its probed
    samples. relevance: running mean of e², `[k]`, 0 until it is known; seen: mean over the steps and probed
    samples of the last sequence. None where all count alike.
    """

    matrices: tuple[Tensor, ...]
    updates: int
    batches: int
    generator: torch.Generator
    tangent: Any = None
    noise: tuple[FilterState, ...] = ()
    kernels: tuple["KernelPulse", ...] = ()
    waits: tuple["ProbeDelay | None", ...] = ()
    observed: Shard = Shard(1)
    relevance: Tensor | None = None
    seen: Tensor | None = None


@dataclass(frozen=True)
class FDFA(Rule[FDFAState]):
    """Settings of the feedback's own learning.

    momentum: a, the weight of a new estimate; the first sequences are averaged evenly so that B is
        unbiased from the start (with one update per sequence). optimizer: "momentum" (the running
        average) or "adam" on the pseudo-gradient B − Ĵᵀ with learning rate `feedback_lr`.
    probe: distribution of v. fraction: share of the batch that carries tangents; every: probe each
        `every`-th batch only. kernel: see the module. recurrent_tangents: let tangents through V.
    feedback_per: a row of B per "neuron", or one that the positions of a "channel" share.
    weighting: which estimates count, "uniform" or by "error": column c of B averages them with weights
        e_c² / ⟨e_c²⟩, so that it is the path's gain where its error is, see the module.
    """

    name: ClassVar[str] = "fdfa"
    title: ClassVar[str] = "FDFA"
    source: ClassVar[str] = "Bacho & Chu 2022"
    scheduled_feedback: ClassVar[bool] = False
    frugal: ClassVar[dict[str, Any]] = {"fraction": 0.125}
    momentum: float = 0.02
    probe: Literal["rademacher", "gaussian"] = "rademacher"
    kernel: Literal["innovation", "output"] = "innovation"
    fraction: float = 1.0
    every: int = 1
    optimizer: Literal["momentum", "adam"] = "momentum"
    feedback_lr: float = 1e-3
    recurrent_tangents: bool = True
    feedback_per: FeedbackPer = "neuron"
    weighting: Literal["uniform", "error"] = "uniform"

    def __post_init__(self) -> None:
        check_feedback_per(self.name, self.feedback_per)
        if not 0.0 < self.momentum <= 1.0 or not 0.0 < self.fraction <= 1.0 or self.every < 1:
            raise UserError("fdfa needs 0 < momentum <= 1, 0 < fraction <= 1 and every >= 1")
        for setting, value, known in (
            ("probe", self.probe, ("rademacher", "gaussian")),
            ("kernel", self.kernel, ("innovation", "output")),
            ("optimizer", self.optimizer, ("momentum", "adam")),
            ("weighting", self.weighting, ("uniform", "error")),
        ):
            if value not in known:
                raise UserError(f"fdfa's {setting} is {' or '.join(known)}, got '{value}'")

    @property
    def engine_facts(self) -> EngineFacts | str:
        """As data."""
        return EngineFacts(learning=self)

    def init(self, network: Network, generator: torch.Generator) -> FDFAState:
        """B = 0."""
        weight = network.readout.synapse.weight
        zeros = tuple(
            weight.new_zeros(feedback_rows(layer, self.feedback_per), network.n_out)
            for layer in network.hidden
        )
        if self.weighting == "uniform":
            return FDFAState(zeros, 0, 0, generator)
        none = weight.new_zeros(network.n_out)
        return FDFAState(zeros, 0, 0, generator, relevance=none, seen=none.clone())

    def kernels(self, network: Network) -> tuple[tuple[float, ...], ...]:
        """Decays of each layer's noise trace."""
        if self.kernel == "output":
            return ((network.readout.kappa,),) * len(network.hidden)
        population = network.readout.population
        above = [*network.hidden[1:], *([population] if population else [])]
        decays = [layer.mean_decays for layer in above]
        return tuple(
            tuple(d for pair in decays[index:] for d in pair) for index in range(len(network.hidden))
        )

    def begin(self, network: Network, state: FDFAState, share: Shard) -> FDFAState:
        """Start tangents on a share of the batch, if this batch is probed."""
        counted, observed = self.count(state, share)
        if observed is None:
            return counted
        probed = observed.count
        kernels = self.kernels(network)
        zeros = (b.new_zeros(probed, b.shape[0]) for b in state.matrices)
        return counted._replace(
            tangent=self.carrier(network, probed),
            noise=tuple(cascade_state(k, zero) for k, zero in zip(kernels, zeros, strict=True)),
            kernels=tuple(KernelPulse((0.0,) * sum(1 for d in k if d)) for k in kernels),
            waits=_waits(
                network, [b.shape[0] for b in state.matrices], state.matrices[0].new_zeros(probed, 1)
            ),
        )

    def count(self, state: FDFAState, share: Shard) -> tuple[FDFAState, Shard | None]:
        """Count a batch; the samples that carry tangents, if it is probed."""
        counted = state._replace(batches=state.batches + share.opens, tangent=None)
        if (counted.batches - 1) % self.every:
            return counted, None
        observed = self.probed(share)
        if not share.opens:
            return counted._replace(observed=observed), observed
        return self._judged(counted)._replace(updates=state.updates + 1, observed=observed), observed

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: FDFAState
    ) -> tuple[Signals, FDFAState]:
        """λ = B e and, on probed batches, the pseudo-gradient of every B."""
        hidden = broadcast_back(state.matrices, step, broadcast.error)
        if state.tangent is None:
            return Signals(hidden), state
        weights, state = self._weights(broadcast, state)
        estimates, state = self.estimate(network, step, broadcast.t, state, weights)
        gain = 1.0 / broadcast.steps
        gain *= self.early_gain(state.updates)
        pairs = zip(state.matrices, estimates, strict=True)
        mean = 1.0 if weights is None else weights.mean(0)
        feedback = tuple((b * mean - j.t()) * gain for b, j in pairs)
        return Signals(hidden, feedback, observed=state.observed), state

    @property
    def weighted(self) -> bool:
        """Whether estimates count by the error that they meet."""
        return self.weighting != "uniform"

    def early_gain(self, updates: int) -> float:
        """What the first estimates weigh more: averaging evenly until 1/updates falls below the momentum
        removes the pull of B = 0.
        """
        return max(1.0, 1.0 / (self.momentum * updates)) if self.optimizer == "momentum" else 1.0

    def probed(self, share: Shard) -> Shard:
        """The samples that carry tangents: the first ones of the batch."""
        return share.first(max(1, math.ceil(share.total * self.fraction)))

    def _judged(self, state: FDFAState) -> FDFAState:
        """Let what the last probed sequence has seen enter the relevance."""
        if state.relevance is None or state.seen is None or not state.updates:
            return state
        (seen,) = state.observed.mean([state.seen])
        rate = max(self.momentum, 1.0 / state.updates)
        relevance = state.relevance + rate * (seen - state.relevance)
        return state._replace(relevance=relevance, seen=torch.zeros_like(seen))

    def _weights(self, broadcast: Broadcast, state: FDFAState) -> tuple[Tensor | None, FDFAState]:
        """How much each output of each probed sample counts in this step, `[probed, k]`."""
        if state.relevance is None or state.seen is None:
            return None, state
        power = broadcast.error[: state.observed.count].square()
        known = state.relevance > 0
        weights = torch.where(known, power / torch.where(known, state.relevance, 1.0), 1.0)
        return weights, state._replace(seen=state.seen + power.mean(0) / broadcast.steps)

    def estimate(
        self, network: Network, step: NetworkStep, t: int, state: FDFAState, weights: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], FDFAState]:
        """Ĵ_l[t] averaged over the probed samples, `[k, rows]` per layer, and the advanced tangents.

        weights: of every output of every sample, `[probed, k]`.
        """
        assert state.tangent is not None
        probed = state.observed.count
        probes = tuple(self.draw(state.observed, b, state.generator) for b in state.matrices)
        sites = tuple(layer.n // b.shape[0] for layer, b in zip(network.hidden, state.matrices, strict=True))
        pushed = tuple(v.repeat_interleave(s, 1) if s > 1 else v for v, s in zip(probes, sites, strict=True))
        answer, tangent = self.probed_step(network, step.first(probed), pushed, state.tangent)
        outputs = answer.y if self.kernel == "output" else answer.drive
        outputs = outputs if weights is None else outputs * weights
        estimates: list[Tensor] = []
        noise: list[FilterState] = []
        kernels: list[KernelPulse] = []
        waits: list[ProbeDelay | None] = []
        for index, decays in enumerate(self.kernels(network)):
            pulse = _advance(state.kernels[index], decays, t)
            gain = (1.0 if self.kernel == "output" else pulse.total) / pulse.energy
            v, heard, wait = _arrived(probes[index], gain, state.waits[index])
            z, stages = cascade(decays, v, state.noise[index])
            estimate = outputs.t() @ z * (heard / (probed * sites[index]))
            if isinstance(heard, Tensor):  # nothing has come through yet: no news of B
                mean = 1.0 if weights is None else weights.mean(0).unsqueeze(1)
                estimate = torch.where(heard > 0, estimate, state.matrices[index].t() * mean)
            estimates.append(estimate)
            noise.append(stages)
            kernels.append(pulse)
            waits.append(wait)
        return tuple(estimates), state._replace(
            tangent=tangent, noise=tuple(noise), kernels=tuple(kernels), waits=tuple(waits)
        )

    def probed_step(
        self, network: Network, step: NetworkStep, probes: tuple[Tensor, ...], before: Any
    ) -> tuple[Answer, Any]:
        """What the outputs answer to the probes in this step, and what carries them on to the next."""
        after = tangent_step(network, step, probes, before, recurrent=self.recurrent_tangents)
        return Answer(after.readout.y, after.readout.drive), after

    def carrier(self, network: Network, samples: int) -> Any:
        """What carries probes through the network, at the start of a sequence."""
        return initial_tangent(network, samples)

    def trainable(self, state: FDFAState) -> tuple[Tensor, ...]:
        """B follows its pseudo-gradient B − Ĵᵀ."""
        return state.matrices

    def feedback_optimizer(
        self, factory: OptimizerFactory, tensors: tuple[Tensor, ...]
    ) -> torch.optim.Optimizer:
        """Plain SGD with learning rate a is the running average."""
        if self.optimizer == "adam":
            return torch.optim.Adam(tensors, lr=self.feedback_lr)
        return torch.optim.SGD(tensors, lr=self.momentum)

    def draw(self, observed: Shard, like: Tensor, generator: torch.Generator) -> Tensor:
        """V of one layer in one step, `[probed, n]`."""
        shape = (observed.total, like.shape[0])
        if self.probe == "gaussian":
            v = torch.randn(shape, generator=generator, device=generator.device)
        else:
            v = torch.randint(0, 2, shape, generator=generator, device=generator.device) * 2.0 - 1.0
        return observed.rows(v).to(like.device, like.dtype)

    def cost(self, case: Case) -> Counts:
        """The broadcast; on probed samples tangents, noise traces and the running average."""
        share, steps = self.fraction / self.every, case.activity.steps
        pairs = zip(case.activity.hidden, self.kernels(case.network), strict=True)
        shared = self.feedback_per == "channel"
        noise = sum(
            (layer.channels if shared else layer.n) * sum(1 for d in decays if d) for layer, decays in pairs
        )
        learnt = Counts(
            trace_updates=share * steps * noise,
            feedback_updates=share * steps * case.rows * case.k,
            broadcast_tangent_words=share * steps * case.k,
            memory={"rule_state": noise},
        )
        return broadcast_cost(case) + tangent_cost(case, share) + learnt


def _arrived(
    v: Tensor, gain: float, wait: ProbeDelay | None
) -> tuple[Tensor, Tensor | float, ProbeDelay | None]:
    """Probes, and the kernel's gain so far, as they are `wait.steps` later; a gain of 0 before the first."""
    if wait is None:
        return v, gain, None
    arrived, probes = send(wait.steps, v, wait.probes)
    reached, gains = send(wait.steps, v.new_full((1, v.shape[1]), gain), wait.gains)
    return arrived, reached.squeeze(0), ProbeDelay(wait.steps, probes, gains)


def _waits(network: Network, rows: Sequence[int], like: Tensor) -> tuple[ProbeDelay | None, ...]:
    """How late each row's probes come through: by the layer's own axons, and the mean of those above them."""
    delays = network.delays[1:] or (None,) * len(rows)
    found: list[ProbeDelay | None] = []
    for index, (layer, n) in enumerate(zip(network.hidden, rows, strict=True)):
        own, above = delays[index], [delay for delay in delays[index + 1 :] if delay is not None]
        if own is None and not above:
            found.append(None)
            continue
        late = torch.zeros(layer.n, device=like.device) if own is None else own.double()
        late = late + sum(float(delay.double().mean()) for delay in above)
        steps = per_row(late.unsqueeze(0), n).squeeze(0).round().long()
        probes = new_line(steps, like.new_zeros(len(like), n))
        found.append(ProbeDelay(steps, probes, new_line(steps, like.new_zeros(1, n))))
    return tuple(found)


def _advance(pulse: KernelPulse, decays: tuple[float, ...], t: int) -> KernelPulse:
    h, stages = cascade(decays, 1.0 if t == 0 else 0.0, pulse.stages)
    return KernelPulse(stages, pulse.total + h, pulse.energy + h * h)
