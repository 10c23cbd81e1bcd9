"""The event engine against the reference: same gradients, same updates, same spikes."""

from typing import Any

import pytest
import torch

from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy, MeanSquaredError, SpikeCountError
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.nn.surrogate import ArcTan, Sigmoid, Triangular
from neurofdfa.rules import DFA, DKP, DRTP, FDFA, SBD, EProp, ReadoutOnly
from neurofdfa.rules.traces import PerNeuron, PerSynapse
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Engine, Trainer
from tests.events.comparing import close, same_numbers, same_spikes_and_membranes, within_rounding

HARD = LIF(reset="hard", tau_syn=3e-3, decay_bits=None)
SOFT = LIF(reset="soft", tau_syn=3e-3, decay_bits=None)
CASES: dict[str, dict[str, Any]] = {
    "dfa": {"rule": DFA()},
    "dkp": {"rule": DKP()},
    "readout-only": {"rule": ReadoutOnly()},
    "readout-only, rate target": {"rule": ReadoutOnly(), "rate": RateRegulariser(strength=0.5), "chunk": 6},
    "drtp": {"rule": DRTP(), "chunk": 6, "threads": 2, "loss": CrossEntropy(8)},
    "drtp, one sample, values, last step": {
        "rule": DRTP(),
        "batch": 1,
        "values": True,
        "loss": MeanSquaredError("last"),
        "net": {"readout": "leaky", "recurrent": True},
    },
    "drtp, trace per synapse, rate target": {
        "rule": DRTP(trace=PerSynapse(downstream=True)),
        "net": {"neuron": SOFT, "readout": "leaky", "dropout": 0.3},
        "rate": RateRegulariser(strength=0.5),
    },
    "sbd": {"rule": SBD(momentum=0.3), "chunk": 6, "threads": 2, "loss": CrossEntropy(8)},
    "sbd, decorrelate, one sample, dropout": {
        "rule": SBD(sign="decorrelate"),
        "batch": 1,
        "net": {"readout": "leaky", "dropout": 0.3, "recurrent": True},
    },
    "fdfa": {"rule": FDFA(fraction=0.5)},
    "fdfa output kernel": {
        "rule": FDFA(kernel="output"),
        "net": {"readout": "leaky", "bias": True},
        "chunk": 7,
    },
    "fdfa gaussian, adam, every second batch": {"rule": FDFA(probe="gaussian", every=2, optimizer="adam")},
    "hard reset, synaptic filter, chunks": {
        "rule": FDFA(fraction=0.5),
        "net": {"neuron": HARD, "readout": "leaky"},
        "chunk": 6,
    },
    "recurrent": {
        "rule": FDFA(fraction=0.6),
        "net": {"neuron": HARD, "readout": "leaky", "recurrent": True, "bias": True},
        "chunk": 6,
        "threads": 2,
    },
    "recurrent without tangents through V": {
        "rule": FDFA(recurrent_tangents=False),
        "net": {"neuron": LIF(tau_syn=2e-3, reset="soft", decay_bits=None), "recurrent": True},
        "chunk": 5,
    },
    "dropout": {"rule": FDFA(fraction=0.6), "net": {"dropout": 0.3, "input_dropout": 0.2}, "chunk": 6},
    "dropout, recurrent, dkp": {"rule": DKP(), "net": {"dropout": 0.3, "recurrent": True}, "chunk": 6},
    "rate target": {"rule": FDFA(), "rate": RateRegulariser(strength=0.5), "chunk": 6, "threads": 2},
    "rate target, threads with unequal numbers of samples": {
        "rule": FDFA(fraction=3 / 8),
        "rate": RateRegulariser(strength=0.5),
        "batch": 8,
        "steps": 70,
        "threads": 2,
    },
    "spike count": {"rule": DFA(), "loss": SpikeCountError()},
    "last step only": {"rule": DFA(), "loss": CrossEntropy("last"), "chunk": 6},
    "answer window": {
        "rule": FDFA(),
        "loss": CrossEntropy(8),
        "net": {"readout": "leaky"},
        "rate": RateRegulariser(strength=0.5),
        "chunk": 6,
    },
    "values": {"rule": DFA(), "loss": MeanSquaredError(), "values": True},
    "analogue input": {"rule": FDFA(), "analogue": True, "chunk": 6},
    "analogue input, dropout": {"rule": DFA(), "analogue": True, "net": {"input_dropout": 0.3}},
    "triangular": {
        "rule": DFA(),
        "net": {"neuron": LIF(surrogate=Triangular(), reset="soft", decay_bits=None)},
    },
    "arctan": {"rule": DFA(), "net": {"neuron": LIF(surrogate=ArcTan(), reset="soft", decay_bits=None)}},
    "sigmoid": {"rule": DFA(), "net": {"neuron": LIF(surrogate=Sigmoid(), reset="soft", decay_bits=None)}},
    "quantised weights": {"rule": DFA(), "net": {"weight_bits": 4}},
    "one step": {"rule": FDFA(), "steps": 1},
    "one sample, long": {"rule": FDFA(), "batch": 1, "steps": 130},
    "three odd layers": {"rule": FDFA(), "hidden": (64, 16, 33), "net": {"neuron": HARD}, "chunk": 5},
    "silent input": {"rule": FDFA(), "density": 0.0},
    "every input active": {"rule": FDFA(), "density": 1.0},
    "weighted by error": {
        "rule": FDFA(fraction=0.5, weighting="error", momentum=0.3),
        "net": {"dropout": 0.3, "readout": "leaky"},
        "chunk": 6,
        "threads": 2,
    },
    "weighted by error, answer window, every second batch": {
        "rule": FDFA(weighting="error", kernel="output", every=2, optimizer="adam"),
        "loss": CrossEntropy(8),
    },
    "trace per synapse": {
        "rule": DFA(trace=PerSynapse()),
        "net": {"neuron": SOFT, "readout": "leaky", "recurrent": True, "bias": True},
        "rate": RateRegulariser(strength=0.5),
    },
    "trace per synapse, too long": {"rule": DFA(trace=PerSynapse()), "net": {"neuron": SOFT}, "chunk": 6},
    "trace filtered downstream": {
        "rule": FDFA(trace=PerSynapse(downstream=True), weighting="error"),
        "hidden": (40, 33, 20),
        "net": {"neuron": SOFT, "readout": "leaky", "dropout": 0.3, "bias": True},
        "rate": RateRegulariser(strength=0.5),
        "threads": 2,
    },
    "spiking readout": {
        "rule": FDFA(fraction=0.5),
        "net": {"readout": "spike-count", "neuron": SOFT, "bias": True, "dropout": 0.3},
        "rate": RateRegulariser(strength=0.5),
        "chunk": 6,
        "threads": 2,
    },
    "spiking readout, output kernel, weighted by error, many outputs": {
        "rule": FDFA(kernel="output", weighting="error"),
        "net": {"readout": "spike-count", "neuron": HARD, "recurrent": True},
        "outputs": 37,
    },
    "spiking readout, dkp, one sample": {
        "rule": DKP(),
        "net": {"readout": "spike-count", "neuron": HARD},
        "loss": SpikeCountError(),
        "batch": 1,
        "chunk": 6,
    },
    "spiking readout, readout-only": {"rule": ReadoutOnly(), "net": {"readout": "spike-count"}, "chunk": 1},
    "spiking readout, drtp, no filter": {
        "rule": DRTP(trace=PerNeuron(filtered=False)),
        "net": {"readout": "spike-count", "neuron": SOFT},
        "chunk": 6,
    },
    "spiking readout, drtp, trace filtered downstream": {
        "rule": DRTP(trace=PerSynapse(downstream=True)),
        "net": {"readout": "spike-count", "neuron": SOFT, "bias": True},
    },
    "spiking readout, trace filtered downstream": {
        "rule": SBD(trace=PerSynapse(downstream=True)),
        "net": {"readout": "spike-count", "neuron": SOFT, "bias": True},
        "threads": 2,
    },
    "e-prop": {"rule": EProp(), "net": {"neuron": SOFT, "readout": "leaky", "recurrent": True}},
    "e-prop, learnt feedback": {
        "rule": EProp(feedback="learnt", fraction=0.5),
        "net": {"neuron": SOFT, "readout": "leaky"},
        "threads": 2,
    },
    "e-prop, symmetric feedback, too long": {
        "rule": EProp(feedback="symmetric"),
        "net": {"neuron": SOFT},
        "chunk": 6,
    },
    "e-prop, symmetric feedback, quantised weights": {
        "rule": EProp(feedback="symmetric"),
        "hidden": (40, 33, 20),
        "net": {"neuron": SOFT, "readout": "leaky", "weight_bits": 4},
        "rate": RateRegulariser(strength=0.5),
    },
    "e-prop, symmetric feedback, spiking readout, one sample": {
        "rule": EProp(feedback="symmetric", trace=PerNeuron()),
        "net": {"neuron": HARD, "readout": "spike-count"},
        "chunk": 6,
        "batch": 1,
    },
    "updates inside a sequence": {
        "rule": FDFA(fraction=0.5, momentum=0.3),
        "net": {"readout": "leaky", "dropout": 0.3},
        "every": 4,
        "threads": 2,
    },
    "updates inside a sequence, and a rest": {
        "rule": SBD(momentum=0.3),
        "net": {"recurrent": True, "bias": True},
        "every": 6,
        "chunk": 4,
        "loss": CrossEntropy(8),
        "rate": RateRegulariser(strength=0.5),
    },
    "updates inside a sequence of values, spiking readout": {
        "rule": DKP(),
        "net": {"readout": "spike-count"},
        "every": 1,
        "analogue": True,
    },
    "updates less often than sequences end": {"rule": DFA(), "every": 40},
    "no filter in the trace": {
        "rule": DFA(trace=PerNeuron(filtered=False)),
        "net": {"readout": "leaky"},
        "chunk": 6,
    },
}


