"""Short ways to write the small networks of these tests, and to compare two records."""

import numpy as np

from neurofdfa_hardware.chip.program import Connection, Population, Program, Record


def population(name: str, size: int, *, du=4095, dv=0, vth=100, mant=0, exp=0, spiking=True) -> Population:
    def numbers(value: object) -> np.ndarray:
        return np.asarray(value, np.int64)

    return Population(name, size, *(numbers(x) for x in (du, dv, vth, mant, exp)), spiking)


def connection(source: str, target: str, weight: object, **options: object) -> Connection:
    if "delay" in options:
        options["delay"] = np.asarray(options["delay"], np.int64)
    return Connection(f"{source}-{target}", source, target, np.asarray(weight, np.int64), **options)


def chain(
    sizes: tuple[int, ...], *, seed: int = 0, vth: int = 150, spiking: bool = True, **options
) -> Program:
    """A feed-forward network with random weights: l1, l2, …"""
    rng = np.random.default_rng(seed)
    names = ["input", *(f"l{i}" for i in range(1, len(sizes)))]
    last = len(sizes) - 1
    return Program(
        sizes[0],
        tuple(
            population(names[i], sizes[i], dv=800, vth=vth, spiking=spiking or i < last)
            for i in range(1, len(sizes))
        ),
        tuple(
            connection(names[i], names[i + 1], rng.integers(-60, 61, (sizes[i + 1], sizes[i])) * 2, **options)
            for i in range(last)
        ),
        names[-1],
        "count" if spiking else "last",
    )


def poisson(shape: tuple[int, int, int], rate: float = 0.3, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)


def first_difference(expected: Record, found: Record) -> str | None:
    """Where two records differ first, None when they hold the same arrays."""
    for kind in ("spikes", "u", "v"):
        ours, theirs = getattr(expected, kind), getattr(found, kind)
        if ours.keys() != theirs.keys():
            return f"{kind} of {sorted(ours)} and {sorted(theirs)}"
        for name, array in ours.items():
            other = theirs[name]
            if (array.shape, array.dtype) != (other.shape, other.dtype):
                return f"{kind} of {name}: {array.shape} {array.dtype} and {other.shape} {other.dtype}"
            if not np.array_equal(array, other):
                t, b, n = np.argwhere(array != other)[0]
                return f"{kind} of {name} at step {t}, sample {b}, neuron {n}"
    return None if np.array_equal(expected.output_v, found.output_v) else "output_v"
