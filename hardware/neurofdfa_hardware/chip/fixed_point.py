"""The integer reference: what Lava's fixed-point Dense and LIF compute, batched and in numpy.

One step of a neuron, all integers (a: its summed synaptic input; sgn·(|x| >> 12) rounds towards zero):
    u ← sgn(p)·(|p| >> 12) + (a << 6),  p = u·(4096 − (du + 1))     u wraps once at 24 bits
    v ← sgn(q)·(|q| >> 12) + u + (bias_mant << bias_exp),  q = v·(4096 − dv)     v clips to ±(2^23 − 1)
    s = v > (vth << 6);   v ← 0 where s;   u is not reset
or, where a population says so (`Population.reset`): v ← reset_value where s; v ← v − reset_value where s;
v is held at reset_value, and s at 0, for the refractory steps after a spike.
One connection: a = Σ w over the spikes, w clipped and floored to its grid (`truncate`), then shifted by
weight_exp; w·payload where spikes are graded. A convolution is its dense matrix. Sums stay within 24 bits, or
the run is refused. Graded neurons send a where |a| > vth, or a > vth, and keep nothing.
u and v are 0 before each sample. What a connection hears on the aligned time axis is defined by
`neurofdfa_hardware.chip.program.connection_lag`.

Fast and still exact: whole layers are fed by one GEMM (`neurofdfa_hardware.chip.synapse`),
u·(4096 − d)/4096 needs at most
43 bits, so `trunc` of the float64 product is the integer formula, and wrapping and clipping are
applied only where the inputs at hand could reach them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.chip.loihi1 import CURRENT_BITS, INPUT_BITS, check_loihi1, wrapped
from neurofdfa_hardware.chip.program import ALWAYS_ON, INPUT, Chip, IntArray, Population, Program, Record
from neurofdfa_hardware.chip.ranges import (
    ACTIVATION_SHIFT,
    CURRENT_LIMIT,
    MEMBRANE_MAX,
    SUM_LIMIT,
    THRESHOLD_SHIFT,
    check_program,
)
from neurofdfa_hardware.chip.schedule import runs
from neurofdfa_hardware.chip.synapse import FloatArray, Synapses, feed, heard_by, truncate
from neurofdfa_hardware.errors import HardwareError

__all__ = ["Prepared", "predict", "prepare", "simulate", "truncate"]

SpikeArray = NDArray[np.uint8]
Float64 = NDArray[np.float64]

# Lava adds in 32-bit integers; one bit is kept back for the membrane and the bias.
_ACCUMULATOR_LIMIT = 2**30
# Samples computed together: their states stay in the cache, and memory does not grow with the batch.
_BLOCK = 128


@dataclass(frozen=True)
class Prepared:
    """A checked program with its weights laid out for GEMMs; make one with `prepare` to run it often."""

    program: Program
    heard: Mapping[str, Sequence[Synapses]]
    chip: Chip = "lava"


def prepare(program: Program, chip: Chip = "lava") -> Prepared:
    """Check `program` and truncate its weights. Raises `HardwareError` when it does not fit the chip."""
    check_program(program)
    if chip == "loihi1":
        check_loihi1(program)
    elif chip != "lava":
        raise HardwareError(f"unknown arithmetic {chip!r}: choose lava or loihi1")
    return Prepared(program, {p.name: heard_by(program, p.name, chip) for p in program.populations}, chip)


def simulate(
    program: Program | Prepared, spikes: SpikeArray, *, states: bool = False, chip: Chip = "lava"
) -> Record:
    """Run `program` on `spikes` uint8 `[T, B, n_in]`, every sample from rest.

    Returns spikes of every population and the membrane of the output, on the input's time axis; with
    `states` also u and v of every population after each step (v after its reset). chip: whose arithmetic,
    "lava" or "loihi1" (`neurofdfa_hardware.chip.loihi1`); a prepared program has its own.
    Raises `HardwareError` when the program or the spikes do not fit, and for sums that leave 24 bits.
    """
    prepared = program if isinstance(program, Prepared) else prepare(program, chip)
    _check_spikes(prepared.program, spikes)
    blocks = range(0, spikes.shape[1], _BLOCK)
    records = [_simulate(prepared, spikes[:, first : first + _BLOCK], states) for first in blocks]
    return records[0] if len(records) == 1 else _beside(records)


def _simulate(prepared: Prepared, spikes: SpikeArray, states: bool) -> Record:
    program = prepared.program
    fired: dict[str, NDArray[Any]] = {INPUT: spikes, ALWAYS_ON: np.ones((*spikes.shape[:2], 1), np.bool_)}
    keep = {p.name for p in program.populations} if states else {program.output}
    traces: dict[str, _Trace] = {}
    for group in _groups(program):
        members = {population.name for population in group}
        lanes = [
            _graded_lane(population, prepared.heard[population.name], fired, members)
            if population.graded
            else _lane(population, prepared.heard[population.name], fired, members, keep, prepared.chip)
            for population in group
        ]
        for t in range(len(spikes)):
            for lane in lanes:
                lane.step(t, fired)
        traces |= {lane.population.name: lane.trace for lane in lanes if lane.trace is not None}
    return Record(
        spikes={name: _as_recorded(array) for name, array in fired.items() if name not in (INPUT, ALWAYS_ON)},
        output_v=traces[program.output].v.astype(np.int32),
        u={name: trace.u.astype(np.int32) for name, trace in traces.items()} if states else {},
        v={name: trace.v.astype(np.int32) for name, trace in traces.items()} if states else {},
    )


def step_population(
    population: Population, parts: Sequence[Synapses], sources: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.bool_], Float64]:
    """Spikes and membrane `[T, B, n]` of one spiking or integrating population, fed what `sources` say.

    parts may hear the population itself. sources: spikes by name, `[T, B, n_source]`.
    """
    fired = dict(sources)
    lane = _lane(population, parts, fired, {population.name}, {population.name})
    for t in range(len(fired[population.name])):
        lane.step(t, fired)
    assert lane.trace is not None
    return fired[population.name], lane.trace.v


def _as_recorded(fired: NDArray[Any]) -> NDArray[np.uint8 | np.int32]:
    return fired.view(np.uint8) if fired.dtype == np.bool_ else fired.astype(np.int32)


def _beside(records: Sequence[Record]) -> Record:
    """Join blocks of samples."""
    first = records[0]
    return Record(
        spikes={name: np.concatenate([r.spikes[name] for r in records], axis=1) for name in first.spikes},
        output_v=np.concatenate([r.output_v for r in records], axis=1),
        u={name: np.concatenate([r.u[name] for r in records], axis=1) for name in first.u},
        v={name: np.concatenate([r.v[name] for r in records], axis=1) for name in first.v},
    )


def predict(program: Program, record: Record) -> IntArray:
    """Class of each sample, int64 `[B]`: the argmax of what `program.decode` reads; the first on a tie."""
    if program.decode == "count":
        score = record.spikes[program.output].sum(axis=0, dtype=np.int64)
    elif program.decode == "last":
        score = record.output_v[-1]
    else:
        score = record.output_v.sum(axis=0, dtype=np.int64)
    return np.argmax(score, axis=-1)


def _check_spikes(program: Program, spikes: SpikeArray) -> None:
    if spikes.dtype != np.uint8 or spikes.ndim != 3:
        raise HardwareError(f"spikes must be uint8 [T, B, n]; got {spikes.dtype} with shape {spikes.shape}")
    if spikes.shape[2] != program.input_size:
        raise HardwareError(f"spikes have {spikes.shape[2]} inputs, the program {program.input_size}")
    check_payloads(program, spikes)
    if 0 in spikes.shape:
        raise HardwareError(f"spikes have shape {spikes.shape}: at least one step and one sample are needed")


def check_payloads(program: Program, spikes: SpikeArray) -> None:
    """Raise `HardwareError` for numbers above 1 that nothing of `program` would multiply its weights by."""
    heard = [connection.graded for connection in program.connections if connection.source == INPUT]
    if spikes.size and spikes.max() > 1 and not any(heard):
        raise HardwareError(
            f"the input holds numbers up to {spikes.max()}, and the program counts spikes as 0 or 1: "
            "quantise it with inputs of that kind (they are sent as graded spikes then), or make the inputs "
            "binary"
        )


def _groups(program: Program) -> Iterator[Sequence[Population]]:
    arcs = [(connection.source, connection.target) for connection in program.connections]
    for run in runs([population.name for population in program.populations], arcs):
        yield program.populations[run.start : run.stop]


@dataclass(frozen=True)
class _Trace:
    """u and v after each step, `[T, B, n]`, integers held in float64."""

    u: Float64
    v: Float64


@dataclass(frozen=True)
class _GradedLane:
    """Neurons that pass sums on; current and inner as in `_Lane`."""

    population: Population
    current: FloatArray
    inner: tuple[Synapses, ...]
    trace: None = None

    def step(self, t: int, fired: dict[str, NDArray[Any]]) -> None:
        """Write what this population sends at step `t` into `fired`."""
        sums = self.current[t].astype(np.float64)
        for part in self.inner:
            if t >= part.lag:
                sums += part.sums(fired[part.source][t - part.lag])
        sums /= 1 << ACTIVATION_SHIFT
        reach = np.abs(sums)
        if reach.max() >= SUM_LIMIT:
            raise HardwareError(
                f"what {self.population.name!r} sends leaves 24 bits at step {t}: use smaller weights or a "
                "smaller weight exponent"
            )
        loud = (reach if self.population.sends == "sums" else sums) > float(self.population.vth)
        np.copyto(fired[self.population.name][t], np.where(loud, sums, 0.0))


@dataclass(frozen=True)
class _Lane:
    """A population while it is stepped; u and v are updated in place.

    current: its input known beforehand `[T, B, n]`; inner: its connections from within the group;
    forgets: u is nothing but its input.
    """

    population: Population
    current: FloatArray
    inner: tuple[Synapses, ...]
    u: Float64
    v: Float64
    u_keep: Float64
    v_keep: Float64
    bias: Float64
    threshold: Float64
    forgets: bool
    biased: bool
    plain: bool
    reset_value: Float64
    resting: NDArray[np.int64]
    may_wrap: bool
    may_clip: bool
    trace: _Trace | None
    silicon: bool = False

    def step(self, t: int, fired: dict[str, NDArray[Any]]) -> None:
        """Advance one step and write this population's spikes of step `t` into `fired`."""
        u, v = self.u, self.v
        if self.silicon:
            inflow = self._on_silicon(t, fired)
        else:
            self._current(t, fired)
            inflow = u
        np.multiply(v, self.v_keep, out=v)
        np.trunc(v, out=v)
        np.add(v, inflow, out=v)
        if self.biased and not self.silicon:
            np.add(v, self.bias, out=v)
        if self.may_clip:
            np.clip(v, -MEMBRANE_MAX, MEMBRANE_MAX, out=v)
        if self.population.spiking:
            spikes = fired[self.population.name][t]
            np.greater(v, self.threshold, out=spikes)
            if self.plain:
                np.copyto(v, 0.0, where=spikes)
            else:
                self._reset(spikes)
        if self.trace is not None:
            self.trace.u[t], self.trace.v[t] = u, v

    def _current(self, t: int, fired: dict[str, NDArray[Any]]) -> None:
        """Advance u as Lava does."""
        u = self.u
        if self.forgets:
            np.copyto(u, self.current[t])
        else:
            np.multiply(u, self.u_keep, out=u)
            np.trunc(u, out=u)
            np.add(u, self.current[t], out=u)
        for part in self.inner:
            if t >= part.lag:
                np.add(u, part.sums(fired[part.source][t - part.lag]), out=u)
        if self.may_wrap:
            self._wrap(t)

    def _on_silicon(self, t: int, fired: dict[str, NDArray[Any]]) -> Float64:
        """Advance u as Loihi 1 does, and return what it adds to v."""
        arriving = self.current[t].astype(np.float64)
        for part in self.inner:
            if t >= part.lag:
                arriving = arriving + part.sums(fired[part.source][t - part.lag])
        arriving = wrapped(arriving, INPUT_BITS)
        self.u[:] = wrapped(np.trunc(self.u * self.u_keep) + arriving, CURRENT_BITS)
        return wrapped(self.u + self.bias, CURRENT_BITS)

    def _reset(self, spikes: NDArray[np.bool_]) -> None:
        """Resets other than to 0; `resting` counts the refractory steps that are left."""
        v, value = self.v, np.broadcast_to(self.reset_value, self.v.shape)
        if self.population.reset == "soft":
            np.subtract(v, value, out=v, where=spikes)
            return
        if self.population.refractory:
            held = self.resting > 0
            spikes[held] = False
            self.resting[held] -= 1
            self.resting[spikes] = self.population.refractory
            np.copyto(v, value, where=held)
        np.copyto(v, value, where=spikes)

    def _wrap(self, t: int) -> None:
        if max(self.u.max(), -self.u.min()) >= _ACCUMULATOR_LIMIT:
            raise HardwareError(
                f"the synaptic input of {self.population.name!r} leaves Lava's 32-bit accumulator "
                f"at step {t}: use smaller weights or a smaller weight exponent"
            )
        over, under = self.u > CURRENT_LIMIT, self.u <= -CURRENT_LIMIT
        self.u[over] -= 2 * CURRENT_LIMIT
        self.u[under] += 2 * CURRENT_LIMIT


