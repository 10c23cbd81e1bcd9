"""How long a sample takes on the integer reference and on Lava: `python benchmarks/lava.py {modes,synapses}`.

modes: reference, stock processes and lanes on 784-256-10, 25 steps, batches of 64, in turn, round by round.
synapses: Lava's Dense, Sparse and Conv under the same convolution, stock. Lava's start-up and compilation are
left out, for they are paid once. The last line of the output is JSON.
"""

import argparse
import json
import statistics
import time

import numpy as np

from neurofdfa_hardware.backends import FixedPointBackend
from neurofdfa_hardware.chip.kernel import Kernel
from neurofdfa_hardware.chip.program import Connection, Population, Program, Record
from neurofdfa_hardware.lava import LavaBackend, LavaJob

STEPS = 25


def population(name: str, size: int, vth: int, spiking: bool = True) -> Population:
    numbers = (np.asarray(value, np.int64) for value in (4095, 819, vth, 0, 0))
    return Population(name, size, *numbers, spiking)


def mnist_sized(rng: np.random.Generator) -> Program:
    """784-256-10 with a readout through membranes."""
    first, last = (rng.integers(-60, 61, shape) * 2 for shape in ((256, 784), (10, 256)))
    return Program(
        784,
        (population("hidden", 256, 1000), population("readout", 10, 0, spiking=False)),
        (Connection("first", "input", "hidden", first), Connection("last", "hidden", "readout", last)),
        "readout",
        "last",
    )


def convolved(rng: np.random.Generator, image: tuple[int, int, int], channels: int, size: int) -> Program:
    """One convolution of `image` and a readout of ten."""
    kernel = Kernel(rng.integers(-60, 61, (channels, image[0], size, size)) * 2, image)
    neurons = int(np.prod(kernel.out))
    return Program(
        int(np.prod(image)),
        (population("convolved", neurons, 300), population("readout", 10, 0, spiking=False)),
        (
            Connection("kernel", "input", "convolved", kernel),
            Connection("last", "convolved", "readout", rng.integers(-60, 61, (10, neurons)) * 2),
        ),
        "readout",
        "last",
    )


def spikes(rng: np.random.Generator, samples: int, size: int, rate: float = 0.13) -> np.ndarray:
    return (rng.random((STEPS, samples, size)) < rate).astype(np.uint8)


def same(ours: Record, theirs: Record) -> bool:
    outputs = np.array_equal(ours.output_v, theirs.output_v)
    return outputs and all(np.array_equal(ours.spikes[name], theirs.spikes[name]) for name in ours.spikes)


def measure_modes(rounds: int, rng: np.random.Generator) -> dict:
    """Milliseconds per sample, median and quartiles; the ratio is taken round by round."""
    program = mnist_sized(rng)
    reference, backend = FixedPointBackend().compile(program), LavaBackend()
    many, few = spikes(rng, 256, 784), spikes(rng, 16, 784)
    times: dict[str, list[float]] = {"reference": [], "stock": [], "lanes": []}
    rate = float(reference.run(many[:, :64]).spikes["hidden"].mean())
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(8):
            reference.run(many[:, :64])
        times["reference"].append((time.perf_counter() - began) / (8 * 64))
        jobs = [LavaJob(program, few, "stock"), LavaJob(program, many, "lanes", 64)]
        for job, run in zip(jobs, backend.run_many(jobs), strict=True):
            assert same(reference.run(job.spikes), run.record)
            times[job.mode].append(run.run_seconds / job.spikes.shape[1])
    rows = {name: summary([1000 * t for t in seconds]) for name, seconds in times.items()}
    ratio = summary([s / r for s, r in zip(times["stock"], times["reference"], strict=True)])
    return {"ms_per_sample": rows, "stock_over_reference": ratio, "rounds": rounds, "hidden_rate": rate}


def measure_synapses(rounds: int, rng: np.random.Generator) -> dict:
    """Milliseconds per step of a whole network, by the process behind its convolution."""
    rows = []
    for image, channels, size in (((1, 8, 8), 4, 3), ((1, 28, 28), 8, 5), ((8, 12, 12), 16, 3)):
        program = convolved(rng, image, channels, size)
        heard = spikes(rng, 4, program.input_size)
        expected = FixedPointBackend().compile(program).run(heard)
        times: dict[str, list[float]] = {"dense": [], "sparse": [], "conv": []}
        for _ in range(rounds):
            jobs = [LavaJob(program, heard, "stock", synapses=form) for form in times]
            for job, run in zip(jobs, LavaBackend().run_many(jobs), strict=True):
                assert same(expected, run.record)
                times[job.synapses].append(1000 * run.run_seconds / (STEPS * heard.shape[1]))
        rows.append(
            {
                "image": image,
                "channels": channels,
                "kernel": size,
                "neurons": program.populations[0].size,
                "ms_per_step": {form: summary(each) for form, each in times.items()},
            }
        )
    return {"rows": rows, "rounds": rounds}


def summary(values: list[float]) -> dict[str, float]:
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("modes", "synapses"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    measure = measure_modes if arguments.what == "modes" else measure_synapses
    print(json.dumps(measure(arguments.rounds, np.random.default_rng(0))))


if __name__ == "__main__":
    main()
