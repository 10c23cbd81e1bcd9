"""The same network in other simulators, each at its fastest documented setting, for `neurofdfa.bench`.

Every builder takes our network and returns what trains it on the same spikes, back through time, and what
runs it, both as plain callables. Weights are copied and time constants matched; where a simulator's reset is
another than ours (Norse has no soft one, snnTorch's hard one also drops what arrives in the step after a
spike) the weights are scaled until its layers fire as often as ours.
"""

# pyright: basic
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurofdfa.errors import UserError
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.network import Network

STILL = 1e-7
"""Learning rate of everybody: optimizers cost the same, and firing rates stay what they were matched to."""


class Peer(NamedTuple):
    """version; forward: `[T, B, n_in]` → outputs `[T, B, k]`; parameters; rates: of the last forward pass."""

    name: str
    version: str
    forward: Callable[[Tensor], Tensor]
    parameters: list[nn.Parameter]
    rates: Callable[[Tensor], list[float]]

    def match(self, rates: Sequence[float], x: Tensor) -> None:
        """Scale the weights of one hidden layer after the other until it fires as often as asked for."""
        for index, wanted in enumerate(rates):
            weight, scale = self.parameters[index].data, 1.0
            low, high = 0.25, 4.0
            for _ in range(12):
                found = self.rates(x)[index]
                if abs(found - wanted) < 0.01 * wanted:
                    break
                low, high = (scale, high) if found < wanted else (low, scale)
                weight.mul_((low * high) ** 0.5 / scale)
                scale = (low * high) ** 0.5

    def learner(self, lr: float = STILL) -> Callable[[Tensor, Tensor], None]:
        """Training step: forward, backward, Adam, with cross-entropy at every step."""
        optimizer = torch.optim.Adam(self.parameters, lr=lr)

        def step(x: Tensor, target: Tensor) -> None:
            optimizer.zero_grad()
            labels = target.repeat(x.shape[0])
            loss = nn.functional.cross_entropy(self.forward(x).flatten(0, 1), labels)
            loss.backward()
            optimizer.step()

        return step


def _linears(network: Network, scale: float = 1.0) -> nn.ModuleList:
    layers = nn.ModuleList()
    synapses = [layer.synapse for layer in network.hidden] + [network.readout.synapse]
    for index, synapse in enumerate(synapses):
        linear = nn.Linear(synapse.n_in, synapse.n_out, bias=False)
        factor = scale if index < len(network.hidden) else 1.0
        linear.weight.data.copy_(synapse.weight.detach() * factor)
        layers.append(linear)
    return layers


def _own(layer: SpikingLayer) -> nn.Module:
    """The recurrent synapses of a layer; an `Identity` where it has none."""
    if layer.recurrent is None:
        return nn.Identity()
    own = nn.Linear(layer.n, layer.n, bias=False)
    own.weight.data.copy_(layer.recurrent.weight.detach())
    return own


def _no_more(name: str, network: Network) -> None:
    """Raise `UserError` for what only snnTorch's loop here has."""
    if any(layer.recurrent is not None or layer.dropout for layer in network.hidden):
        raise UserError(f"{name} is measured without recurrent synapses and dropout: take snntorch")


def _import(name: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name} is not installed: pip install {install} (or leave it out of --against)"
        ) from error


def snntorch(network: Network) -> Peer:
    """snnTorch: `Leaky`, one step after the other (its only mode on a CPU), with recurrent synapses and, in
    training, dropout where layers have them.
    """
    snn = _import("snntorch", "snntorch")
    surrogate = _import("snntorch.surrogate", "snntorch")
    linears = _linears(network)
    neurons = [
        snn.Leaky(
            beta=layer.neuron.beta,
            threshold=layer.neuron.v_threshold,
            reset_mechanism="subtract" if layer.neuron.reset == "soft" else "zero",
            spike_grad=surrogate.fast_sigmoid(slope=1 / layer.neuron.surrogate.width),
        )
        for layer in network.hidden
    ]

    own = nn.ModuleList(_own(layer) for layer in network.hidden)
    dropouts = [layer.dropout for layer in network.hidden]

    def forward(x: Tensor, record: list[Tensor] | None = None) -> Tensor:
        membranes = [neuron.init_leaky() for neuron in neurons]
        fired = [x.new_zeros(x.shape[1], layer.n) for layer in network.hidden]
        chances = (p if record is None else 0.0 for p in dropouts)
        pairs = zip(fired, chances, strict=True)
        masks = [nn.functional.dropout(torch.ones_like(s), p) if p else None for s, p in pairs]
        y, outputs = 0.0, []
        for x_t in x:
            s = x_t
            for index, neuron in enumerate(neurons):
                drive, back, mask = linears[index](s), own[index], masks[index]
                if isinstance(back, nn.Linear):
                    drive = drive + back(fired[index])
                fired[index], membranes[index] = neuron(drive, membranes[index])
                s = fired[index] if mask is None else fired[index] * mask
                if record is not None:
                    record.append(fired[index])
            y = y + linears[-1](s)
            outputs.append(y)
        return torch.stack(outputs)

    parameters = [*linears.parameters(), *own.parameters()]
    return Peer("snntorch", snn.__version__, forward, parameters, _rates(forward, len(neurons)))


