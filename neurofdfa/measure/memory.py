"""Peak memory that a piece of work adds, counted at the allocator."""

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

MIB = float(1 << 20)


def peak_mib(work: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Mebibytes that `work` holds at its peak beyond what was allocated before it.

    On the CPU every allocation and release of PyTorch's allocator is followed, to which comes what NumPy
    holds at the end, what `work` returns included (the event engine's buffers, which stay).
    On CUDA: the caching allocator's own peak.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    gc.collect()  # what was thrown away before shall not be released, and counted, meanwhile
    tracemalloc.start()
    try:
        with _silent_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            kept = work()
        arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        traces = tracemalloc.take_snapshot().filter_traces([arrays]).traces
        buffers = sum(trace.size for trace in traces)
        del kept
    finally:
        tracemalloc.stop()
    profiler: Any = recorded.profiler
    events: list[Any] = profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return (peak + buffers) / MIB


@contextmanager
def _silent_stderr() -> Generator[None]:
    """The profiler announces itself on the process's stderr, past Python; keep that off the user's screen."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as void:
        os.dup2(void.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
