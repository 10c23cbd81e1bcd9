"""Eligibility traces: what a synapse remembers of its own past until a learning signal arrives.

For the LIF neuron (own-state path only, which is what makes it local), Bellec et al. 2020 (e-prop):

    p = α p⁻ + s_pre;   ε_ji = d_j ε_ji⁻ + p_i;   e_ji = ψ_j ε_ji;   ē_ji = κ ē_ji⁻ + e_ji

with d = ∂u/∂u⁻ through the neuron alone and κ the decay of the readout. Two forms:

- `PerSynapse`, the default: exactly the above, with a second component where thresholds adapt, and with the
  eligibility of time constants that are learnt (`neurofdfa.nn.eligibility`). Memory `B · n · fan_in` per
  layer, as one value per synapse on a chip.
- `PerNeuron`: one value per pre-synaptic neuron, `B · n_in`. It takes d_j = β (exact for a soft, detached
  reset; it neglects resets otherwise) and lets κ filter ε instead of ψε (exact for κ = 0). It cannot follow
  decays that differ between neurons, or thresholds that adapt, and refuses such layers. It is what a chip
  has the memory for.

With `downstream` the decays of the layers above filter it once more, each with a gain of 1: what a spike of a
low layer does to the output is spread over time by every membrane on its way, and an error that comes now is
about spikes of then.

Filters are linear: where weights are shared or inputs pooled, both may happen behind the trace.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.nn.derived import DerivedEligibility, derived_advance, derived_blank
from neurofdfa.nn.eligibility import Eligibility, advance, blank, step_jacobian
from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import LIF, filters
from neurofdfa.nn.neuron import Neuron
from neurofdfa.nn.synapse import Synapse
from neurofdfa.nn.time_constants import TimeConstants, membrane_source, slope
from neurofdfa.rules.cost import LayerActivity, Products

if TYPE_CHECKING:
    from neurofdfa.nn.network import Network


class LayerGradient(NamedTuple):
    """Σ over the batch of a layer's gradients; None where the layer has no such parameter.

    membrane, synapse: of the parameters behind β and α, `neurofdfa.nn.time_constants`.
    """

    weight: Tensor
    bias: Tensor | None
    recurrent: Tensor | None
    membrane: Tensor | None = None
    synapse: Tensor | None = None


def outer(
    layer: SpikingLayer, delta: Tensor, pre: Tensor, one: Tensor | float, own: Tensor | None
) -> LayerGradient:
    """Σ_b δ_b ⊗ x_b for each group of synapses. delta: `[B, n]`; x is pre, `[B, n_in]`, the constant's trace
    `one`, `[B, 1]` or alike, and own, `[B, n]`.
    """
    return LayerGradient(
        layer.synapse.gradient(delta, pre),
        None if layer.synapse.bias is None else layer.synapse.bias_gradient(delta * one),
        None if layer.recurrent is None or own is None else layer.recurrent.gradient(delta, own),
    )


S = TypeVar("S")
X = TypeVar("X", Tensor, float)
FilterState: TypeAlias = tuple[Tensor, ...]
"""State of a cascade of first-order filters, one tensor per stage that decays."""


def cascade_state(decays: Sequence[float], zero: Tensor) -> FilterState:
    """Zero state; stages with decay 0 pass their input through and hold nothing."""
    return tuple(zero for d in decays if d)


def cascade(decays: Sequence[float], x: X, stages: tuple[X, ...]) -> tuple[X, tuple[X, ...]]:
    """f_k = d_k f_k⁻ + f_{k−1}, f_0 = x; returns the last stage's output and the new state."""
    new: list[X] = []
    for d, stage in zip((d for d in decays if d), stages, strict=True):
        x = d * stage + x
        new.append(x)
    return x, tuple(new)


def filter_over(x: Tensor, decay: float, steps: int) -> Tensor:
    """`cascade` of one stage over all steps of a sequence, which stand side by side in `[T·B, n]`."""
    if not decay:
        return x
    y = x.view(steps, -1, x.shape[1]).clone()
    for before, now in zip(y[:-1].unbind(), y[1:].unbind(), strict=True):
        now.add_(before, alpha=decay)
    return y.flatten(0, 1)


