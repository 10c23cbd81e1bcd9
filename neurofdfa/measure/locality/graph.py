"""Autograd, seen from outside: whether a piece of work uses it, and how a played step keeps its graph."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from neurofdfa.nn.layer import LayerStep
from neurofdfa.nn.lif import LIFState, psi
from neurofdfa.nn.network import Network, NetworkState, NetworkStep
from neurofdfa.nn.readout import ReadoutState


@dataclass
class AutogradUse:
    """backward: calls of autograd's engine; saved: tensors that it kept for one."""

    backward: int = 0
    saved: int = 0


@contextmanager
def watched_autograd() -> Generator[AutogradUse]:
    """Count what autograd is asked for within the block, whichever of its doors is used."""
    found = AutogradUse()
    variable: Any = torch.autograd.Variable
    engine: Any = variable._execution_engine

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def run_backward(self, *arguments: Any, **settings: Any) -> Any:
            found.backward += 1
            return engine.run_backward(*arguments, **settings)

    def pack(tensor: Tensor) -> Tensor:
        found.saved += 1
        return tensor

    variable._execution_engine = Counting()
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
            yield found
    finally:
        variable._execution_engine = engine


class _Graft(torch.autograd.Function):
    """The value of one tensor with the history of another."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, history: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, grad_outputs[0]


def _graft(value: Tensor, history: Tensor) -> Tensor:
    return _Graft.apply(value, history)  # pyright: ignore[reportUnknownMemberType, reportReturnType, reportUnknownVariableType]


def _graft_state(value: LIFState, history: LIFState) -> LIFState:
    return LIFState(*(_graft(v, h) for v, h in zip(value, history, strict=True)))


def grafted_step(network: Network, x: Tensor, state: NetworkState, played: NetworkStep) -> NetworkStep:
    """A played step with the graph that the network would have built: values are those of `played`."""
    layers: list[LayerStep] = []

    def graft(index: int, arrived: Tensor) -> Tensor:
        layer, seen = network.hidden[index], played.layers[index]
        pre, before = _graft(seen.pre, arrived), _graft_state(seen.before, state.layers[index])
        after = _graft_state(seen.after, layer.step(pre, before, differentiable=True))
        layers.append(LayerStep(pre, before, after, psi(after, layer.neuron).detach(), seen.mask))
        return layers[-1].sent

    sent, lines = network.walk(x, state.lines, graft)
    neuron = state.readout.neuron
    readout = played.readout
    if neuron is not None and readout.population is not None:
        neuron = _graft_state(readout.population.before, neuron)
    live_readout = network.readout.step(
        _graft(readout.pre, sent), ReadoutState(state.readout.y, neuron), differentiable=True
    )
    read = live_readout._replace(y=_graft(readout.y, live_readout.y))
    return NetworkStep(tuple(layers), read, lines)
