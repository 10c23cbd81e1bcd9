"""Convolutional NIR graphs, quantised: the reference, Lava's own Conv, and lanes agree bit for bit."""

import itertools
from dataclasses import replace

import nir
import numpy as np
import pytest

from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.lava import Environment, LavaBackend, LavaJob
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware.graphs import cuba, lif, said, spikes
from tests.hardware.lava.nets import first_difference


def shaped(node: nir.LIF | nir.CubaLIF, *shape: int) -> nir.LIF | nir.CubaLIF:
    """The same neurons as an image."""
    numbers = {key: value.reshape(shape) for key, value in vars(node).items() if getattr(value, "ndim", 0)}
    return type(node)(**numbers)


def pooled(rng: np.random.Generator) -> nir.NIRGraph:
    """Conv2d (stride 2, padded, biased) → LIF → SumPool2d → Conv2d → LIF, images 8 × 8."""
    conv = nir.Conv2d(
        (8, 8), rng.normal(0, 0.8, (3, 1, 3, 3)), 2, 1, 1, 1, rng.normal(0, 0.1, 3)
    )  # 3 × 4 × 4
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    return image_chain(
        (1, 8, 8),
        ("conv", conv),
        ("conv.neuron", shaped(lif(48), 3, 4, 4)),
        ("pool", pool),
        ("last", nir.Conv2d((2, 2), rng.normal(0, 0.5, (4, 3, 2, 2)), 1, 0, 1, 1, np.zeros(4))),
        ("last.neuron", shaped(lif(4), 4, 1, 1)),
        out=(4, 1, 1),
    )


def dilated(rng: np.random.Generator) -> nir.NIRGraph:
    """Two channels, a dilated kernel, current-based; then a second Conv2d over what they send."""
    first = nir.Conv2d((6, 6), rng.normal(0, 0.7, (4, 2, 2, 2)), 1, 0, 2, 1, np.zeros(4))  # 4 × 4 × 4
    second = nir.Conv2d((4, 4), rng.normal(0, 0.4, (2, 4, 3, 3)), 1, 0, 1, 1, np.zeros(2))  # 2 × 2 × 2
    return image_chain(
        (2, 6, 6),
        ("first", first),
        ("first.neuron", shaped(cuba(64, alpha=0.4), 4, 4, 4)),
        ("second", second),
        ("second.neuron", shaped(lif(8), 2, 2, 2)),
        out=(2, 2, 2),
    )


def image_chain(
    shape: tuple[int, ...], *nodes: tuple[str, nir.NIRNode], out: tuple[int, ...]
) -> nir.NIRGraph:
    ends = ("input", nir.Input(np.array(shape))), ("output", nir.Output(np.array(out)))
    whole = dict([ends[0], *nodes, ends[1]])
    return nir.NIRGraph(whole, list(itertools.pairwise(whole)), metadata=said())


def with_payloads(program: Program) -> Program:
    """The same program hearing pixels: what it convolves are numbers and not spikes."""
    first, *rest = program.connections
    assert first.source == "input"
    return replace(program, connections=(replace(first, graded=True, weight_exp=-2), *rest))


@pytest.mark.serial
def test_convolutions_agree(environment: Environment, rng: np.random.Generator) -> None:
    cases = []
    for graph, inputs in ((pooled(rng), 64), (dilated(rng), 72)):
        heard = spikes(rng, 10, 6, inputs, 0.3)
        program = quantize(network_from_graph(graph), 6, heard).program
        cases.append((program, heard[:, :3]))
        cases.append((with_payloads(program), rng.integers(0, 16, (8, 3, inputs)).astype(np.uint8)))
    jobs = [
        LavaJob(program, heard, mode, lanes=2, states=True, synapses="conv")
        for program, heard in cases
        for mode in ("stock", "lanes")
    ]
    runs = LavaBackend(environment, time_limit=240).run_many(jobs)
    for job, run in zip(jobs, runs, strict=True):
        convolved = list(run.models.values()).count("PyConvModelFixed")
        assert convolved == (2 if job.mode == "stock" else 0)
        expected = simulate(job.program, job.spikes, states=True)
        assert first_difference(expected, run.record) is None, job.mode
        rates = [float(fired.mean()) for fired in expected.spikes.values()]
        assert min(rates) > 0.005, rates
        assert max(rates) < 0.95, rates