class Trace(Protocol[S]):
    """An eligibility trace as data plus pure functions; S is its state for one layer.

    For the energy ledger a trace also has `products` and `words`, as those here have.
    """

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> S:
        """Zero traces for one layer; κ is the readout's decay."""
        ...

    def step(self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: S) -> S:
        """Advance by the step that the layer just made."""
        ...

    def gradient(self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: S) -> LayerGradient:
        """Σ over the batch of signal × trace. signal: λ, `[B, n]`."""
        ...


def bind_path(trace: Any, network: "Network", index: int) -> Any:
    """The trace of hidden layer `index`: one that is filtered downstream needs to know what lies above."""
    if not getattr(trace, "downstream", False):
        return trace
    population = network.readout.population
    above = [*network.hidden[index + 1 :], *([population] if population else [])]
    return replace(trace, path=tuple(d for layer in above for d in layer.mean_decays if d))


def keeps_something(trace: Any) -> bool:
    """Whether a trace has a memory: one that only multiplies with the inputs of the step has none."""
    return getattr(trace, "products", ()) != ("now",)


class PerNeuronState(NamedTuple):
    """Filter stages of the pre-synaptic spikes, of the constant 1 (bias) and of the own spikes."""

    pre: FilterState
    bias: FilterState
    own: FilterState
    out: tuple[Tensor, Tensor, Tensor | None]


@dataclass(frozen=True)
class PerNeuron:
    """One trace per pre-synaptic neuron. filtered: let the readout's κ filter it too. downstream: and the
    decays of the layers above, which `bind_path` writes into path.
    """

    products: ClassVar[Products] = ("traced",)
    filtered: bool = True
    downstream: bool = False
    path: tuple[float, ...] = ()

    def words(self, layer: LayerActivity, neurons: SpikingLayer, kappa: float) -> int:
        """Values that a layer keeps: every filter of every source."""
        stages = 1 + filters(neurons.dynamics.alpha) + bool(self.filtered and kappa) + len(self.path)
        return layer.sources * stages

    def decays(self, layer: SpikingLayer, kappa: float) -> tuple[float, ...]:
        """Decays of the cascade from a pre-synaptic spike to its trace."""
        return (layer.neuron.alpha, layer.neuron.beta, *((kappa,) if self.filtered else ()), *self.path)

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> PerNeuronState:
        """Zero traces, `[B, n_in]`, `[1, 1]` and `[B, n]`; raises `UserError` for neurons that need more."""
        if not isinstance(layer.cell, LIF):
            raise UserError(
                f"a trace per neuron does not fit {type(layer.cell).__name__}, which is not LIF: give it "
                "trace=PerSynapse(), or train with bptt"
            )
        if not layer.plain:
            what = "adaptive thresholds" if layer.neuron.adaptation else "time constants of their own"
            raise UserError(
                f"a trace per neuron does not fit neurons with {what}: give the rule the option trace = "
                "'per-synapse', or train with bptt"
            )
        decays, weight = self.decays(layer, kappa), layer.synapse.weight
        pre, one, own = (
            weight.new_zeros(shape) for shape in ((batch, layer.synapse.n_in), (1, 1), (batch, layer.n))
        )
        return PerNeuronState(
            cascade_state(decays, pre),
            cascade_state(decays, one),
            cascade_state(decays, own) if layer.recurrent is not None else (),
            (pre, one, None),
        )

    def step(
        self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: PerNeuronState
    ) -> PerNeuronState:
        """Advance by one time step."""
        decays = self.decays(layer, kappa)
        pre_out, pre = cascade(decays, seen.pre, state.pre)
        bias_out, bias = cascade(decays, torch.ones_like(state.out[1]), state.bias)
        own_out, own = (
            cascade(decays, seen.before.s, state.own) if layer.recurrent is not None else (None, state.own)
        )
        if self.path:
            gain = passing_gain(self.path)
            pre_out, bias_out = pre_out * gain, bias_out * gain
            own_out = None if own_out is None else own_out * gain
        return PerNeuronState(pre, bias, own, (pre_out, bias_out, own_out))

    def gradient(
        self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: PerNeuronState
    ) -> LayerGradient:
        """Σ_b λ_b ψ_b ⊗ trace_b. signal: λ, `[B, n]`."""
        return outer(layer, signal * seen.psi, *state.out)


