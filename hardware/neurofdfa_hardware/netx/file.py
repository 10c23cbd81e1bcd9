"""lava-dl's network files (HDF5, read by `lava.lib.dl.netx`): writing a program to one, reading one.

    /layer/0            type "input", shape
    /layer/1 …          type "dense" or "dense_rec", shape, inFeatures, outFeatures, weight, weight_rec?,
                        delay?, bias?, neuron/{type "LOIHI", iDecay, vDecay, vThMant, refDelay, gradedSpike}

lava-dl reads du = iDecay − 1, dv = vDecay, a bias mantissa with exponent 6, and each weight as the whole
integer that a spike adds: it finds a shift that brings the largest into the chip's 8 bits and undoes it with
the exponent. One file holds a chain of layers; thresholds and decays are one number per layer.
"""

import math
import os
import tempfile
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, IntArray, Population, Program
from neurofdfa_hardware.chip.ranges import (
    BIAS_MANT_MAX,
    BIAS_MANT_MIN,
    DECAY_MAX,
    DELAY_MAX,
    THRESHOLD_MAX,
    check_program,
)
from neurofdfa_hardware.chip.synapse import truncate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.netx.weights import check_exact, sign_mode
from neurofdfa_hardware.quantization.layer import split_signs

_BIAS_EXP = 6
# A threshold that a clipped membrane cannot pass: lava-dl has no flag for neurons that never spike.
_NEVER = 2**17
_MADE_BY = "neurofdfa"