def build(case: dict[str, Any], dtype: torch.dtype) -> tuple[Network, torch.Tensor, torch.Tensor]:
    steps, batch = case.get("steps", 20), case.get("batch", 6)
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, batch, 50, generator=g) < case.get("density", 0.15)).to(dtype)
    outputs = case.get("outputs", 7)
    options = {"neuron": LIF(reset="soft", decay_bits=None)} | case.get("net", {})
    network = feed_forward(50, case.get("hidden", (40, 70)), outputs, **options).to(dtype)
    scale_to_rate(network, (torch.rand(steps, batch, 50, generator=g) < 0.15).to(dtype), 0.1, rounds=6)
    for layer in network.hidden:
        if layer.synapse.bias is not None:
            torch.nn.init.uniform_(layer.synapse.bias, -0.05, 0.05, generator=g)
    if case.get("analogue"):
        x = x * torch.rand(x.shape, generator=g).to(dtype)
    if network.readout.population is not None:
        network.readout.synapse.weight.data.mul_(15)  # or no output ever spikes
    target = torch.randint(0, outputs, (batch,), generator=g)
    if case.get("values"):
        target = torch.rand(steps, batch, outputs, generator=g).to(dtype)
    return network, x, target


@pytest.mark.parametrize("name", CASES)
def test_same_numbers_in_double_precision(name: str) -> None:
    same_numbers(build, CASES[name], batches=3)


