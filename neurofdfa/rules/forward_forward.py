"""Forward-Forward for spikes: each layer learns to be lively for true pairs of input and label, and still
for wrong ones.

Every sample is shown three times side by side: as it is, with its own label written over the first k input
channels, and with a wrong one. Per layer, with z = κ z⁻ + s and r = z / Σκ^τ the rate so far:

    goodness g = Σ_j r_j² / (n ρ²),   loss = softplus(θ_g − g⁺) + softplus(g⁻ − θ_g)
    λ_j[t] = ∓ w[t] σ(± (θ_g − g)) · 2 r_j / (n ρ² Σκ^τ)

Hinton 2022, sections 2-3. The pass without a label trains the readout on what the layers have learnt, so
that the network can be run and exported like any other; `predict` tries every label and takes the one that
the layers like best (section 3.3), or reads the readout.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from neurofdfa.distributed.group import Shard
from neurofdfa.errors import UserError
from neurofdfa.nn.loss import one_hot
from neurofdfa.nn.network import Network, NetworkStep
from neurofdfa.rules.base import Broadcast, Rule, Signals, readout_memory
from neurofdfa.rules.cost import Case, Counts, activity_cost, product_cost
from neurofdfa.rules.traces import FilterState, cascade, cascade_state, filter_over


class OverlayState(NamedTuple):
    """generator: of wrong labels. wrong: what to add to a label to make it wrong, `[B]`.

    activity: κ-filtered spikes per layer, `[3B, n]`; pulse: Σκ^τ so far. steps: how many of them stand side
    by side, or None for one after the other.
    """

    generator: torch.Generator
    wrong: Tensor | None = None
    activity: tuple[FilterState, ...] = ()
    pulse: float = 0.0
    steps: int | None = None


@dataclass(frozen=True)
class ForwardForward(Rule[OverlayState]):
    """threshold: θ_g. rate: ρ, the firing rate at which a layer of equals has goodness 1.

    overlay: value of the channel that marks the label. predict_from: "goodness" or "readout".
    """

    name: ClassVar[str] = "forward-forward"
    source: ClassVar[str] = "Hinton 2022, sections 2-3"
    passes: ClassVar[int] = 3
    steps_side_by_side: ClassVar[bool] = True
    threshold: float = 4.0
    rate: float = 0.06
    overlay: float = 1.0
    predict_from: Literal["goodness", "readout"] = "goodness"

    def __post_init__(self) -> None:
        if not (self.threshold > 0 and self.rate > 0):
            raise UserError("forward-forward needs a threshold and a rate above 0")
        if self.predict_from not in ("goodness", "readout"):
            raise UserError(f"forward-forward predicts from goodness or readout, not '{self.predict_from}'")

    def init(self, network: Network, generator: torch.Generator) -> OverlayState:
        """Nothing but the generator; raises `UserError` where the labels do not fit into the input."""
        if network.n_in < network.n_out or network.n_out < 2:
            raise UserError(
                f"forward-forward writes {network.n_out} labels over {network.n_in} input channels: "
                "it needs at least two labels and no fewer channels"
            )
        return OverlayState(generator)

    def begin(self, network: Network, state: OverlayState, share: Shard) -> OverlayState:
        """Draw wrong labels and clear the activity of the last sequence."""
        device = state.generator.device
        wrong = torch.randint(1, network.n_out, (share.total,), generator=state.generator, device=device)
        weight = network.readout.synapse.weight
        zeros = (weight.new_zeros(self.passes * share.count, layer.n) for layer in network.hidden)
        kappa = readout_memory(self.trace, network)
        activity = tuple(cascade_state((kappa,), zero) for zero in zeros)
        return OverlayState(state.generator, share.rows(wrong).to(weight.device), activity)

    def present(self, network: Network, x_t: Tensor, target: Tensor, state: OverlayState) -> Tensor:
        """The input as it is, with the right label, and with a wrong one: `[3B, n_in]`."""
        if target.is_floating_point() or state.wrong is None:
            raise UserError("forward-forward learns classes: targets must be class numbers")
        wrong = (target + state.wrong) % network.n_out
        return torch.cat([x_t, self._labelled(network, x_t, target), self._labelled(network, x_t, wrong)])

    def side_by_side(self, state: OverlayState, steps: int) -> OverlayState:
        """Activity is filtered for all steps at once."""
        return state._replace(steps=steps)

    def signals(
        self, network: Network, step: NetworkStep, broadcast: Broadcast, state: OverlayState
    ) -> tuple[Signals, OverlayState]:
        """λ of each layer's own goodness; zero in the pass without a label."""
        kappa, steps = readout_memory(self.trace, network), state.steps or 1
        batch = broadcast.target.shape[0] // steps
        side = step.y.new_tensor([0.0, 1.0, -1.0]).repeat_interleave(batch).repeat(steps).unsqueeze(1)
        pulse: float | Tensor = kappa * state.pulse + 1.0
        if state.steps is not None:
            ones = step.y.new_ones(steps, 1)
            pulse = filter_over(ones, kappa, steps).repeat_interleave(self.passes * batch, 0)
        signals: list[Tensor] = []
        stages: list[FilterState] = []
        for seen, activity in zip(step.layers, state.activity, strict=True):
            if state.steps is None:
                z, after = cascade((kappa,), seen.sent, activity)
            else:
                z, after = filter_over(seen.sent, kappa, state.steps), activity
            rate = z / (pulse * self.rate)
            goodness = rate.square().mean(1, keepdim=True)
            pressure = -side * torch.sigmoid(side * (self.threshold - goodness))
            signal = pressure * rate * (2.0 * broadcast.weight / (pulse * self.rate * rate.shape[1]))
            signals.append(signal if seen.mask is None else signal * seen.mask)
            stages.append(after)
        after = state if state.steps else state._replace(activity=tuple(stages), pulse=pulse)
        return Signals(tuple(signals)), after

    def predict(self, network: Network, x: Tensor, state: OverlayState) -> Tensor:
        """Goodness of every label, summed over the layers, `[B, k]`; or the readout's scores."""
        if self.predict_from == "readout":
            return super().predict(network, x, state)
        batch, labels = x.shape[1], network.n_out
        label = torch.arange(labels, device=x.device).repeat_interleave(batch)
        tried = torch.stack([self._labelled(network, x_t.repeat(labels, 1), label) for x_t in x])
        kappa, steps = readout_memory(self.trace, network), x.shape[0]
        kernel = kappa ** torch.arange(steps - 1, -1, -1, device=x.device, dtype=x.dtype)
        rates = (torch.einsum("t,tbn->bn", kernel / kernel.sum(), s) for s in network.run(tried).spikes)
        goodness = torch.stack([(rate / self.rate).square().mean(1) for rate in rates]).sum(0)
        return goodness.view(labels, batch).t()

    def _labelled(self, network: Network, x_t: Tensor, label: Tensor) -> Tensor:
        k = network.n_out
        return torch.cat([one_hot(label, x_t[:, :k]) * self.overlay, x_t[:, k:]], 1)

    def cost(self, case: Case) -> Counts:
        """Goodness of two passes, a word each on the bus; the one without a label teaches no hidden layer."""
        told = Counts(broadcast_error_words=2 * case.taught)
        unlabelled = sum((product_cost(case, layer) for layer in case.activity.hidden), Counts())
        goodness = activity_cost(case, readout_memory(self.trace, case.network), case.n)
        return told + goodness + unlabelled.times(-1.0)
