"""Somebody's files: networks (NIR, lava-dl) made ready for a chip, and the spikes to run them on.

Inputs may be
    .npy            numbers [T, B, n], [T, n] for one sample, or [T, B, channels, rows, columns]
    .npz            the same under "spikes", "x", "inputs" or "data", classes under "labels" or "y";
                    or events under "t" and "neuron" (or "x", "y", "p"), their samples under "sample"
    .csv, .txt      events, one a line, under a header of those names
    .bin            events of one sample in the 40-bit form of N-MNIST (x, y, polarity and microseconds)
Binary values are spikes. Whole numbers up to 255 are graded spikes that multiply the weights; other numbers
from 0 on are rounded to 255 levels and sent as such (`Inputs.unit`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware import netx
from neurofdfa_hardware.arrays import check_room, read_arrays
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.chip.ranges import PAYLOAD_MAX
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.dynamics import Reset, Writer
from neurofdfa_hardware.nir.graph import load
from neurofdfa_hardware.nir.network import Decode, Network
from neurofdfa_hardware.quantization.parity import network_from_program
from neurofdfa_hardware.quantization.quantize import quantize
from neurofdfa_hardware.quantization.report import QuantizeReport

NETX_SUFFIXES = (".net", ".hdf5", ".h5")
MODEL_SUFFIXES = (".nir", *NETX_SUFFIXES)
CALIBRATION_SAMPLES = 256
_ARRAYS = ("spikes", "x", "inputs", "input", "data")
_LABELS = ("labels", "label", "y", "targets", "target")


@dataclass(frozen=True)
class Inputs:
    """What a network is run on: uint8 `[T, B, n]`, and the classes `[B]` where the file has them.

    unit: what one level of a graded spike is worth in the numbers of the file (1 for spikes and counts).
    """

    spikes: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None
    unit: float = 1.0


@dataclass(frozen=True)
class Deployed:
    """A file's network on the chip. report: what quantising did, None where the file holds integers already.

    notes: what a user should know about how it was read, a sentence each.
    """

    network: Network
    program: Program
    report: QuantizeReport | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a NIR file does not say; as in `neurofdfa_hardware.nir.graph.load`."""

    dt: float | None = None
    reset: Reset | None = None
    decode: Decode | None = None
    writer: Writer | None = None


def open_network(path: str | PathLike[str], reading: Reading | None = None) -> Network | Program:
    """The network of a .nir file, or the program of one of lava-dl's.

    Raises `HardwareError` for other files, and where something is asked that integers say themselves.
    """
    reading = reading or Reading()
    suffix = Path(path).suffix
    if suffix not in MODEL_SUFFIXES:
        raise HardwareError(f"{path} is no network: name a {', '.join(MODEL_SUFFIXES[:-1])} or .h5 file")
    if suffix == ".nir":
        return load(path, reading.dt, reading.reset, reading.decode, reading.writer)
    if reading.dt is not None or reading.reset is not None or reading.writer is not None:
        raise HardwareError(
            f"{path} holds integers, which say their dynamics: leave out dt, reset and writer"
        )
    program = netx.load(path)
    return program if reading.decode is None else replace(program, decode=reading.decode)


def deploy(
    opened: Network | Program,
    bits: int = 8,
    calibration: Inputs | None = None,
    data: Inputs | None = None,
) -> Deployed:
    """Quantise what `open_network` read, with the scale found on `calibration`.

    Without calibration: on the graph's golden input, else on the first samples of `data`, else on noise; the
    notes say so. `data` that holds numbers with a unit scales the weights of the input by it.
    """
    if isinstance(opened, Program):
        return Deployed(network_from_program(opened), opened, None)
    network, notes = opened, list(opened.notes)
    unit = 1.0 if data is None else data.unit
    if unit != 1.0:
        notes.append(f"inputs are numbers: sent as graded spikes of 8 bits, one level worth {unit:.4g}")
        network = network.with_input_unit(unit)
    if calibration is not None:
        if calibration.unit not in (1.0, unit):
            raise HardwareError(
                f"calibration inputs come in levels of {calibration.unit:.4g} and the data in {unit:.4g}: "
                "give both the same range"
            )
        spikes = calibration.spikes
    elif network.golden is not None:
        spikes = network.golden.input
    elif data is not None:
        spikes = data.spikes
        notes.append("scales were found on the data itself: pass training inputs to calibrate on")
    else:
        rng = np.random.default_rng(0)
        spikes = (rng.random((32, 8, network.input_size)) < 0.1).astype(np.uint8)
        notes.append("scales were found on noise (a tenth of the inputs at a time): pass training inputs")
    program, report = quantize(network, bits, np.ascontiguousarray(spikes[:, :CALIBRATION_SAMPLES]))
    return Deployed(network, program, report, tuple(notes))