@pytest.mark.parametrize(
    "name",
    ["fdfa", "hard reset, synaptic filter, chunks", "recurrent", "three odd layers", "spiking readout"],
)
def test_same_spikes_and_membranes(name: str) -> None:
    network, x, _ = build(CASES[name], torch.float64)
    same_spikes_and_membranes(network, x)


@pytest.mark.parametrize(
    "name", ["fdfa", "dkp", "drtp", "sbd", "spiking readout", "hard reset, synaptic filter, chunks"]
)
def test_single_precision_within_rounding(name: str) -> None:
    within_rounding(build, CASES[name])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32, torch.float64])
def test_input_types_are_the_same_spikes(dtype: torch.dtype) -> None:
    network, x, target = build(CASES["fdfa"], torch.float64)
    results = [
        Trainer(network, DFA(), threads=1, engine="events").gradients(given, target)
        for given in (x, x.to(dtype))
    ]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_chunk_length_changes_nothing_but_rounding() -> None:
    network, x, target = build(CASES["hard reset, synaptic filter, chunks"], torch.float64)
    whole, *parts = (
        Trainer(network, DFA(), threads=1, chunk=chunk, engine="events").gradients(x, target)
        for chunk in (None, 1, 3, 20)
    )
    for part in parts:
        for a, b in zip(whole, part, strict=True):
            close(a, b, 1e-12)


