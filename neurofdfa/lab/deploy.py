"""A trained run on the chip's arithmetic: through NIR into `hardware`, quantised, reference and Lava.

The bridge is the NIR graph and nothing else; weights are scaled on training inputs only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.data.event_lists import Events
from neurofdfa.errors import UserError
from neurofdfa.interop.nir import to_nir
from neurofdfa.lab.load_run import open_run
from neurofdfa.nn.network import Network
from neurofdfa_hardware.backends import backend as hardware_backend
from neurofdfa_hardware.chip.fixed_point import predict, simulate
from neurofdfa_hardware.chip.program import Program, Record
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.nir.network import Network as FloatNetwork
from neurofdfa_hardware.quantization.quantize import Quantized, quantize

Spikes = NDArray[np.uint8]
CALIBRATION_SAMPLES = 256


@dataclass(frozen=True)
class Deployment:
    """A quantised network: `program` for any backend, `report` of what quantising did to it."""

    network: FloatNetwork
    quantized: Quantized
    bits: int

    @property
    def program(self) -> Program:
        """The integers."""
        return self.quantized.program


@dataclass(frozen=True)
class PopulationParity:
    """Spikes of one population on both sides, and at how many (step, sample, neuron) they differ."""

    population: str
    samples: int
    steps: int
    spikes_reference: int
    spikes_lava: int
    differences: int


def binary_inputs(data: Dataset, split: Split) -> Spikes:
    """A split as input spikes `[T, N, n_in]`, with the noise fixed that evaluation always uses.

    Raises `UserError` when the inputs are not spikes: a chip receives nothing else.
    """
    if split.lengths is not None:
        raise UserError(
            "the chip's samples have one length, and these have lengths of their own: load the data with "
            "stretch=True, or with steps for all of them"
        )
    parts = [x.dense().numpy() if isinstance(x, Events) else x.numpy() for x, *_ in split.batches(256)]
    x = np.concatenate(parts, axis=1)
    if not np.isin(x, (0.0, 1.0)).all():
        raise UserError("the chip takes spikes as input: train with --encoder poisson or latency")
    return x.astype(np.uint8)


def deploy(network: Network, data: Dataset, bits: int = 8) -> Deployment:
    """Quantise to `bits` (1..8) with scales calibrated on training inputs.

    Raises `HardwareError` when the network has no form on the chip (e.g. soft reset).
    """
    graph = network_from_graph(to_nir(network))
    calibration = binary_inputs(data, data.train.select(slice(0, CALIBRATION_SAMPLES)))
    return Deployment(graph, quantize(graph, bits, calibration, steps=trained_steps(network, bits)), bits)


def deploy_run(folder: Path, bits: int = 8) -> tuple[Deployment, Dataset]:
    """Deploy the network of a run folder; also the data set that it was trained on."""
    _, network, data = open_run(folder)
    return deploy(network, data, bits), data


def trained_steps(network: Network, bits: int) -> dict[str, float] | None:
    """The weight step of every layer where the network has learnt on the grid of `bits`, else None.

    A recurrent layer has two, and the chip one threshold for both: it is calibrated instead.
    """
    synapses = {f"layer{index}.neuron": layer.synapse for index, layer in enumerate(network.hidden, 1)}
    synapses["readout.neuron"] = network.readout.synapse
    grids = {name: synapse.grid for name, synapse in synapses.items()}
    if any(layer.recurrent is not None for layer in network.hidden):
        return None
    return {
        name: grid.step(synapses[name].weight)
        for name, grid in grids.items()
        if grid is not None and grid.bits == bits
    } or None


def accuracy(deployment: Deployment, record: Record, labels: NDArray[np.int64]) -> float:
    """Shard of samples whose prediction is the label."""
    return float((predict(deployment.program, record) == labels).mean())


def run_reference(deployment: Deployment, spikes: Spikes) -> Record:
    """The bit-exact integer reference."""
    return simulate(deployment.program, spikes)


def run_backend(
    name: str,
    deployment: Deployment,
    spikes: Spikes,
    progress: Callable[[float], None] | None = None,
    *,
    states: bool = False,
) -> Record:
    """Any backend by name; raises `HardwareError` that lists them for an unknown one.

    "lava" is real Lava in its own interpreter (`LavaMissing` when that is not set up). states: also the
    currents and membranes of every neuron. progress: called with the fraction that is done.
    """
    return hardware_backend(name).compile(deployment.program).run(spikes, states=states, progress=progress)


def compare(reference: Record, other: Record) -> list[PopulationParity]:
    """Spike for spike, every population; the readout of a non-spiking output by its membrane."""
    rows: list[PopulationParity] = []
    for name, ours in reference.spikes.items():
        theirs = other.spikes[name]
        steps, samples, _ = ours.shape
        rows.append(
            PopulationParity(
                name, samples, steps, int(ours.sum()), int(theirs.sum()), int((ours != theirs).sum())
            )
        )
    return rows


def outputs_equal(reference: Record, other: Record) -> bool:
    """Whether the output population's membranes are the same integers at every step."""
    return bool((reference.output_v == other.output_v).all())


def quantisation_rows(deployment: Deployment) -> list[dict[str, Any]]:
    """What quantising did to each layer, for tables."""
    return [
        {
            "layer": layer.name,
            "bits": layer.bits,
            "scale": 1.0 / layer.step,
            "saturated": layer.clipped,
            "weight_error": layer.weight_error,
            "spike_agreement": layer.spike_agreement,
            "firing_rate": layer.firing_rate,
        }
        for layer in deployment.quantized.report.layers
    ]
