"""The chip's arithmetic once more, neuron by neuron with Python integers: slow, obvious, shares no code.

Time is the chip's own: every connection hands over at step t what it summed at step t − 1 (plus delay), every
layer is stepped at every absolute step, and only the record is shifted back. So alignment is checked too.
"""

from collections.abc import Sequence

import numpy as np

from neurofdfa_hardware.chip.kernel import dense
from neurofdfa_hardware.chip.program import Connection, Population, Program

Rows = list[list[list[int]]]


def floor_weight(weight: int, bits: int, mode: str) -> int:
    if mode == "inhibitory":
        return -floor_weight(-weight, bits, "excitatory")
    low, high, grid = (-256, 255, 2 ** (9 - bits)) if mode == "mixed" else (0, 255, 2 ** (8 - bits))
    weight = max(low, min(high, weight))
    return (weight // grid) * grid


def towards_zero(value: int, keep: int) -> int:
    product = abs(value) * keep
    return (product // 4096) * (1 if value >= 0 else -1)


def neuron_step(u: int, v: int, a: int, du: int, dv: int, bias: int) -> tuple[int, int]:
    u = towards_zero(u, 4096 - (du + 1)) + a * 64
    if u > 2**23:
        u -= 2**24
    elif u <= -(2**23):
        u += 2**24
    v = towards_zero(v, 4096 - dv) + u + bias
    return u, max(-(2**23) + 1, min(2**23 - 1, v))


def pick(values: np.ndarray, index: int) -> int:
    return int(values if np.ndim(values) == 0 else values[index])


def arrivals(connection: Connection, history: Sequence[Sequence[int]], now: int, target: int) -> int:
    """What the synapses of one target neuron deliver at absolute step `now`: shifted per delay, added."""
    by_delay: dict[int, int] = {}
    row = dense(connection.weight)[target]
    for source in range(connection.weight.shape[1]):
        delay = 0
        if connection.delay is not None:
            delay = int(np.broadcast_to(connection.delay, connection.weight.shape)[target, source])
        sent_at = now - 1 - delay
        if sent_at < 0:
            continue
        message = history[sent_at][source]
        if not connection.graded:
            message = 1 if message else 0
        weight = floor_weight(int(row[source]), connection.num_weight_bits, connection.sign_mode)
        by_delay[delay] = by_delay.get(delay, 0) + weight * message
    shift = connection.weight_exp
    return sum(total * 2**shift if shift >= 0 else total // 2**-shift for total in by_delay.values())


def oracle_depths(program: Program) -> dict[str, int]:
    depth = {"input": 0}
    for population in program.populations:
        sources = [c.source for c in program.connections if c.target == population.name]
        depth[population.name] = 1 + max((depth[s] for s in sources if s in depth), default=0)
    return depth


def run_sample(program: Program, spikes: np.ndarray) -> dict[str, tuple[Rows, Rows, Rows]]:
    """One sample `[T, n_in]` → population → (u, v, s), each T rows, aligned to the input."""
    steps = len(spikes)
    depth = oracle_depths(program)
    total = steps + max(depth.values())
    history: dict[str, list[list[int]]] = {
        "input": [],
        "always on": [],
        **{p.name: [] for p in program.populations},
    }
    resting = {p.name: [0] * p.size for p in program.populations}
    state = {p.name: [(0, 0)] * p.size for p in program.populations}
    rows: dict[str, tuple[list, list, list]] = {p.name: ([], [], []) for p in program.populations}
    for now in range(total):
        history["input"].append([int(x) for x in spikes[now]] if now < steps else [0] * program.input_size)
        history["always on"].append([1])
        for population in program.populations:
            if now < depth[population.name]:
                history[population.name].append([0] * population.size)
                continue
            advance(program, population, now, history, state, rows, resting[population.name])
    return {name: tuple(part[:steps] for part in parts) for name, parts in rows.items()}


def advance(program: Program, population: Population, now: int, history, state, rows, resting) -> None:
    fired: list[int] = []
    for j in range(population.size):
        a = sum(
            arrivals(c, history[c.source], now, j) for c in program.connections if c.target == population.name
        )
        if population.graded:
            loud = (abs(a) if population.sends == "sums" else a) > int(population.vth)
            fired.append(a if loud else 0)
            state[population.name][j] = (0, 0)
            continue
        bias = pick(population.bias_mant, j) * 2 ** pick(population.bias_exp, j)
        u, v = neuron_step(
            *state[population.name][j], a, pick(population.du, j), pick(population.dv, j), bias
        )
        spike = population.spiking and v > pick(population.vth, j) * 64
        value = pick(population.reset_value, j)
        if resting[j] > 0:
            spike, v = False, value
            resting[j] -= 1
        elif spike and population.reset == "soft":
            v -= value
        elif spike:
            v = value
            resting[j] = population.refractory
        state[population.name][j] = (u, v)
        fired.append(int(spike))
    history[population.name].append(fired)
    u_rows, v_rows, s_rows = rows[population.name]
    u_rows.append([u for u, _ in state[population.name]])
    v_rows.append([v for _, v in state[population.name]])
    s_rows.append(fired)
