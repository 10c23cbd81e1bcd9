"""The processes that `torchrun` starts, as a group (torch.distributed: gloo on CPUs, NCCL where CUDA is).

    torchrun --nproc-per-node 2 -m neurofdfa train --data mnist --out runs/mnist

An error in one process ends them all, and one of them says why.
"""

import signal
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from types import FrameType
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.distributed.launch import launched
from neurofdfa.errors import UserError

dist: Any = torch.distributed
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, e.g. while rank 0 prepares the data."""
COURTESY = 0.5
"""Seconds by which rank 0 may be the first to tell of an error that all have."""


class LostProcess(UserError):
    """Another process of the group is gone."""


@dataclass
class Traffic:
    """What this process has handed to the network so far: messages, and bytes in them."""

    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Processes(ProcessGroup):
    """A group over torch.distributed, whose process group has to be there. traffic: of this process."""

    traffic: Traffic = field(default_factory=Traffic)

    @torch.no_grad()
    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes: one all-reduce."""
        dense = [_dense(tensor) for tensor in tensors]
        if not dense:
            return
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in dense))
        bucket = torch.cat([tensor.reshape(-1).to(dtype) for tensor in dense])
        self._send(bucket, lambda: dist.all_reduce(bucket))
        sizes = [tensor.numel() for tensor in dense]
        for tensor, total in zip(dense, torch.split(bucket, sizes), strict=True):
            tensor.copy_(total.view_as(tensor))

    def tell(self, message: bytes) -> bytes:
        """What rank 0 has to say, to everybody: two broadcasts."""
        length = torch.tensor([len(message)])
        self._send(length, lambda: dist.broadcast(length, 0))
        text = torch.zeros(int(length), dtype=torch.uint8)
        if self.leads:
            text = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        self._send(text, lambda: dist.broadcast(text, 0))
        return text.numpy().tobytes()

    def _send(self, what: Tensor, send: Any) -> None:
        self.traffic.messages += 1
        self.traffic.bytes += what.numel() * what.element_size()
        try:
            send()
        except RuntimeError as error:
            raise LostProcess(
                "another process of this run has stopped (killed? out of memory?): "
                "start it again with --resume to go on after its last epoch"
            ) from error


def _dense(tensor: Tensor) -> Tensor:
    """A view with the dimensions in the order in which they lie in memory."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


@contextmanager
def joined() -> Generator[ProcessGroup]:
    """The group of the processes that torchrun started, or `SINGLE`.

    Of an error that several processes have one tells, the others exit in silence.
    """
    if launched() == 1:
        yield SINGLE
        return
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", store), rank=rank, world_size=size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes cannot reach each other: {error}") from error
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield Processes(rank, size)
    except BaseException as error:
        if not _is_first(store, rank):
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from error
        if isinstance(error, UserError):
            raise UserError(f"process {rank} of {size}: {error}") from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    dist.destroy_process_group()


def _is_first(store: Any, rank: int) -> bool:
    """Whether no other process has told of an error yet."""
    if rank:
        time.sleep(COURTESY)
    try:
        return store.add("spoken", 1) == 1
    except RuntimeError:  # the store is gone with its process
        return True


def _terminated(number: int, frame: FrameType | None) -> None:
    raise LostProcess("ended from outside, or since another process of this run has stopped")
