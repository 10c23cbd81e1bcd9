"""Training and inference beside other simulators and beside the floors, in one process."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from neurofdfa.bench.nets import dense_products, least_work, multiply, net_named, prepare
from neurofdfa.bench.peers import STILL, Peer, peer
from neurofdfa.bench.rounds import Clock, ratio, time_rounds
from neurofdfa.events.inference import run
from neurofdfa.lab.results import Floor, Timing
from neurofdfa.nn.network import Network
from neurofdfa.rules import DEFAULT
from neurofdfa.train.trainer import Trainer

Kind = Literal["train", "infer"]
OURS, PRODUCTS, SINGLE = "neurofdfa", "dense products alone", "neurofdfa, one thread"


def compare(
    kind: Kind,
    against: Sequence[str] = ("snntorch",),
    *,
    nets: Sequence[str] = ("A",),
    batches: Sequence[int] = (128, 8),
    rounds: int = 7,
    threads: int = 1,
    fraction: float = 1 / 8,
    seed: int = 0,
) -> Iterator[tuple[list[Timing], Floor | None]]:
    """Rows of one network and batch size after the other, and training's floor.

    One thread is timed by CPU time, several by the wall clock. against: installed peers (`peers.sort_out`).
    Raises `UserError` for unknown networks or peers.
    """
    cases = [(name, net_named(name), batch) for name in nets for batch in batches]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, net, batch in cases:
            network, x, target = prepare(net, batch, seed)
            others = [peer(other, network) for other in against]
            rates = tuple(float(s.mean()) for s in run(network, x).spikes)
            for other in others:
                other.match(rates, x[:, :16])
            peer_rates = {other.name: tuple(other.rates(x)) for other in others}
            tasks = _tasks(kind, network, others, x, target, fraction, threads)
            if kind == "train":
                operands = dense_products(net, batch)
                tasks[PRODUCTS] = lambda operands=operands: multiply(operands)
            clock: Clock = "cpu" if threads == 1 else "wall"
            seconds = time_rounds(tasks, rounds, clock, seed)
            rows = [_row(name, batch, other, seconds, rates, peer_rates[other.name]) for other in others]
            floor = None
            if kind == "train":
                work = least_work(net, rates, fraction)
                share = ratio(seconds[OURS], seconds[PRODUCTS])
                more = work.dense / work.online_events
                alone = ratio(seconds[SINGLE], seconds[OURS]) if SINGLE in seconds else None
                floor = Floor(
                    net=name,
                    batch=batch,
                    dense_products=share.median,
                    dense_products_spread=share.spread,
                    events=share.median * more,
                    events_spread=(share.spread[0] * more, share.spread[1] * more),
                    algorithm=work.back_events / work.online_events,
                    threads=None if alone is None else alone.median,
                    threads_spread=None if alone is None else alone.spread,
                )
            yield rows, floor
    finally:
        torch.set_num_threads(before)


def _tasks(
    kind: Kind, network: Network, others: list[Peer], x: Tensor, target: Tensor, fraction: float, threads: int
) -> dict[str, Callable[[], Any]]:
    tasks: dict[str, Callable[[], Any]] = {}
    for key, count in ((OURS, threads), (SINGLE, 1))[: 1 if threads == 1 else 2]:
        if kind == "infer":
            tasks[key] = lambda count=count: run(network, x, spikes=False, threads=count)
        else:
            learner = Trainer(
                network,
                DEFAULT(fraction=fraction),
                torch.optim.Adam(network.parameters(), lr=STILL),
                threads=count,
                engine="events",
            )
            tasks[key] = lambda learner=learner: learner.step(x, target)
    for other in others:
        tasks[other.name] = _inferrer(other, x) if kind == "infer" else partial(other.learner(), x, target)
    return tasks


def _inferrer(other: Peer, x: Tensor) -> Callable[[], Tensor]:
    def infer() -> Tensor:
        with torch.no_grad():
            return other.forward(x)

    return infer


def _row(
    name: str,
    batch: int,
    other: Peer,
    seconds: dict[str, list[float]],
    rates: tuple[float, ...],
    peer_rates: tuple[float, ...],
) -> Timing:
    found = ratio(seconds[other.name], seconds[OURS])
    ours, theirs = (statistics.median(seconds[key]) for key in (OURS, other.name))
    return Timing(
        net=name,
        batch=batch,
        peer=other.name,
        version=other.version,
        ratio=found.median,
        spread=found.spread,
        seconds=ours,
        peer_seconds=theirs,
        rates=rates,
        peer_rates=peer_rates,
    )
