"""Memory that a training step adds, against the number of steps, each in a process of its own."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurofdfa.bench.compare import OURS
from neurofdfa.bench.nets import net_named, prepare
from neurofdfa.bench.peers import STILL, peer, sort_out
from neurofdfa.bptt import BPTT
from neurofdfa.engine.events import EventLearner
from neurofdfa.errors import UserError
from neurofdfa.learner import Learner, adam
from neurofdfa.network import Network, feed_forward
from neurofdfa.neuron import LIF
from neurofdfa.signal import rule_named

PER_KIB = 1024


class Footprint(NamedTuple):
    """bytes: growth of the peak resident memory by training steps on T time steps, the input excluded."""

    peer: str
    rule: str
    T: int
    batch: int
    bytes: int


def footprints(
    against: Sequence[str],
    rules: Sequence[str] = ("fdfa",),
    steps: Sequence[int] = (100, 400, 1600),
    *,
    net: str = "A",
    batch: int = 64,
    seed: int = 0,
) -> Iterator[Footprint]:
    """Ours with each rule, then every peer with BPTT. Raises `UserError` for what is unknown or fails."""
    net_named(net)
    sort_out(against)
    tasks = [(OURS, rule) for rule in rules] + [(name, "bptt") for name in against]
    for name, rule in tasks:
        for count in steps:
            call = f"added{(name, rule, net, count, batch, seed)}"
            code = f"from neurofdfa.bench.footprint import added; print({call})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"measuring {name} failed: {done.stderr.strip().splitlines()[-1]}")
            yield Footprint(name, rule, count, batch, json.loads(done.stdout.splitlines()[-1]))


def added(name: str, rule: str, net_name: str, steps: int, batch: int, seed: int) -> int:
    """Growth of this process's peak: libraries and code are loaded by a small step before."""
    torch.set_num_threads(1)
    net = net_named(net_name)._replace(steps=steps)
    network, x, target = prepare(net, batch, seed)

    def task(x: Tensor, target: Tensor) -> Callable[[], Any]:
        fresh = feed_forward(net.n_in, net.hidden, net.n_out, neuron=LIF(tau_mem=5e-3))
        fresh.load_state_dict(network.state_dict())
        return _trainer(name, rule, fresh, x, target)

    task(x[:2, :2].contiguous(), target[:2])()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = task(x, target)
    step()
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * PER_KIB


def _trainer(name: str, rule: str, network: Network, x: Tensor, target: Tensor) -> Callable[[], Any]:
    if name != OURS:
        return partial(peer(name, network).learner(), x, target)
    if rule == "bptt":
        exact = BPTT(network, adam(STILL))
        return lambda: exact.train(x, target)
    options = {"fraction": 1 / 8} if rule == "fdfa" else {}
    kind = EventLearner if rule in ("fdfa", "dfa", "dkp", "readout-only") else Learner
    learner = kind(network, rule_named(rule, **options), adam(STILL))
    return lambda: learner.train(x, target)