def read_inputs(
    path: str | PathLike[str],
    size: int,
    shape: tuple[int, ...] = (),
    *,
    bin_width: float | None = None,
    steps: int | None = None,
    limit: int | None = None,
) -> Inputs:
    """Read spikes, numbers or events for a network of `size` inputs (channels, rows, columns in `shape`).

    bin_width: events' time per step, in the file's unit (None: times are steps); steps: of a sample, else
    as many as the events take; limit: only the first samples. Raises `HardwareError` that names the file.
    """
    source = Path(path)
    try:
        content = _content(source)
    except OSError as error:
        raise HardwareError(f"cannot read {source}: {error.strerror or error}") from None
    except (ValueError, KeyError) as error:
        raise HardwareError(f"{source} is no file of inputs: {error}") from None
    if "t" in content:
        array = _from_events(source, content, size, shape, bin_width, steps)
    else:
        array = next((content[name] for name in _ARRAYS if name in content), None)
        if array is None:
            raise HardwareError(
                f"{source} holds {', '.join(content) or 'nothing'}: name its spikes 'spikes', or its events "
                "'t' and 'neuron'"
            )
    # In a file of events "y" is a row of the image.
    known = _LABELS[:2] if "t" in content else _LABELS
    labels = next((content[name] for name in known if name in content), None)
    return _checked(source, array, labels, size, limit)


def _content(source: Path) -> Mapping[str, NDArray[Any]]:
    if source.suffix in (".npy", ".npz"):
        return read_arrays(source)
    if source.suffix in (".csv", ".txt"):
        with source.open(encoding="utf-8") as file:
            names = [name.strip() for name in file.readline().strip().split(",")]
            table = np.loadtxt(file, delimiter=",", ndmin=2)
        if table.shape[1] != len(names):
            raise ValueError(f"{len(names)} names and {table.shape[1]} columns")
        return {name: table[:, column] for column, name in enumerate(names)}
    if source.suffix == ".bin":
        raw = np.frombuffer(source.read_bytes(), np.uint8)
        if len(raw) % 5:
            raise ValueError("its length is not a multiple of 5 bytes")
        events = raw.reshape(-1, 5).astype(np.int64)
        time = ((events[:, 2] & 127) << 16) | (events[:, 3] << 8) | events[:, 4]
        return {"t": time, "x": events[:, 0], "y": events[:, 1], "p": events[:, 2] >> 7}
    raise ValueError("its name ends in none of .npy, .npz, .csv, .txt, .bin")


def _from_events(
    source: Path,
    content: Mapping[str, NDArray[Any]],
    size: int,
    shape: tuple[int, ...],
    bin_width: float | None,
    steps: int | None,
) -> NDArray[np.uint8]:
    """Events binned: one or more of a neuron within a step are one spike."""
    time = np.asarray(content["t"], np.float64)
    if bin_width is None and np.any(time != np.floor(time)):
        raise HardwareError(f"{source} holds events at fractions of steps: say how long a step is (--bin)")
    row = np.floor(time / (bin_width or 1.0)).astype(np.int64)
    if "neuron" in content:
        neuron = np.asarray(content["neuron"], np.int64)
    elif {"x", "y"} <= set(content) and len(shape) == 3:
        channel = np.asarray(content.get("p", np.zeros(len(time))), np.int64)
        place = (channel, np.asarray(content["y"], np.int64), np.asarray(content["x"], np.int64))
        for index, count in zip(place, shape, strict=True):
            if len(index) and (index.min() < 0 or index.max() >= count):
                raise HardwareError(f"{source} holds events outside the network's image {shape}")
        neuron = np.ravel_multi_index(place, shape)
    else:
        raise HardwareError(
            f"{source} holds events without 'neuron', and the network's input is no image for 'x' and 'y'"
        )
    sample = np.asarray(content.get("sample", np.zeros(len(time))), np.int64)
    length = steps or int(row.max(initial=0)) + 1
    if length > 10**6:
        raise HardwareError(f"{source} spans {length} steps: say how long a step is (--bin)")
    kept = row < length
    if len(neuron) and (neuron.min() < 0 or neuron.max() >= size or row.min() < 0 or sample.min() < 0):
        raise HardwareError(f"{source} holds events of neurons beyond the network's {size} inputs")
    samples = int(sample.max(initial=0)) + 1
    check_room(float(length) * samples * size, source)
    spikes = np.zeros((length, samples, size), np.uint8)
    spikes[row[kept], sample[kept], neuron[kept]] = 1
    return spikes


def _checked(
    source: Path, array: NDArray[Any], labels: NDArray[Any] | None, size: int, limit: int | None
) -> Inputs:
    if array.ndim == 2:
        array = array[:, None]
    if array.ndim > 3:
        array = array.reshape(*array.shape[:2], -1)
    if array.ndim != 3 or array.shape[2] != size or 0 in array.shape:
        raise HardwareError(f"{source} holds an array of shape {array.shape}: expected [T, B, {size}]")
    array = array[:, :limit]
    if labels is not None:
        if labels.dtype.kind not in "biuf":
            raise HardwareError(f"{source} holds labels of type {labels.dtype}: give class numbers")
        labels = np.asarray(labels, np.int64).reshape(-1)[:limit]
        if len(labels) != array.shape[1]:
            raise HardwareError(f"{source} holds {len(labels)} labels for {array.shape[1]} samples")
    if array.dtype.kind not in "buif" or not np.all(np.isfinite(array)):
        raise HardwareError(f"{source} holds {array.dtype} or values that are not finite: expected numbers")
    least, largest = float(array.min()), float(array.max())
    if least < 0:
        raise HardwareError(f"{source} holds {least:g}: inputs are spikes, counts or numbers from 0 on")
    unit = 1.0
    if largest > PAYLOAD_MAX or np.any(array != np.floor(array)):
        unit = largest / PAYLOAD_MAX
        array = np.rint(array / unit)
    return Inputs(np.ascontiguousarray(array, np.uint8), labels, unit)
