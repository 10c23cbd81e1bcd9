"""How a program is laid out in time on Lava, and the request that tells a worker to run it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.kernel import Kernel, dense, entries
from neurofdfa_hardware.chip.program import ALWAYS_ON, IntArray, Program, connection_lag, layer_depths
from neurofdfa_hardware.chip.ranges import PAYLOAD_MAX, SUM_LIMIT
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava.forms import Form, native_kernel

Mode = Literal["stock", "lanes"]
Clearing = Literal["stream", "gate", "set"]


@dataclass(frozen=True)
class Layout:
    """When samples start and how nothing of one reaches the next.

    depths: steps by which each population lags; period: steps from one sample (or batch of lanes) to the
    next; total_steps: length of the whole run; clearing: "stream" (LIFReset alone: a network without delays
    or recurrence forgets by itself), "gate" (LIFReset, and lane synapses that empty themselves) or "set"
    (the runtime pauses and every state is set to zero through `Var.set`); clear_phases: for "set", the
    steps after a sample's begin at which that happens.
    """

    depths: dict[str, int]
    period: int
    total_steps: int
    lanes: int
    clearing: Clearing
    clear_phases: tuple[int, ...]


def plan_layout(program: Program, steps: int, samples: int, mode: Mode, lanes: int) -> Layout:
    """Choose the shortest period at which no sample can hear another one.

    Raises `HardwareError` for a connection that skips layers without the delay that this needs.
    """
    depths = layer_depths(program)
    deepest = max(depths.values())
    streams = True
    for connection in program.connections:
        lag = connection_lag(connection, depths)
        least = 0 if connection.delay is None else int(np.min(connection.delay))
        if lag + least < 0:
            raise HardwareError(
                f"connection '{connection.name}' skips layers: give it a delay of at least {-lag} steps"
            )
        streams = streams and lag == 0 and connection.delay is None
    lanes = 1 if mode == "stock" else max(1, min(lanes, samples))
    batches = -(-samples // lanes)
    if streams:
        return Layout(depths, steps, batches * steps + deepest, lanes, "stream", ())
    period = steps + deepest
    phases = tuple(sorted(clear_phases(program, depths))) if mode == "stock" else ()
    return Layout(depths, period, batches * period, lanes, "set" if mode == "stock" else "gate", phases)


def clear_phases(program: Program, depths: dict[str, int]) -> set[int]:
    """Steps at which the early, meaningless activity of neurons with a bias has to be wiped away.

    A population at depth d runs d steps before its sample reaches it; without a bias or what is always on
    it is silent then.
    """
    driven = _driven(program)
    biased = [p for p in program.populations if driven[p.name]]
    return {phase for p in biased for phase in range(1, depths[p.name] + 1)}


def _driven(program: Program) -> dict[str, bool]:
    """Population → whether it moves without hearing a sample: a bias, or what is always on."""
    on = {c.target for c in program.connections if c.source == ALWAYS_ON}
    return {p.name: p.name in on or bool(np.any(p.bias_mant)) for p in program.populations}


def describe(
    program: Program,
    layout: Layout,
    mode: Mode,
    index: int,
    shape: tuple[int, int, int],
    states: bool,
    forms: Mapping[str, Form],
) -> dict[str, Any]:
    """The job as the worker reads it; file names are relative to the job folder.

    shape: T, B, n_in; forms: the process behind each connection.
    """
    steps, samples, _ = shape
    biased = _driven(program)
    return {
        "index": index,
        "mode": mode,
        "lanes": layout.lanes,
        "steps": steps,
        "samples": samples,
        "period": layout.period,
        "total_steps": layout.total_steps,
        "clearing": layout.clearing,
        "clear_phases": list(layout.clear_phases),
        "input_size": program.input_size,
        "always_on": any(c.source == ALWAYS_ON for c in program.connections),
        "input": f"{index}.input.npy",
        "arrays": f"{index}.arrays.npz",
        "populations": [
            {
                "name": p.name,
                "size": p.size,
                "depth": layout.depths[p.name],
                "spiking": p.spiking,
                "sends": p.sends,
                "biased": biased[p.name],
                "plain": p.plain,
                "reset": p.reset,
                "refractory": p.refractory,
            }
            for p in program.populations
        ],
        "connections": [
            {
                "name": c.name,
                "source": c.source,
                "target": c.target,
                "weight_exp": c.weight_exp,
                "num_weight_bits": c.num_weight_bits,
                "sign_mode": c.sign_mode,
                "form": forms[c.name],
                "graded": c.graded,
                "payload": PAYLOAD_MAX if c.source == "input" else SUM_LIMIT,
                "convolution": geometry(c.weight) if forms[c.name] in ("conv", "kernel") else None,
                "shape": list(c.weight.shape),
                "source_depth": layout.depths.get(c.source, 0),
                "source_biased": biased.get(c.source, False),
            }
            for c in program.connections
        ],
        "taps": taps(program, layout, index, states),
    }


def taps(program: Program, layout: Layout, index: int, states: bool) -> list[dict[str, Any]]:
    """What the host records: every spike, the output's membrane, and all states when asked for."""
    graded = {p.name for p in program.populations if p.graded}
    found: list[tuple[str, str]] = []
    for p in program.populations:
        if p.spiking:
            found.append((p.name, "s_out"))
        if states and not p.graded:
            found.append((p.name, "u"))
        if (states and not p.graded) or p.name == program.output:
            found.append((p.name, "v"))
    return [
        {
            "population": name,
            "variable": variable,
            "depth": layout.depths[name],
            "graded": variable == "s_out" and name in graded,
            "file": f"{index}.{number}.npy",
        }
        for number, (name, variable) in enumerate(found)
    ]


def geometry(kernel: IntArray | Kernel) -> dict[str, Any]:
    """What a convolution's process wants to know, rows and columns in that order."""
    assert isinstance(kernel, Kernel)
    fields = ("image", "out", "stride", "padding", "dilation", "groups")
    return {field: getattr(kernel, field) for field in fields}


def numbers(program: Program, forms: Mapping[str, Form]) -> dict[str, NDArray[Any]]:
    """Weights, delays and neuron parameters, as the arrays of one .npz file."""
    found: dict[str, NDArray[Any]] = {}
    for c in program.connections:
        form = forms[c.name]
        if form == "sparse" and isinstance(c.weight, Kernel):
            target, source, weight = c.weight.listed()
            found[f"{c.name}/target"], found[f"{c.name}/source"] = target, source
        elif form == "conv":
            weight = native_kernel(c)
        else:
            weight = entries(c.weight) if form == "kernel" else dense(c.weight)
        found[f"{c.name}/weight"] = np.asarray(weight, np.int64)
        if c.delay is not None:
            shape = np.shape(c.delay) if form == "kernel" else c.weight.shape
            found[f"{c.name}/delay"] = np.ascontiguousarray(np.broadcast_to(c.delay, shape))
    for p in program.populations:
        for key in ("du", "dv", "vth", "bias_mant", "bias_exp", "reset_value"):
            value = np.asarray(getattr(p, key), np.int64)
            found[f"{p.name}/{key}"] = np.ascontiguousarray(np.broadcast_to(value, (p.size,)))
    return found
