"""What a network did on some samples, from its measured spikes."""

import torch
from torch import Tensor

from neurofdfa.nn.layer import LayerStep, SpikingLayer
from neurofdfa.nn.lif import filters
from neurofdfa.nn.network import Network
from neurofdfa.nn.synapse import Synapse
from neurofdfa.rules.cost import Activity, Counts, LayerActivity


@torch.no_grad()
def measure(network: Network, x: Tensor) -> Activity:
    """Run inference on `[T, B, n_in]` and count events."""
    steps = list(network.steps(x))
    hidden = tuple(
        _layer(layer, [step.layers[index] for step in steps]) for index, layer in enumerate(network.hidden)
    )
    population = network.readout.population
    if population is not None:
        readout = _layer(population, [s.readout.population for s in steps if s.readout.population])
        readout = readout._replace(stateful=readout.stateful + 1)  # and the count itself
    else:
        pre = torch.stack([step.readout.pre for step in steps])
        readout = _activity(network.readout.synapse, pre, None, None)
    return Activity(x.shape[0], network.n_in, hidden, readout)


def _layer(layer: SpikingLayer, seen: list[LayerStep]) -> LayerActivity:
    pre = torch.stack([step.pre for step in seen])
    own = torch.stack([step.before.s for step in seen]) if layer.recurrent is not None else None
    found = _activity(layer.synapse, pre, layer.recurrent, own)
    spikes = float(torch.stack([step.after.s for step in seen]).sum()) / pre.shape[1]
    stateful = 2 + filters(layer.dynamics.alpha) + bool(layer.neuron.adaptation)
    return found._replace(spiking=True, stateful=stateful, spikes=spikes)


def _activity(synapse: Synapse, pre: Tensor, recurrent: Synapse | None, own: Tensor | None) -> LayerActivity:
    def per_step(group: Synapse, x: Tensor) -> Tensor:
        return ((x != 0).double() @ group.fan_out.double()).mean(1)

    def so_far(group: Synapse, x: Tensor) -> Tensor:
        return per_step(group, (x != 0).double().cumsum(0))

    zero = torch.zeros(len(pre), dtype=torch.float64)
    reached = (pre != 0).any(2)
    if own is not None:
        reached = reached | (own != 0).any(2)
    bias = synapse.bias is not None
    shared = sum(0 if w is None else w.numel() for w in (synapse.weight, synapse.bias))
    return LayerActivity(
        n=synapse.n_out,
        channels=synapse.channels,
        sources=synapse.n_in + bias + (synapse.n_out if recurrent is not None else 0),
        connections=int(synapse.fan_out.sum()),
        own_connections=int(recurrent.fan_out.sum()) if recurrent is not None else 0,
        parameters=shared + (recurrent.weight.numel() if recurrent is not None else 0),
        bias=bias,
        spiking=False,
        stateful=1,
        waiting=0 if synapse.delay is None else int(synapse.delay.max()) * synapse.n_in,
        analog=not bool(((pre == 0) | (pre == 1)).all()),
        events=per_step(synapse, pre),
        own=per_step(recurrent, own) if recurrent is not None and own is not None else zero,
        heard=so_far(synapse, pre),
        own_heard=so_far(recurrent, own) if recurrent is not None and own is not None else zero,
        reached=zero + 1.0 if bias else reached.double().mean(1),
        spikes=0.0,
    )


def forward(activity: Activity) -> Counts:
    """Inference: every synapse behind a non-zero input, every neuron in every step."""
    total = Counts()
    for layer in activity.layers:
        operations = float(layer.events.sum() + layer.own.sum())
        waiting = {"delay_lines": float(layer.waiting)} if layer.waiting else {}
        total += Counts(
            synaptic_operations=operations,
            multiplied_synaptic_operations=float(layer.events.sum()) if layer.analog else 0.0,
            neuron_updates=activity.steps * layer.n,
            active_neuron_updates=float(layer.reached.sum()) * layer.n,
            spikes=layer.spikes,
            weight_reads=operations + (activity.steps * layer.n if layer.bias else 0),
            memory={
                "weights": layer.parameters,
                "neuron_state": layer.n * layer.stateful,
            }
            | waiting,
        )
    return total