def norse(network: Network) -> Peer:
    """Norse: `LIFBoxFeedForward` cells (no synaptic filter), hard reset."""
    _no_more("norse", network)
    _import("norse", "norse --no-deps")
    box = _import("norse.torch.functional.lif_box", "norse --no-deps")
    dt = network.hidden[0].neuron.dt
    beta = network.hidden[0].neuron.beta
    linears = _linears(network, 1 / (1 - beta))
    p = box.LIFBoxParameters(
        tau_mem_inv=torch.as_tensor((1 - beta) / dt),
        v_leak=torch.as_tensor(0.0),
        v_th=torch.as_tensor(network.hidden[0].neuron.v_threshold),
        v_reset=torch.as_tensor(0.0),
        method="super",
        alpha=torch.as_tensor(2.0),
    )

    def forward(x: Tensor, record: list[Tensor] | None = None) -> Tensor:
        states = [box.LIFBoxFeedForwardState(v=x.new_zeros(x.shape[1], layer.n)) for layer in network.hidden]
        y, outputs = 0.0, []
        for x_t in x:
            s = x_t
            for index in range(len(states)):
                s, states[index] = box.lif_box_feed_forward_step(linears[index](s), states[index], p, dt=dt)
                if record is not None:
                    record.append(s)
            y = y + linears[-1](s)
            outputs.append(y)
        return torch.stack(outputs)

    version = importlib.import_module("importlib.metadata").version("norse")
    return Peer("norse", version, forward, list(linears.parameters()), _rates(forward, len(network.hidden)))


def spikingjelly(network: Network) -> Peer:
    """SpikingJelly: multi-step `LIFNode`s, one product per layer for all steps."""
    _no_more("spikingjelly", network)
    install = "spikingjelly --no-deps"
    neuron = _import("spikingjelly.activation_based.neuron", install)
    functional = _import("spikingjelly.activation_based.functional", install)
    surrogate = _import("spikingjelly.activation_based.surrogate", install)
    linears = _linears(network)
    nodes = nn.ModuleList(
        neuron.LIFNode(
            tau=1 / (1 - layer.neuron.beta),
            decay_input=False,
            v_threshold=layer.neuron.v_threshold,
            v_reset=None if layer.neuron.reset == "soft" else 0.0,
            surrogate_function=surrogate.ATan(),
            detach_reset=True,
            step_mode="m",
        )
        for layer in network.hidden
    )

    def forward(x: Tensor, record: list[Tensor] | None = None) -> Tensor:
        functional.reset_net(nodes)
        s = x
        for linear, node in zip(linears, nodes, strict=False):
            s = node(linear(s))
            if record is not None:
                record.append(s)
        return linears[-1](s).cumsum(0)

    version = importlib.import_module("importlib.metadata").version("spikingjelly")
    return Peer("spikingjelly", version, forward, list(linears.parameters()), _rates(forward, len(nodes)))


def _rates(forward: Callable[..., Tensor], layers: int) -> Callable[[Tensor], list[float]]:
    def rates(x: Tensor) -> list[float]:
        record: list[Tensor] = []
        with torch.no_grad():
            forward(x, record)
        return [
            float(torch.stack([s.mean() for s in record[index::layers]]).mean()) for index in range(layers)
        ]

    return rates


PEERS: dict[str, Callable[[Network], Peer]] = {
    "snntorch": snntorch,
    "norse": norse,
    "spikingjelly": spikingjelly,
}


def sort_out(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Peers that are installed, and those that are not. Raises `UserError` for unknown names."""
    for name in names:
        if name not in PEERS:
            raise UserError(f"unknown peer '{name}': choose from {', '.join(PEERS)}")
    found = [name for name in names if importlib.util.find_spec(name) is not None]
    return found, [name for name in names if name not in found]


def peer(name: str, network: Network) -> Peer:
    """Build a peer by name; raises `UserError` for unknown names and simulators that are not installed."""
    sort_out([name])
    return PEERS[name](network)
