"""Memory that a training step adds, against the number of steps, each in a process of its own."""

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from neurofdfa.bench.compare import OURS
from neurofdfa.bench.nets import net_named, prepare
from neurofdfa.bench.peers import STILL, peer, sort_out
from neurofdfa.errors import UserError
from neurofdfa.lab.results import Footprint
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import Network, feed_forward
from neurofdfa.rules import DEFAULT, EXACT, RULES, rule_named
from neurofdfa.train.trainer import Trainer

PER_KIB = 1024
PROCESSES = 3
"""Processes of which the median counts."""
WARM = 25
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}
"""glibc hands freed memory back at once: what counts is what lives, not what the allocator keeps."""
LOCK = 1 | 2 | 4
"""MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT"""


def footprints(
    against: Sequence[str],
    rules: Sequence[str] = (DEFAULT.name,),
    steps: Sequence[int] = (100, 400, 1600),
    *,
    net: str = "A",
    batch: int = 64,
    seed: int = 0,
) -> Iterator[Footprint]:
    """Ours with each rule, then every peer, which goes back through time. Raises `UserError` for what is
    unknown or fails.
    """
    net_named(net)
    sort_out(against)
    tasks = [(OURS, rule) for rule in rules] + [(name, EXACT.name) for name in against]
    for name, rule in tasks:
        for count in steps:
            measured = [_measure(name, rule, net, count, batch, seed) for _ in range(PROCESSES)]
            yield Footprint(peer=name, rule=rule, T=count, batch=batch, bytes=int(median(measured)))


def _measure(name: str, rule: str, net: str, steps: int, batch: int, seed: int) -> int:
    call = f"added{(name, rule, net, steps, batch, seed)}"
    code = f"from neurofdfa.bench.footprint import added; print({call})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | GIVE_BACK
    )
    if done.returncode:
        raise UserError(f"measuring {name} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def added(name: str, rule: str, net_name: str, steps: int, batch: int, seed: int) -> int:
    """Bytes by which two steps of a new learner raise this process's peak.

    A learner before it, on a shorter sequence, has loaded libraries and code and given its memory back.
    """
    torch.set_num_threads(1)
    net = net_named(net_name)._replace(steps=steps)
    network, x, target = prepare(net, batch, seed)

    def task(x: Tensor, target: Tensor) -> Callable[[], Any]:
        fresh = feed_forward(
            net.n_in, net.hidden, net.n_out, neuron=LIF(tau_mem=5e-3, reset="soft", decay_bits=None)
        )
        fresh.load_state_dict(network.state_dict())
        return _trainer(name, rule, fresh, x, target)

    task(x[:WARM].contiguous(), target)()
    gc.collect()
    before = _start()
    step = task(x, target)
    step()
    step()
    return _peak() - before


def _start() -> int:
    """The resident memory now, from where the peak is counted.

    Pages are locked where that is allowed: what the system takes back meanwhile would be missing in the peak.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        libc.mlockall(LOCK)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        return _kib("VmRSS") * PER_KIB
    return _peak()


def _peak() -> int:
    try:
        return _kib("VmHWM") * PER_KIB
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PER_KIB


def _kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _trainer(name: str, rule: str, network: Network, x: Tensor, target: Tensor) -> Callable[[], Any]:
    if name != OURS:
        return partial(peer(name, network).learner(), x, target)
    optimizer = torch.optim.Adam(network.parameters(), lr=STILL)
    ours = Trainer(network, rule_named(rule, **RULES[rule].frugal), optimizer)
    return lambda: ours.step(x, target)
