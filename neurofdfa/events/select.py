"""Choose the engine: events where it can, the reference everywhere else."""

from typing import Any, Literal

import torch

from neurofdfa.distributed.group import SINGLE, ProcessGroup
from neurofdfa.errors import UserError
from neurofdfa.events.notice import fall_back
from neurofdfa.events.support import why_not_rule
from neurofdfa.events.trainer import EventTrainer
from neurofdfa.nn.loss import CrossEntropy, Loss
from neurofdfa.nn.network import Network
from neurofdfa.rules.base import OptimizerFactory, Rule
from neurofdfa.train.device import Device
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer

Engine = Literal["events", "reference"]


def learner(
    network: Network,
    rule: Rule[Any],
    optimizer: OptimizerFactory | None = None,
    *,
    loss: Loss | None = None,
    update_every: int | None = None,
    rate_target: RateRegulariser | None = None,
    impairments: Device | None = None,
    generator: torch.Generator | None = None,
    team: ProcessGroup = SINGLE,
    engine: Engine = "events",
    threads: int | None = None,
    chunk: int | None = None,
) -> Trainer:
    """A learner on the engine asked for, or on the reference (with one notice) where it cannot do the job.

    Arguments as for `Trainer`; threads, chunk: as for `EventTrainer`. Raises `UserError` for another engine.
    """
    if engine not in ("events", "reference"):
        raise UserError(f"unknown engine '{engine}': choose events or reference")
    if engine == "events":
        reason = why_not_rule(network, rule, loss or CrossEntropy(), update_every, rate_target, impairments)
        if reason is None:
            return EventTrainer(
                network,
                rule,
                optimizer,
                loss=loss,
                update_every=update_every,
                rate_target=rate_target,
                generator=generator,
                team=team,
                threads=threads,
                chunk=chunk,
            )
        fall_back(reason)
    return Trainer(
        network,
        rule,
        optimizer,
        loss=loss,
        update_every=update_every,
        rate_target=rate_target,
        impairments=impairments,
        generator=generator,
        team=team,
    )
