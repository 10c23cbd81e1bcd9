"""What several processes exchange, and what they gain: measured, beside torch's own DDP.

    torchrun --nproc-per-node 2 benchmarks/scaling.py --out runs/scaling.json

Bytes: counted where they are handed to torch.distributed, for widths and rules. Time: the same global batch
in one process and in all of them, one thread each; the median over rounds of the ratio within a round. DDP:
BPTT in `torch.nn.parallel.DistributedDataParallel`, its buckets counted in a communication hook.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.distributed.torchrun import Processes, joined
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import Network, feed_forward, scale_to_rate
from neurofdfa.rules import rule_named
from neurofdfa.train.trainer import Engine, Trainer

K, CHANNELS = 20, 700
PROBED = {"fdfa": {"fraction": 0.125}}
dist: Any = torch.distributed


def network_of(width: int, layers: int = 2) -> Network:
    lif = LIF(tau_mem=10e-3, tau_syn=5e-3, reset="soft", decay_bits=None)
    generator = torch.Generator().manual_seed(0)
    return feed_forward(CHANNELS, [width] * layers, K, neuron=lif, readout="leaky", generator=generator)


def batch_of(steps: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(steps, batch, CHANNELS, generator=generator) < 0.05).float()
    return x, torch.randint(0, K, (batch,), generator=generator)


def trainer(rule: str, network: Network, group: ProcessGroup, engine: Engine) -> Trainer:
    made = rule_named(rule, **PROBED.get(rule, {}))
    return Trainer(
        network, made, torch.optim.Adam(network.parameters(), lr=1e-3), group=group, engine=engine, threads=1
    )


# ---- BPTT in torch's DDP ---------------------------------------------------------------------------------
class Unrolled(torch.nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.loss = network, CrossEntropy()

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        steps = self.network.steps(x, differentiable=True)
        return torch.stack([self.loss.value(step.y, target).mean() for step in steps]).mean()


def ddp_step(
    network: Network, group: ProcessGroup, x: torch.Tensor, target: torch.Tensor
) -> tuple[Any, list[int]]:
    model, sent = DistributedDataParallel(Unrolled(network)), [0]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def counted(group, bucket):  # DDP wants its own annotations or none
        sent[0] += bucket.buffer().numel() * bucket.buffer().element_size()
        return allreduce_hook(group, bucket)

    model.register_comm_hook(None, counted)
    mine, wanted = x[:, group.rank :: group.size].contiguous(), target[group.rank :: group.size]

    def step() -> None:
        optimizer.zero_grad()
        model(mine, wanted).backward()
        optimizer.step()

    return step, sent


# ---- what is measured ------------------------------------------------------------------------------------
def traffic(group: Processes, rule: str, width: int) -> dict[str, Any]:
    x, target = batch_of(2, 8)
    made = trainer(rule, network_of(width), group, "reference")
    made.step(x, target)  # a feedback gradient exists from the first batch on
    before = (group.traffic.messages, group.traffic.bytes)
    made.step(x, target)
    network = made.network
    weights = 4 * sum(p.numel() for p in network.parameters())
    return {
        "rule": rule,
        "width": width,
        "messages": group.traffic.messages - before[0],
        "bytes": group.traffic.bytes - before[1],
        "weights_bytes": weights,
    }


def ddp_traffic(group: Processes, width: int) -> dict[str, Any]:
    step, sent = ddp_step(network_of(width), group, *batch_of(2, 8))
    step()
    sent[0] = 0
    step()
    return {"rule": "bptt (DDP)", "width": width, "bytes": sent[0]}


def seconds(step: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Per step: by the clock, and of this process' CPU (all its threads)."""
    started, busy = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - started) / repeats, (time.process_time() - busy) / repeats


def throughput(group: Processes, rule: str, engine: str, width: int, rounds: int) -> dict[str, Any]:
    """One process while the others wait, then all of them, in every round."""
    x, target = batch_of(50, 128)
    network = network_of(width)
    scale_to_rate(network, x[:, :32], 0.07)
    weights = {name: value.clone() for name, value in network.state_dict().items()}

    def fresh() -> Network:
        made = network_of(width)
        made.load_state_dict(weights)
        return made

    one = trainer("bptt" if engine == "ddp" else rule, fresh(), SINGLE, engine)
    many: Callable[[], object]
    if engine == "ddp":
        many = ddp_step(fresh(), group, x, target)[0]
    else:
        shared = trainer(rule, fresh(), group, engine)
        many = lambda: shared.step(x, target)  # noqa: E731
    alone, together = [], []
    for number in range(rounds + 1):
        dist.barrier()
        t_one = seconds(lambda: one.step(x, target)) if group.leads else (1.0, 1.0)
        dist.barrier()
        t_many = seconds(many)
        if number:  # the first round warms up
            alone.append(t_one)
            together.append(t_many)
    found: dict[str, Any] = {"rule": rule, "engine": engine, "width": width}
    for place, clock in enumerate(("wall", "cpu")):
        ratios = [a[place] / b[place] for a, b in zip(alone, together, strict=True)]
        found[clock] = {
            "seconds_one": statistics.median(a[place] for a in alone),
            "seconds_all": statistics.median(b[place] for b in together),
            "ratio": statistics.median(ratios),
            "spread": [min(ratios), max(ratios)],
        }
    return found


def bandwidth(group: Processes, numbers: int) -> float:
    """Bytes per second of one all-reduce of so many float32."""
    tensor = torch.zeros(numbers)
    dist.barrier()
    return 4 * numbers / seconds(lambda: group.sum_([tensor]), 10)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--engines", default="events,reference,ddp")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with joined() as group:
        if not isinstance(group, Processes):
            raise SystemExit("start it with torchrun: see the top of this file")
        rules = ("bptt", "dfa", "fdfa", "dkp", "e-prop", "readout-only")
        found: dict[str, Any] = {
            "processes": group.size,
            "traffic": [traffic(group, r, w) for w in (64, 256, 1024) for r in rules],
        }
        found["traffic"] += [ddp_traffic(group, w) for w in (64, 256, 1024)]
        if not given.no_times:
            found["bytes_per_second"] = {n: bandwidth(group, n) for n in (100, 10_000, 1_000_000)}
            wanted = (("fdfa", "events"), ("fdfa", "reference"), ("bptt", "reference"), ("bptt", "ddp"))
            found["throughput"] = [
                throughput(group, r, e, 256, given.rounds) for r, e in wanted if e in given.engines.split(",")
            ]
        if group.leads:
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(found, indent=1))
            print(json.dumps(found))


if __name__ == "__main__":
    main()
