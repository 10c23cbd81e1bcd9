"""Guided forward gradient: project a gradient that is too dear to compute onto one that is cheap.

    ĝ_l = ⟨g_l, d_l⟩ d_l / ‖d_l‖²   per layer and sample, over all neurons and steps

g_l is the gradient of the target loss with respect to the layer's transmitted spikes: of the network's loss
("global"; ⟨g_l, d_l⟩ = Σ_t e[t]·ẏ[t] with tangents that start in layer l alone) or of the layer's own
readout ("local"). d_l[t] is the guess: ±1 ("random") or the local loss's gradient ("local").
Fournier et al. 2023, section 3. The weights then learn from ĝ_l through the layer's own eligibility:
∇W_ji = Σ_b ρ_b C_bji with ρ = ⟨g, d⟩/‖d‖² and C_ji = Σ_t d_j ψ_j ε_i, known at the sequence's end. C is one
value per weight and sample; ε takes d = β (exact for a soft, detached reset).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.loss import Loss
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals, readout_memory
from neurofdfa.rules.cost import Case, Counts, local_readout_cost, scalar_cost, tangent_cost
from neurofdfa.rules.forward_mode import NetworkTangent, initial_tangent, tangent_step
from neurofdfa.rules.local_readouts import LocalReadouts, clear, listen, random_projections
from neurofdfa.rules.perturbation import heard, signs
from neurofdfa.rules.traces import FilterState, LayerGradient, cascade, cascade_state


class Correlation(NamedTuple):
    """C per sample and weight, `[B, channels, fan_in]`; of the bias `[B, channels, 1]`; None without one."""

    weight: Tensor
    bias: Tensor | None
    recurrent: Tensor | None


class Guess(NamedTuple):
    """Of one layer: ε stages per input, constant 1 and own neuron `[B, m]`, C, ⟨g, d⟩ and ‖d‖² `[B]`, and the
    derivative's carrier: tangents of the network (global target) or of the local activity (local target).
    """

    epsilon: FilterState
    correlation: Correlation
    agreement: Tensor
    norm: Tensor
    tangent: NetworkTangent | FilterState


class GuidedState(NamedTuple):
    """local: the layers' own readouts, learnt. generator: of random guesses. guesses: one per layer."""

    local: LocalReadouts
    generator: torch.Generator
    guesses: tuple[Guess, ...] = ()
    share: Shard = Shard(1)


