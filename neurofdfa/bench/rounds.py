"""Fair timing on a shared machine: all tasks in every round, in shuffled order, ratios within a round."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

Clock = Literal["cpu", "wall"]
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
SHORTEST = 0.05
"""Seconds that a measurement lasts at least: short tasks are repeated."""


class Ratio(NamedTuple):
    """Median over rounds, lower and upper quartile."""

    median: float
    spread: tuple[float, float]


def time_rounds(
    tasks: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = "cpu", seed: int = 0
) -> dict[str, list[float]]:
    """Seconds per call of every task in every round, after two calls to warm up.

    clock: CPU time of the process (other programs disturb it less) or wall time (with several threads).
    """
    now, shuffle, order = CLOCKS[clock], random.Random(seed), list(tasks)
    for task in tasks.values():
        task()
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            tasks[name]()  # the caches are its own, not the last task's
            start, count = now(), 0
            while True:
                tasks[name]()
                count += 1
                if (spent := now() - start) > SHORTEST:
                    break
            seconds[name].append(spent / count)
    return seconds


def ratio(above: list[float], below: list[float]) -> Ratio:
    """Above ÷ below, paired by round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    if len(ratios) < 2:
        return Ratio(ratios[0], (ratios[0], ratios[0]))
    quarters = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(quarters[1], (quarters[0], quarters[2]))
