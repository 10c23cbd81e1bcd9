"""Peak memory of a process that learns from as many event recordings as N-MNIST has, and where its time goes.

    python benchmarks/studies/training_memory.py --recordings 60000

Writes recordings of N-MNIST's size (4100 events in 100 steps on 34 × 34 pixels and two polarities) into a
cache of their own, as `neurofdfa train` does with a folder of event files, and learns from them for one epoch
with FDFA, 2312-256-10, in batches of 64. The time is processor time.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import neurofdfa as nf
from neurofdfa.data import EventList, Split
from neurofdfa.data.recordings import EventStore, write_store

STEPS, CHANNELS, EVENTS, CLASSES = 100, 2 * 34 * 34, 4100, 10
DIFFERENT = 500
"""Recordings that are drawn; the others repeat them."""


def recordings(number: int) -> list[EventList]:
    rng = np.random.default_rng(0)
    drawn: list[EventList] = []
    for _ in range(min(number, DIFFERENT)):
        spikes = rng.choice(STEPS * CHANNELS, EVENTS, replace=False)
        drawn.append(EventList.of_events(spikes // CHANNELS, spikes % CHANNELS, STEPS, CHANNELS))
    return drawn


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=60_000)
    number = parser.parse_args().recordings
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cache"
        drawn = recordings(number)
        write_store(folder, (drawn[k % len(drawn)] for k in range(number)), CHANNELS)
        store = EventStore.open(folder)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
        data = Split(store.recordings(), torch.arange(number) % CLASSES)
        network = nf.feed_forward(CHANNELS, [256], CLASSES, generator=torch.Generator().manual_seed(0))
        nf.scale_to_rate(network, data.first(64)[0], 0.06)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        trainer = nf.Trainer(network, nf.FDFA(fraction=0.125), optimizer, engine="events")
        trainer.fit(data.select(slice(0, 64)), epochs=1, progress=False)  # loads the kernels
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        learning = 0.0
        for x, target in data.batches(64, seed=0):
            began = time.process_time()
            trainer.step(x, target)
            learning += time.process_time() - began
        whole = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{number} recordings, {size:.0f} MiB on disk: peak {peak / 2**20:.2f} GiB, of which "
        f"{before / 2**20:.2f} before the epoch; {whole:.0f} s of the processor, "
        f"{100 * learning / whole:.1f} % of it in learning steps"
    )


if __name__ == "__main__":
    main()