class SynapseTraces(NamedTuple):
    """Of one group of synapses, of m inputs per site: p `[B, sites, m]`, or with a synaptic decay per neuron
    `[B, channels, sites, m]`, and eligibilities `[B, channels, sites, m]`;
    stages: of the filters behind them.
    """

    p: Tensor
    eligibility: Eligibility | DerivedEligibility
    stages: FilterState = ()

    @property
    def felt(self) -> Tensor:
        """What a learning signal meets, but for the gain of the stages."""
        return self.stages[-1] if self.stages else self.eligibility.filtered


class DecayTraces(NamedTuple):
    """Of decays that are learnt, `[B, n]`: ∂i/∂α and the eligibilities of α and β."""

    current: Tensor
    alpha: Eligibility
    beta: Eligibility


class PerSynapseState(NamedTuple):
    """Traces of the input synapses, of the bias (the constant 1 is its only input), of the recurrent ones and
    of the time constants; None where the layer has or learns none.
    """

    pre: SynapseTraces
    bias: SynapseTraces | None
    own: SynapseTraces | None
    decays: DecayTraces | None


@dataclass(frozen=True)
class PerSynapse:
    """One trace per synapse, exact for every neuron. filtered: let the readout's κ filter it too. downstream:
    and the decays of the layers above, which `bind_path` writes into path.
    """

    products: ClassVar[Products] = ("traced",)
    filtered: bool = True
    downstream: bool = False
    path: tuple[float, ...] = ()

    def words(self, layer: LayerActivity, neurons: SpikingLayer, kappa: float) -> int:
        """Values that a layer keeps: components of every synapse, and the filtered inputs that they share."""
        components = 1 + bool(self.filtered and kappa) + bool(neurons.neuron.adaptation) + len(self.path)
        alpha = neurons.dynamics.alpha
        mixed = isinstance(alpha, Tensor)
        shared = layer.sources if filters(alpha) and not mixed else 0
        return layer.synapses * (components + mixed) + shared

    def init(self, layer: SpikingLayer, kappa: float, batch: int) -> PerSynapseState:
        """Zero traces; raises `UserError` where time constants are learnt with `downstream`."""
        synapse, recurrent = layer.synapse, layer.recurrent
        if self.path and _learnt(layer) is not None:
            raise UserError("the traces of time constants that are learnt are not filtered downstream")
        cell = layer.cell
        if not isinstance(cell, LIF) and any(p.requires_grad for p in _own_parameters(cell)):
            raise UserError(
                f"the parameters of {type(cell).__name__} have no eligibility: train with bptt, or fix them "
                "by requires_grad_(False)"
            )
        mixed = isinstance(cell, LIF) and isinstance(cell.dynamics.alpha, Tensor)
        none = synapse.weight.new_zeros(batch, layer.n)

        def traces(group: Synapse, sites: int, inputs: int) -> SynapseTraces:
            zero = group.weight.new_zeros(batch, group.channels, group.sites, inputs)
            p = zero if mixed else group.weight.new_zeros(batch, sites, inputs)
            own = blank(zero, cell) if isinstance(cell, LIF) else derived_blank(zero, len(cell.states) + 1)
            return SynapseTraces(p, own, cascade_state(self.path, zero))

        return PerSynapseState(
            traces(synapse, synapse.sites, synapse.fan_in),
            None if synapse.bias is None else traces(synapse, 1, 1),
            None if recurrent is None else traces(recurrent, recurrent.sites, recurrent.fan_in),
            None
            if _learnt(layer) is None
            else DecayTraces(none, blank(none, layer.neuron), blank(none, layer.neuron)),
        )

    def step(
        self, layer: SpikingLayer, kappa: float, seen: LayerStep, state: PerSynapseState
    ) -> PerSynapseState:
        """Advance by one time step."""
        filtered = kappa if self.filtered else 0.0
        if seen.derived is not None:
            return self._derived_step(layer, filtered, seen, state)
        lif = layer.dynamics
        through = step_jacobian(seen, lif, filtered)

        def pushed(group: Synapse, heard: Tensor, before: SynapseTraces) -> SynapseTraces:
            def shaped(x: Tensor) -> Tensor:
                return group.split_channels(x).unsqueeze(3)

            if isinstance(lif.alpha, Tensor):
                p = shaped(lif.alpha.unsqueeze(0)) * before.p + heard.unsqueeze(1)
            else:
                p = lif.alpha * before.p + heard
            source = p if isinstance(lif.alpha, Tensor) else p.unsqueeze(1)
            assert isinstance(before.eligibility, Eligibility)
            now = advance(source, before.eligibility, through.shaped(shaped))
            return SynapseTraces(p, now, cascade(self.path, now.filtered, before.stages)[1])

        synapse, recurrent = layer.synapse, layer.recurrent
        one = seen.pre.new_ones(seen.pre.shape[0], 1, 1)
        decays = state.decays
        if decays is not None:
            current = lif.alpha * decays.current + seen.before.i
            decays = DecayTraces(
                current,
                advance(current, decays.alpha, through),
                advance(membrane_source(seen.before, lif), decays.beta, through),
            )
        return PerSynapseState(
            pushed(synapse, synapse.patches(seen.pre), state.pre),
            None if state.bias is None else pushed(synapse, one, state.bias),
            None
            if recurrent is None or state.own is None
            else pushed(recurrent, recurrent.patches(seen.before.s), state.own),
            decays,
        )

    def _derived_step(
        self, layer: SpikingLayer, filtered: float, seen: LayerStep, state: PerSynapseState
    ) -> PerSynapseState:
        """The same for a neuron of the user's own, from the derivative of its step."""
        through = seen.derived
        assert through is not None

        def pushed(group: Synapse, heard: Tensor, before: SynapseTraces) -> SynapseTraces:
            assert isinstance(before.eligibility, DerivedEligibility)
            shaped = through.shaped(lambda x: group.split_channels(x).unsqueeze(3))
            now = derived_advance(heard.unsqueeze(1), before.eligibility, shaped, filtered)
            return SynapseTraces(before.p, now, cascade(self.path, now.filtered, before.stages)[1])

        synapse, recurrent = layer.synapse, layer.recurrent
        one = seen.pre.new_ones(seen.pre.shape[0], 1, 1)
        own = None
        if recurrent is not None and state.own is not None:
            own = pushed(recurrent, recurrent.patches(seen.before.s), state.own)
        return PerSynapseState(
            pushed(synapse, synapse.patches(seen.pre), state.pre),
            None if state.bias is None else pushed(synapse, one, state.bias),
            own,
            None,
        )

    def gradient(
        self, layer: SpikingLayer, signal: Tensor, seen: LayerStep, state: PerSynapseState
    ) -> LayerGradient:
        """Σ_b λ_b ē_b, summed over the sites that share a weight. signal: λ, `[B, n]`."""

        def total(group: Synapse, traces: SynapseTraces) -> Tensor:
            return torch.einsum("bcs,bcsi->ci", group.split_channels(signal) * gain, traces.felt)

        synapse, recurrent, gain = layer.synapse, layer.recurrent, passing_gain(self.path)
        gradient = LayerGradient(
            total(synapse, state.pre).view_as(synapse.weight),
            None if state.bias is None else total(synapse, state.bias).squeeze(1),
            None
            if recurrent is None or state.own is None
            else total(recurrent, state.own).view_as(recurrent.weight),
        )
        learnt = _learnt(layer)
        if learnt is None or state.decays is None:
            return gradient

        def of(logit: Tensor | None, eligibility: Eligibility) -> Tensor | None:
            return None if logit is None else (signal * eligibility.filtered).sum(0) * slope(logit)

        return gradient._replace(
            membrane=of(learnt.membrane, state.decays.beta), synapse=of(learnt.synapse, state.decays.alpha)
        )


def passing_gain(path: Sequence[float]) -> float:
    """Makes filters in series pass a constant as it is."""
    return math.prod(1.0 - d for d in path)


def _own_parameters(cell: Neuron) -> list[Tensor]:
    """Of the neurons alone, without their recurrent synapses."""
    return [p for name, p in cell.named_parameters() if not name.startswith("recurrent.")]


def _learnt(layer: SpikingLayer) -> TimeConstants | None:
    """The layer's time constants, if they are learnt."""
    found = layer.time_constants
    return found if found is not None and found.learn else None
