"""Noise in place of chosen parts of a recorded sequence."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import LIFState
from neurofdfa.nn.network import Network, NetworkStep

NOISE_SEED = 271_828


def layer_names(network: Network) -> tuple[str, ...]:
    """layer1, layer2, …, readout."""
    return (*(f"layer{index + 1}" for index in range(len(network.hidden))), "readout")


@dataclass(frozen=True)
class Change:
    """What playback replaces: sources by name; samples: only these rows of the batch, None for all."""

    sources: frozenset[str] = frozenset()
    samples: tuple[int, ...] | None = None


class Noise:
    """One playback's replacements, in a batch of so many samples.

    Noise is drawn for every part, replaced or not, so that equal places of two playbacks hold equal noise.
    """

    def __init__(self, change: Change, network: Network, batch: int) -> None:
        self.change, self.batch, self.n_out = change, batch, network.n_out
        self.names = layer_names(network)
        self.generator = torch.Generator().manual_seed(NOISE_SEED)

    def replace_weights(self, network: Network) -> None:
        """Noise of the same scale in place of a layer's weights."""
        with torch.no_grad():
            for name, module in zip(self.names, (*network.hidden, network.readout), strict=True):
                for parameter in module.parameters():
                    scale = float(parameter.square().mean().sqrt()) or 1.0
                    drawn = torch.randn(parameter.shape, generator=self.generator, dtype=parameter.dtype)
                    if f"{name}.weights" in self.change.sources:
                        parameter.copy_(drawn * scale)

    def altered(self, source: str, tensor: Tensor, dim: int = 0) -> Tensor:
        """The tensor, or noise in its place. Draws either way, so that equal noise meets equal places."""
        drawn = torch.randn(tensor.shape, generator=self.generator, dtype=tensor.dtype)
        if source not in self.change.sources:
            return tensor
        if self.change.samples is None:
            return drawn
        rows = torch.arange(tensor.shape[dim]) % self.batch
        chosen = torch.isin(rows, torch.tensor(self.change.samples))
        shape = [1] * tensor.dim()
        shape[dim] = -1
        return torch.where(chosen.view(shape), drawn, tensor)

    def other_target(self, target: Tensor) -> Tensor:
        """Other labels or values, where targets are replaced."""
        if target.is_floating_point():
            return self.altered("target", target, target.dim() - 2)
        marked = self.altered("target", torch.full(target.shape, float("inf")))
        return torch.where(marked.isinf(), target, (target + 1) % self.n_out)

    def altered_step(self, true: NetworkStep) -> NetworkStep:
        """A recorded step with parts of it replaced."""
        layers = tuple(
            self._altered_layer(name, seen) for name, seen in zip(self.names, true.layers, strict=False)
        )
        readout = true.readout
        population = None
        if readout.population is not None:
            population = self._altered_layer("readout", readout.population)
        pre = self.altered("readout.input", readout.pre)
        return NetworkStep(
            layers,
            readout._replace(pre=pre, y=self.altered("outputs", readout.y), population=population),
            true.lines,
        )

    def _altered_layer(self, name: str, seen: LayerStep) -> LayerStep:
        state = f"{name}.state"
        before, after = (
            LIFState(*(self.altered(state, x) for x in part)) for part in (seen.before, seen.after)
        )
        mask = None if seen.mask is None else self.altered(state, seen.mask)
        psi = self.altered(state, seen.psi)
        return LayerStep(self.altered(f"{name}.input", seen.pre), before, after, psi, mask)

    def altered_memory(self, value: Any, layer: str | None, in_place: set[int]) -> Any:
        """Plain tuples with one entry per hidden layer are taken as per layer, at any depth."""
        if isinstance(value, Tensor):
            if layer is None or not value.is_floating_point():
                return value
            new = self.altered(f"{layer}.memory", value)
            return value.copy_(new) if id(value) in in_place and new is not value else new
        if isinstance(value, dict):
            entries = cast(dict[Any, Any], value)
            return {key: self.altered_memory(x, layer, in_place) for key, x in entries.items()}
        if not isinstance(value, tuple | list):
            return value
        items = list(cast(tuple[Any, ...] | list[Any], value))
        kind: Any = cast(Any, type(cast(Any, value)))
        if hasattr(kind, "_fields"):
            return kind(*(self.altered_memory(x, layer, in_place) for x in items))
        per_layer = layer is None and len(items) == len(self.names) - 1
        names = self.names[:-1] if per_layer else (layer,) * len(items)
        new_items = [self.altered_memory(x, n, in_place) for x, n in zip(items, names, strict=True)]
        return tuple(new_items) if isinstance(value, tuple) else new_items
