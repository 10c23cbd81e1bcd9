"""Event-driven inference: `neurofdfa.nn.network.Network.run` on spikes."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from neurofdfa.data.event_lists import Events
from neurofdfa.errors import UserError
from neurofdfa.events.batch_shape import Shape
from neurofdfa.events.notice import fall_back
from neurofdfa.events.session import KernelSession, PreparedBatch
from neurofdfa.events.support import why_not_network
from neurofdfa.nn.network import Network, Trajectory

_executions: "WeakKeyDictionary[Network, dict[int, KernelSession]]" = WeakKeyDictionary()


class Membranes(NamedTuple):
    """A trajectory and the membranes of the hidden layers, `[T, B, n]` each."""

    trajectory: Trajectory
    membranes: tuple[Tensor, ...]


def run(
    network: Network, x: Tensor | Events, *, spikes: bool = True, threads: int | None = None
) -> Trajectory:
    """Inference over sequences `[T, B, n_in]` without dropout, the same numbers as `network.run(x)`.

    x: a tensor, or `Events`. spikes: also return every hidden layer's spikes, `[T, B, n]`; without them only
    y is written, which is faster. threads: None for as many as torch uses. Falls back to the reference with
    one notice.
    """
    threads = threads or torch.get_num_threads()
    execution = _kept(network, threads)
    if execution is None:
        reason = why_not_network(network)
        if reason is not None:
            fall_back(reason)
            return network.run(x if isinstance(x, Tensor) else x.dense(network.readout.synapse.weight.dtype))
        execution = _new(network, threads)
    return _run(execution, x, spikes=spikes, membranes=False).trajectory


def run_membranes(network: Network, x: Tensor) -> Membranes:
    """As `run`, with membranes; for tests and pictures. Raises `UserError` where the engine cannot run it."""
    reason = why_not_network(network)
    if reason is not None:
        raise UserError(reason)
    return _run(_kept(network, 1) or _new(network, 1), x, spikes=True, membranes=True)


def _run(execution: KernelSession, x: Tensor | Events, *, spikes: bool, membranes: bool) -> Membranes:
    network = execution.network
    if len(x.shape) != 3 or 0 in x.shape or x.shape[2] != execution.n_in:
        raise UserError(f"input must be [T, B, {execution.n_in}] with at least one step, got {list(x.shape)}")
    steps, batch = x.shape[:2]
    size = 4 if execution.dtype == torch.float32 else 8
    layers = len(execution.hidden)
    shape = Shape(
        steps, batch, size, False, "none", 0, (0,) * layers, False, 0, execution.workers(steps, batch)
    )
    work = execution.work(shape)
    y = torch.empty(steps, batch, execution.n_out, dtype=execution.dtype)
    fired = _give(work, execution, "record", spikes, torch.uint8, x)
    seen = _give(work, execution, "membrane", membranes, execution.dtype, x)
    output = None
    if spikes and network.readout.population is not None:
        output = torch.empty(steps, batch, execution.n_out, dtype=torch.uint8)
    for frame in work.frames:
        frame.head.record_y = y.data_ptr()
        frame.layers[-1].record = 0 if output is None else output.data_ptr()
    execution.bind(work, None)
    _execute(execution, work, x)
    execution.settle(work, steps * batch)
    fired, seen = (_in_order(execution, recorded) for recorded in (fired, seen))
    sent = None if output is None else output.to(execution.dtype)
    return Membranes(Trajectory(y, tuple(s.to(execution.dtype) for s in fired), sent), seen)


def _execute(execution: KernelSession, work: PreparedBatch, x: Tensor | Events) -> None:
    alive = execution.give_input(work, x, None)
    execution.run(work)
    if not execution.dense and execution.saw_values(work):
        execution.dense = True
        _execute(execution, work, alive)


def _give(
    work: PreparedBatch,
    execution: KernelSession,
    field: str,
    wanted: bool,
    dtype: torch.dtype,
    x: Tensor | Events,
) -> tuple[Tensor, ...]:
    """Room for recordings of every hidden layer, or nothing."""
    steps, batch = x.shape[:2]
    tensors = tuple(torch.empty(steps, batch, n, dtype=dtype) for n in execution.recorded if wanted)
    for frame in work.frames:
        for index in range(1, len(frame.layers) - 1):
            setattr(frame.layers[index], field, tensors[index - 1].data_ptr() if wanted else 0)
    return tensors


def _in_order(execution: KernelSession, recorded: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What was recorded panel by panel, in the order of the neurons."""
    pairs = zip(recorded, execution.tilings, strict=False)
    return tuple(values if tiling is None else tiling.gather(values) for values, tiling in pairs)


def _kept(network: Network, threads: int) -> KernelSession | None:
    """What ran this network before, if its tensors and neurons are still the same."""
    found = _executions.get(network, {}).get(threads)
    return found if found is not None and found.fits() else None


def _new(network: Network, threads: int) -> KernelSession:
    execution = KernelSession(network, threads, None)
    _executions.setdefault(network, {})[threads] = execution
    return execution