def _graded_lane(
    population: Population,
    parts: Sequence[Synapses],
    fired: dict[str, NDArray[Any]],
    members: set[str],
) -> _GradedLane:
    shape = (*fired["input"].shape[:2], population.size)
    current = feed([part for part in parts if part.source not in members], fired, shape)
    fired[population.name] = np.zeros(shape)
    return _GradedLane(population, current, tuple(part for part in parts if part.source in members))


def _lane(
    population: Population,
    parts: Sequence[Synapses],
    fired: dict[str, NDArray[Any]],
    members: set[str],
    keep: set[str],
    chip: Chip = "lava",
) -> _Lane:
    steps, batch = next(iter(fired.values())).shape[:2]
    shape = (steps, batch, population.size)
    inner = tuple(part for part in parts if part.source in members)
    current = feed([part for part in parts if part.source not in members], fired, shape)
    fired[population.name] = np.zeros(shape, np.bool_)
    bias = np.ldexp(population.bias_mant.astype(np.float64), population.bias_exp)
    u_keep = np.asarray((4095 - population.du) / 4096, np.float64)
    v_keep = np.asarray((4096 - population.dv) / 4096, np.float64)
    strongest = float(max(current.max(), -current.min())) + sum(part.bound for part in inner)
    u_bound = _largest(strongest, u_keep, steps)
    reset_reach = 0.0 if population.plain else float(np.abs(population.reset_value).max())
    return _Lane(
        population=population,
        current=current,
        inner=inner,
        u=np.zeros(shape[1:]),
        v=np.zeros(shape[1:]),
        u_keep=u_keep,
        v_keep=v_keep,
        bias=bias,
        threshold=np.asarray(population.vth << THRESHOLD_SHIFT, np.float64),
        forgets=not u_keep.any(),
        biased=bool(bias.any()),
        plain=population.plain,
        reset_value=np.asarray(population.reset_value, np.float64),
        resting=np.zeros(shape[1:], np.int64) if population.refractory else np.zeros(0, np.int64),
        may_wrap=u_bound >= CURRENT_LIMIT,
        may_clip=_largest(u_bound + float(np.abs(bias).max()) + reset_reach, v_keep, steps) > MEMBRANE_MAX,
        trace=_Trace(np.zeros(shape), np.zeros(shape)) if population.name in keep else None,
        silicon=chip == "loihi1",
    )


def _largest(inflow: float, keep: Float64, steps: int) -> float:
    """A bound on |x| of x ← keep·x + inflow, started at 0, over `steps` steps."""
    slowest = float(keep.max())
    return inflow * (steps if slowest == 1.0 else min(steps, 1.0 / (1.0 - slowest)))