@dataclass(frozen=True)
class GuidedForwardGradient(Rule[GuidedState]):
    """target, guess: see the module. scale: of the local readouts at the start. loss: theirs."""

    name: ClassVar[str] = "guided-forward-gradient"
    source: ClassVar[str] = "Fournier et al. 2023, section 3"
    without_trace: ClassVar[str] = "it makes its own gradients"
    target: Literal["global", "local"] = "global"
    guess: Literal["local", "random"] = "local"
    scale: float = 1.0
    loss: Loss | None = None

    def __post_init__(self) -> None:
        if self.target not in ("global", "local") or self.guess not in ("local", "random"):
            raise UserError("guided-forward-gradient takes target global or local and guess local or random")

    @property
    def learns_time_constants(self) -> bool:
        """Never."""
        return False

    def init(self, network: Network, generator: torch.Generator) -> GuidedState:
        """Random local readouts, learnt from then on."""
        return GuidedState(random_projections(network, generator, self.scale), generator)

    def begin(self, network: Network, state: GuidedState, share: Shard) -> GuidedState:
        """Clear everything that belongs to a sequence."""
        kappa = readout_memory(self.trace, network)
        return GuidedState(
            clear(state.local, kappa, share.count),
            state.generator,
            tuple(self._blank(network, layer, kappa, share.count) for layer in network.hidden),
            share,
        )

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: GuidedState
    ) -> tuple[Signals, GuidedState]:
        """Nothing until the last step, then the weight gradients of the projections."""
        kappa = readout_memory(self.trace, network)
        local, readouts = listen(state.local, kappa, step, broadcast, self.loss)
        guesses: list[Guess] = []
        for index, (layer, seen, now) in enumerate(
            zip(network.hidden, step.layers, state.guesses, strict=True)
        ):
            d = local.signals[index]
            if self.guess == "random":
                d = signs(state.share, d.shape[1], d, state.generator)
            sent = d if seen.mask is None else d * seen.mask
            if isinstance(now.tangent, NetworkTangent):
                probes = tuple(
                    sent if k == index else torch.zeros_like(x.psi) for k, x in enumerate(step.layers)
                )
                tangent = tangent_step(network, step, probes, now.tangent)
                gained = (broadcast.error * tangent.readout.y).sum(1)
            else:
                z_dot, tangent = cascade((kappa,), sent, now.tangent)
                gained = (local.errors[index] @ state.local.projections[index] * z_dot).sum(1)
            now = now._replace(agreement=now.agreement + gained, tangent=tangent)
            guesses.append(_advance(layer, seen, d, now))
        feedback = local.gradients()
        state = state._replace(local=readouts, guesses=tuple(guesses))
        if broadcast.t < broadcast.steps - 1:
            return Signals((None,) * len(guesses), feedback), state
        direct = tuple(_project(layer, g) for layer, g in zip(network.hidden, guesses, strict=True))
        return Signals((None,) * len(guesses), feedback, direct), state._replace(guesses=())

    def trainable(self, state: GuidedState) -> tuple[Tensor, ...]:
        """The local readouts learn with an optimizer like the network's."""
        return state.local.projections

    def _blank(self, network: Network, layer: SpikingLayer, kappa: float, batch: int) -> Guess:
        if not layer.plain:
            raise UserError("guided-forward-gradient takes neurons that are alike and have fixed thresholds")
        zero = layer.synapse.weight.new_zeros
        synapse, recurrent = layer.synapse, layer.recurrent
        columns = synapse.n_in + 1 + (layer.n if recurrent is not None else 0)
        epsilon = cascade_state((layer.neuron.alpha, layer.neuron.beta), zero(batch, columns))
        correlation = Correlation(
            zero(batch, synapse.channels, synapse.fan_in),
            None if synapse.bias is None else zero(batch, synapse.channels, 1),
            None if recurrent is None else zero(batch, recurrent.channels, recurrent.fan_in),
        )
        if self.target == "global":
            tangent = initial_tangent(network, batch)
        else:
            tangent = cascade_state((kappa,), zero(batch, layer.n))
        return Guess(epsilon, correlation, zero(batch), zero(batch), tangent)

    def cost(self, case: Case) -> Counts:
        """The guesses' own readouts and traces, tangents of every layer's guess, and a scalar per layer."""
        learnt = Counts(feedback_updates=case.taught * case.n * case.k)
        total = local_readout_cost(case, readout_memory(self.trace, case.network)) + learnt
        for index, (layer, cells) in enumerate(zip(case.activity.hidden, case.network.hidden, strict=True)):
            filtered = layer.sources * (1 + bool(cells.neuron.alpha))
            total += Counts(
                trace_updates=case.activity.steps * (layer.synapses + filtered),
                synapse_updates=layer.parameters,
                memory={"traces": layer.parameters + filtered},
            )
            if self.target == "global":
                total += tangent_cost(case, 1.0, index)
        return total + scalar_cost(case, len(case.activity.hidden))


def _advance(layer: SpikingLayer, seen: LayerStep, d: Tensor, now: Guess) -> Guess:
    columns = torch.cat([x for x in heard(layer, seen) if x is not None], 1)
    epsilon, stages = cascade((layer.neuron.alpha, layer.neuron.beta), columns, now.epsilon)
    synapse, recurrent, before = layer.synapse, layer.recurrent, now.correlation
    n_in = synapse.n_in
    pre, one, own = epsilon[:, :n_in], epsilon[:, n_in : n_in + 1], epsilon[:, n_in + 1 :]
    delta = d * seen.psi
    correlation = Correlation(
        before.weight + synapse.gradient_per_sample(delta, pre),
        None if before.bias is None else before.bias + (synapse.sum_sites(delta) * one).unsqueeze(2),
        None
        if recurrent is None or before.recurrent is None
        else before.recurrent + recurrent.gradient_per_sample(delta, own),
    )
    return now._replace(epsilon=stages, correlation=correlation, norm=now.norm + d.square().sum(1))


def _project(layer: SpikingLayer, guess: Guess) -> LayerGradient:
    rho = guess.agreement / guess.norm.clamp_min(torch.finfo(guess.norm.dtype).tiny)
    weight, bias, own = (None if c is None else torch.einsum("b,bci->ci", rho, c) for c in guess.correlation)
    assert weight is not None
    return LayerGradient(
        weight.view_as(layer.synapse.weight),
        None if bias is None else bias.squeeze(1),
        None if own is None or layer.recurrent is None else own.view_as(layer.recurrent.weight),
    )