def save(program: Program, path: str | PathLike[str]) -> None:
    """Write `program` to an HDF5 file for lava-dl, whole or not at all.

    Raises `HardwareError`, naming the part, for what such a file cannot hold: connections that are not a
    chain or a recurrent layer, weights beyond a Dense's range, parameters that differ by neuron.
    """
    check_program(program)
    layers = _layers(program)
    target = Path(path)
    if not target.parent.is_dir():
        raise HardwareError(f"cannot write {target}: there is no folder {target.parent}")
    handle, name = tempfile.mkstemp(suffix=".tmp", dir=target.parent)
    os.close(handle)
    try:
        with h5py.File(name, "w") as file:
            _write(file, program, layers)
        with open(name, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(path: str | PathLike[str]) -> Program:
    """Read a file of dense and recurrent layers of LOIHI or CUBA neurons, ours or lava-dl's own.

    A file that this project did not write is read out by spike counts of its last layer.
    Raises `HardwareError`, naming the layer, for other layers or neurons.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file)
    except FileNotFoundError:
        raise HardwareError(f"there is no file {path}") from None
    except OSError as error:
        raise HardwareError(f"{path} is not an HDF5 file: {error}") from error
    except KeyError as error:
        raise HardwareError(f"{path} is not a lava-dl network: {error.args[0]}") from error


_Layer = tuple[Population, IntArray, IntArray | None, IntArray | None]


def _layers(program: Program) -> list[_Layer]:
    """Population, weights, recurrent weights and delays of each layer, in order."""
    before = "input"
    layers: list[_Layer] = []
    for population in program.populations:
        heard = [c for c in program.connections if c.target == population.name]
        forward = [c for c in heard if c.source == before]
        own = [c for c in heard if c.source == population.name]
        strange = [c for c in heard if c not in forward and c not in own]
        if strange or not forward:
            culprit = strange[0].name if strange else population.name
            raise HardwareError(
                f"{culprit!r} is not part of a chain of layers: lava-dl's files hold only chains"
            )
        if not population.plain:
            raise HardwareError(
                f"layer {population.name!r} does not reset to 0 at once: lava-dl's files have no other reset"
            )
        if population.graded or any(c.graded for c in heard):
            raise HardwareError(
                f"layer {population.name!r} hears or sends graded spikes: only binary ones are written"
            )
        delay = _delay(population.name, forward, own)
        weight = _whole_weights(population.name, forward)
        recurrent = _whole_weights(population.name, own) if own else None
        check_exact(population.name, weight, recurrent)
        layers.append((population, weight, recurrent, delay))
        before = population.name
    if program.output != before:
        raise HardwareError(f"the output {program.output!r} is not the last layer, as lava-dl has it")
    return layers


def _delay(name: str, forward: list[Connection], own: list[Connection]) -> IntArray | None:
    delays = [c.delay for c in forward if c.delay is not None]
    if any(c.delay is not None for c in own) or (own and delays):
        raise HardwareError(
            f"layer {name!r} is recurrent and delayed: lava-dl delays both alike and drops exponents"
        )
    if not delays:
        return None
    if len(forward) > 1:
        raise HardwareError(f"layer {name!r} has delays in several connections: lava-dl's files hold one")
    return np.broadcast_to(delays[0], forward[0].weight.shape).astype(np.int64)


def _whole_weights(name: str, connections: list[Connection]) -> IntArray:
    """What one spike adds, as whole integers."""
    total = np.zeros(connections[0].weight.shape)
    for connection in connections:
        weight = truncate(dense(connection.weight), connection.num_weight_bits, connection.sign_mode)
        total += weight * 2.0**connection.weight_exp
    if np.any(total != np.rint(total)):
        raise HardwareError(
            f"layer {name!r}: its exponent drops bits of the sum: quantise with target='netx'"
        )
    if np.any((total < -256) | (total > 255)):
        raise HardwareError(
            f"layer {name!r} has weights beyond −256 to 255, which a lava-dl file does not hold: quantise "
            "with target='netx'"
        )
    return total.astype(np.int64)


def _one(population: Population, field: str) -> int:
    values = np.unique(getattr(population, field))
    if len(values) != 1:
        raise HardwareError(
            f"layer {population.name!r}: {field} differs by neuron and lava-dl's files hold one per layer: "
            "quantise without per_channel"
        )
    return int(values[0])


def _write(file: h5py.File, program: Program, layers: list[_Layer]) -> None:
    first = file.create_group("layer/0")
    first.create_dataset("type", data=np.bytes_("input"))
    first.create_dataset("shape", data=np.array([program.input_size]))
    for index, (population, weight, recurrent, delay) in enumerate(layers, 1):
        group = file.create_group(f"layer/{index}")
        group.create_dataset("type", data=np.bytes_("dense" if recurrent is None else "dense_rec"))
        group.create_dataset("shape", data=np.array([population.size]))
        group.create_dataset("inFeatures", data=weight.shape[1])
        group.create_dataset("outFeatures", data=population.size)
        group.create_dataset("weight", data=weight)
        if recurrent is not None:
            group.create_dataset("weight_rec", data=recurrent)
        if delay is not None:
            group.create_dataset("delay", data=delay)
        bias = _bias(population)
        if bias.any():
            group.create_dataset("bias", data=bias)
        neuron = group.create_group("neuron")
        neuron.create_dataset("type", data=np.bytes_("LOIHI"))
        neuron.create_dataset("iDecay", data=_one(population, "du") + 1)
        neuron.create_dataset("vDecay", data=_one(population, "dv"))
        neuron.create_dataset("vThMant", data=_one(population, "vth") if population.spiking else _NEVER)
        neuron.create_dataset("refDelay", data=1)
        neuron.create_dataset("gradedSpike", data=False)
        group.attrs["name"] = population.name
    file.attrs["made_by"] = _MADE_BY
    file.attrs["decode"] = program.decode


def _bias(population: Population) -> IntArray:
    values = np.broadcast_to(population.bias_mant << population.bias_exp, (population.size,))
    mantissa = values >> _BIAS_EXP
    if np.any(mantissa << _BIAS_EXP != values) or np.any(
        (mantissa < BIAS_MANT_MIN) | (mantissa > BIAS_MANT_MAX)
    ):
        raise HardwareError(
            f"layer {population.name!r}: its bias is no 13-bit mantissa with exponent 6, lava-dl's only one: "
            "quantise with target='netx'"
        )
    return mantissa


def _read(file: h5py.File) -> Program:
    stored = file["layer"]
    populations: list[Population] = []
    connections: list[Connection] = []
    before, size = "input", 0
    for index in range(len(stored)):
        group = stored[str(index)]
        kind = _text(group["type"])
        if kind == "input":
            size = _size(group)
            if "neuron" in group:
                raise HardwareError(
                    f"layer {index} of the file encodes inputs by neurons: only spikes are read"
                )
        elif kind in ("dense", "dense_rec"):
            name = str(group.attrs.get("name", f"layer{index}"))
            populations.append(_read_neurons(index, name, group))
            connections += _read_synapses(index, name, before, group, kind == "dense_rec")
            before = name
        elif kind != "flatten":
            raise HardwareError(f"layer {index} of the file is of type {kind!r}: only dense layers are read")
    if not populations:
        raise HardwareError("the file has no dense layer")
    decode: Any = file.attrs.get("decode", "count")
    program = Program(
        size or connections[0].weight.shape[1], tuple(populations), tuple(connections), before, decode
    )
    check_program(program)
    return program


def _size(group: h5py.Group) -> int:
    shape: list[int] = np.asarray(group["shape"][()], np.int64).reshape(-1).tolist()
    return math.prod(shape)


def _text(dataset: Any) -> str:
    value = dataset[()] if dataset.shape == () else dataset[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_neurons(index: int, name: str, group: h5py.Group) -> Population:
    neuron = group["neuron"]
    kind = _text(neuron["type"])
    if kind not in ("LOIHI", "CUBA"):
        raise HardwareError(f"layer {index} of the file has {kind} neurons: only LOIHI and CUBA are read")
    if "gradedSpike" in neuron and bool(np.any(neuron["gradedSpike"][()])):
        raise HardwareError(f"layer {index} of the file sends graded spikes: only binary ones are read")
    threshold = np.asarray(neuron["vThMant"][()], np.int64)
    spiking = bool(np.all(threshold <= THRESHOLD_MAX))
    bias = np.asarray(group["bias"][()], np.int64).reshape(-1) if "bias" in group else np.zeros((), np.int64)
    return Population(
        name=name,
        size=_size(group),
        du=np.clip(np.asarray(neuron["iDecay"][()], np.int64) - 1, 0, DECAY_MAX),
        dv=np.asarray(neuron["vDecay"][()], np.int64),
        vth=np.minimum(threshold, THRESHOLD_MAX),
        bias_mant=bias,
        bias_exp=np.asarray(_BIAS_EXP),
        spiking=spiking,
    )


def _read_synapses(
    index: int, name: str, before: str, group: h5py.Group, recurrent: bool
) -> list[Connection]:
    size = _size(group)
    weight = np.asarray(group["weight"][()], np.int64).reshape(size, -1)
    delay: IntArray | None = None
    if "delay" in group:
        delay = np.clip(np.asarray(group["delay"][()], np.int64), 0, DELAY_MAX)
        if delay.ndim == 1:
            delay = delay[:, None] if len(delay) == size else delay[None, :]
        delay = np.broadcast_to(delay, weight.shape).copy()
        if recurrent:
            raise HardwareError(f"layer {index} of the file is recurrent and delayed: that is not read")
    connections = exact_connections(index, f"{before}→{name}", before, name, weight, delay)
    if recurrent:
        own = np.asarray(group["weight_rec"][()], np.int64).reshape(size, size)
        connections += exact_connections(index, f"{name}→{name}", name, name, own, None)
    return connections


def exact_connections(
    index: int, name: str, source: str, target: str, weight: IntArray, delay: IntArray | None
) -> list[Connection]:
    """Connections whose spikes add exactly `weight`."""
    if np.any((weight < -256) | (weight > 255)):
        raise HardwareError(f"layer {index} of the file has weights beyond −256 to 255, which no Dense holds")
    mode = sign_mode(weight)
    whole = Connection(name, source, target, weight, 0, 8, mode, delay)
    if mode == "mixed" and weight.min() >= -128 and weight.max() <= 127:
        return [replace(whole, weight=2 * weight, weight_exp=-1)]
    if np.array_equal(truncate(weight, 8, mode), weight):
        return [whole]
    if weight.min() == -256:
        raise HardwareError(f"layer {index} of the file has weights of −256 beside odd ones beyond ±127")
    return split_signs(whole)