def test_any_torch_optimizer() -> None:
    results = []
    engines: tuple[Engine, ...] = ("reference", "events")
    for engine in engines:
        network, x, target = build(CASES["dkp"], torch.float64)
        sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        learner = Trainer(network, DKP(), sgd, engine=engine)
        for _ in range(3):
            learner.step(x, target)
        results.append([p.detach().clone() for p in network.parameters()])
    for a, b in zip(*results, strict=True):
        close(a, b, 1e-11)


def test_layers_that_the_optimizer_does_not_have_stay_as_they_are() -> None:
    found: list[list[torch.Tensor]] = []
    for engine in ("reference", "events"):
        network, x, target = build({"hidden": [12, 9], "rule": FDFA()}, torch.float64)
        first = network.hidden[0].synapse.weight.detach().clone()
        some = [p for layer in (network.hidden[1], network.readout) for p in layer.parameters()]
        trainer = Trainer(
            network, FDFA(), torch.optim.Adam(some, lr=1e-2), engine=engine, probes="reference",
            generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
        for _ in range(3):
            trainer.step(x, target)
        assert torch.equal(network.hidden[0].synapse.weight, first)
        found.append([*network.parameters(), *trainer.rule_state.matrices])
    for a, b in zip(*found, strict=True):
        close(a.detach(), b.detach(), 1e-10)


def test_changes_from_outside_are_seen() -> None:
    network, x, target = build(CASES["dfa"], torch.float64)
    events = Trainer(network, DFA(), threads=1, generator=torch.Generator().manual_seed(3), engine="events")
    events.step(x, target)
    with torch.no_grad():
        network.hidden[0].synapse.weight.mul_(0.5)
        network.readout.synapse.weight.add_(0.1)
    reference = Trainer(network, DFA(), generator=torch.Generator().manual_seed(3), engine="reference")
    for a, b in zip(reference.gradients(x, target), events.gradients(x, target), strict=True):
        close(a, b, 1e-11)


def test_probes_of_the_counter_are_reproducible_and_balanced() -> None:
    matrices = []
    for seed in (1, 1, 2):
        network, x, target = build(CASES["fdfa"], torch.float64)
        learner = Trainer(
            network, FDFA(), threads=1, generator=torch.Generator().manual_seed(seed), engine="events"
        )
        for _ in range(150):
            learner.step(x, target)
        matrices.append(learner.rule_state.matrices[-1].clone())
        wo = network.readout.synapse.weight.detach().t()
        cosine = torch.nn.functional.cosine_similarity(matrices[-1].flatten(), wo.flatten(), dim=0)
        assert cosine > 0.8  # the last layer's feedback finds the readout
    assert torch.equal(matrices[0], matrices[1])
    assert not torch.equal(matrices[0], matrices[2])
