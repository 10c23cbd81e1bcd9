"""Which networks, rules and options the event engine executes; everything else is the reference's."""

from typing import Any

import torch

from neurofdfa.nn.conv2d import Conv2d
from neurofdfa.nn.layer import SpikingLayer
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.linear import Linear
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError, SpikeCountError
from neurofdfa.nn.network import Network
from neurofdfa.nn.surrogate import ArcTan, FastSigmoid, Sigmoid, Triangular
from neurofdfa.nn.synapse import Convolution, Dense
from neurofdfa.rules.base import Rule
from neurofdfa.rules.engine_facts import EngineFacts, OuterProduct, Prober
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.learning import Learning

SURROGATE_KINDS: dict[type[Any], int] = {FastSigmoid: 0, Triangular: 1, ArcTan: 2, Sigmoid: 3}
LOSS_KINDS: dict[type[Any], int] = {CrossEntropy: 0, MeanSquaredError: 1, SpikeCountError: 2}
WIDEST = 8192
WIDEST_IMAGE = 65536
DEEPEST = 8


def spiking_layers(network: Network) -> tuple[SpikingLayer, ...]:
    """The hidden layers, and the readout's neurons where it has some."""
    population = network.readout.population
    return network.hidden if population is None else (*network.hidden, population)


def why_not_network(network: Network) -> str | None:
    """Why the engine cannot run this network forward, or None if it can."""
    weight = network.readout.synapse.weight
    if weight.device.type != "cpu":
        return f"the event engine runs on the CPU and the network is on {weight.device}"
    if weight.dtype not in (torch.float32, torch.float64):
        return f"the event engine computes in float32 or float64 and the weights are {weight.dtype}"
    for synapse in (*(layer.synapse for layer in network.hidden), network.readout.synapse):
        if synapse.delay is not None:
            return "the event engine has no delays"
        if type(synapse) not in (Dense, Convolution):
            return f"the event engine does not know the synapses {type(synapse).__name__}"
        if type(synapse.module) not in (Linear, Conv2d):
            return f"the event engine does not know the synapses {type(synapse.module).__name__}"
        if synapse.pool is not None and synapse.pool.gain != 1.0:
            return "the event engine has sums in front of synapses (SumPool2d) and no averages"
        if isinstance(synapse, Convolution) and not synapse.weight.is_contiguous():
            return "the event engine takes kernels of convolutions in torch's own memory format"
    for layer in spiking_layers(network):
        if type(layer) is not SpikingLayer:
            return f"the event engine does not know the layer {type(layer).__name__}"
        if not isinstance(layer.cell, LIF):
            return f"the event engine does not know the neuron {type(layer.cell).__name__}"
        if not layer.plain:
            return "the event engine has no adaptive thresholds and one time constant per layer"
        if isinstance(layer.recurrent, Convolution):
            return "the event engine has no recurrent convolutions"
        widest = WIDEST_IMAGE if isinstance(layer.synapse, Convolution) else WIDEST
        if layer.n > widest:
            return f"the event engine takes layers of up to {widest} neurons here and one has {layer.n}"
        if type(layer.neuron.surrogate) not in SURROGATE_KINDS:
            return f"the event engine does not know the surrogate {type(layer.neuron.surrogate).__name__}"
    return None


def why_not(learning: Learning) -> str | None:
    """Why the engine cannot train this learner, or None if it can."""
    network, rule, loss, update_every = (
        learning.network,
        learning.rule,
        learning.loss,
        learning.update_every,
    )
    facts = rule.engine_facts
    if isinstance(facts, str):
        return facts
    if reason := why_not_network(network):
        return reason
    probing = prober(facts)
    if facts.feedback == "weights" and any(layer.dropout for layer in network.hidden[1:]):
        return "the event engine has no symmetric feedback through layers with dropout"
    if learning.device.active:
        return f"the event engine impairs nothing and {learning.device.active[0]} is set"
    if reason := _why_not_trace(network, rule.trace):
        return reason
    if type(loss) not in LOSS_KINDS:
        return f"the event engine does not know the loss {type(loss).__name__}"
    if update_every is not None and whole_sequences(rule):
        return (
            "the event engine has no updates inside a sequence with traces per synapse or weighted estimates"
        )
    attached = any(layer.neuron.reset_gradient == "attached" for layer in spiking_layers(network))
    if probing is not None and attached:
        return "the event engine has no tangents through an attached reset"
    if probing is not None and any(layer.recurrent is not None and layer.dropout for layer in network.hidden):
        return "the event engine has no tangents through recurrent layers with dropout"
    if probing is not None and len(network.hidden) > DEEPEST:
        return f"the event engine probes up to {DEEPEST} hidden layers and there are {len(network.hidden)}"
    if facts.signal == "none" and learning.rate_regulariser.strength > 0:
        return "the event engine has no rate target without a learning signal"
    return None


def prober(facts: EngineFacts) -> Prober | None:
    """How the feedback learns from probes, if it does."""
    learning = facts.learning
    return None if learning is None or isinstance(learning, OuterProduct) else learning


def whole_sequences(rule: Rule[Any]) -> bool:
    """Whether the engine learns from sequences as wholes alone with this rule."""
    facts = rule.engine_facts
    probing = None if isinstance(facts, str) else prober(facts)
    return isinstance(rule.trace, PerSynapse) or (probing is not None and probing.weighted)


def _why_not_trace(network: Network, trace: Any) -> str | None:
    if type(trace) is PerNeuron:
        if trace.downstream:
            return "the event engine filters downstream traces per synapse alone, not those per neuron"
    elif type(trace) is not PerSynapse:
        return f"the event engine does not execute the trace {type(trace).__name__}"
    elif not trace.filtered or any(
        x.neuron.reset != "soft" or x.neuron.reset_gradient == "attached" for x in spiking_layers(network)
    ):
        return (
            "the event engine has a trace per synapse, filtered by the readout, for soft detached resets only"
        )
    return None
