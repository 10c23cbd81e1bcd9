"""Choose the engine: events where it can, the reference everywhere else."""

from typing import Any, Literal

import torch

from neurofdfa.engine.events import EventLearner
from neurofdfa.engine.notice import fall_back
from neurofdfa.engine.support import why_not_rule
from neurofdfa.errors import UserError
from neurofdfa.homeostasis import RateTarget
from neurofdfa.impairments import Impairments
from neurofdfa.learner import Learner
from neurofdfa.loss import CrossEntropy, Loss
from neurofdfa.network import Network
from neurofdfa.signal.interface import OptimizerFactory, Rule
from neurofdfa.team import ALONE, Team

Engine = Literal["events", "reference"]


def learner(
    network: Network,
    rule: Rule[Any],
    optimizer: OptimizerFactory | None = None,
    *,
    loss: Loss | None = None,
    update_every: int | None = None,
    rate_target: RateTarget | None = None,
    impairments: Impairments | None = None,
    generator: torch.Generator | None = None,
    team: Team = ALONE,
    engine: Engine = "events",
    threads: int | None = None,
    chunk: int | None = None,
) -> Learner:
    """A learner on the engine asked for, or on the reference (with one notice) where it cannot do the job.

    Arguments as for `Learner`; threads, chunk: as for `EventLearner`. Raises `UserError` for another engine.
    """
    if engine not in ("events", "reference"):
        raise UserError(f"unknown engine '{engine}': choose events or reference")
    if engine == "events":
        reason = why_not_rule(network, rule, loss or CrossEntropy(), update_every, rate_target, impairments)
        if reason is None:
            return EventLearner(
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
    return Learner(
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
