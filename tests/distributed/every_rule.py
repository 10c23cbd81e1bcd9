"""What torchrun starts in `test_equality.py`: train every rule as a group and, on rank 0, alone; compare."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from neurofdfa.distributed.group import SINGLE
from neurofdfa.distributed.torchrun import Processes, joined
from neurofdfa.nn.dropout import Dropout
from neurofdfa.rules import RULES, rule_named
from neurofdfa.rules.traces import PerNeuron
from neurofdfa.train.device import Device
from neurofdfa.train.rate_regulariser import RateRegulariser
from neurofdfa.train.trainer import Trainer
from tests.rules.slow import tiny

STEPS = 9
BATCHES = (5, 4, 1, 6)
"""Samples per batch: unequal shares, and a batch with nothing for the second process."""


class Case(NamedTuple):
    rule: str
    options: Mapping[str, Any] = MappingProxyType({})
    kind: str = "reference"
    strength: float = 0.0
    update_every: int | None = None


PLAIN = [
    *(Case(name) for name in RULES),
    Case("dfa", {"trace": PerNeuron()}),
    Case("e-prop", {"feedback": "learnt"}),
    Case("e-prop", {"feedback": "symmetric"}),
    Case("fdfa", {"fraction": 0.2, "every": 2, "probe": "gaussian"}),
    Case("fdfa", {"optimizer": "adam", "kernel": "output"}),
    Case("weight-forward-gradient", {"shared": True}),
    Case("guided-forward-gradient", {"guess": "random", "target": "local"}),
    Case("bptt", {"window": 4}),
    Case("e-prop", {"feedback": "learnt", "trace": PerNeuron()}, kind="events"),
    *(Case(name, kind="events") for name in ("fdfa", "dfa", "dkp", "drtp", "sbd", "readout-only")),
    Case("fdfa", {"fraction": 0.2, "every": 2}, kind="events"),
    Case("fdfa", {"probe": "gaussian"}, kind="events"),
]
"""One message per update is enough for these."""
CASES = [
    *PLAIN,
    *(Case(name, strength=0.5, update_every=4) for name in RULES if name != "bptt"),
    Case("bptt", strength=0.5),
    Case("bptt", {"window": 4}, strength=0.5),
    Case("sbd", {"power": 1.0, "decorrelation": 1.0}),
    Case("dkp", kind="dropped broadcasts"),
    *(Case(name, kind="events", strength=0.5) for name in ("fdfa", "dfa", "dkp")),
    Case("fdfa", kind="events on values", strength=0.5),
    Case("fdfa", kind="events", update_every=4),
    Case("fdfa", {"trace": PerNeuron()}, kind="events", update_every=4),
]


def learner_of(case: Case, group: Any) -> Trainer:
    network = tiny(recurrent=case.kind != "events", bias=True)
    for layer in network.hidden:
        layer.dropped = Dropout(0.0 if case.kind.startswith("events") and case.rule == "fdfa" else 0.2)
    given: dict[str, Any] = {
        "rate_regulariser": RateRegulariser(strength=case.strength),
        "generator": torch.Generator().manual_seed(3),
        "group": group,
    }
    sgd = torch.optim.SGD(network.parameters(), lr=0.05)
    rule = rule_named(case.rule, **case.options)
    if case.kind == "dropped broadcasts":
        given["device"] = Device(drop=0.3, feedback_bits=4)
    if case.kind.startswith("events"):
        given |= {"engine": "events", "chunk": 4}
    else:
        given["engine"] = "reference"
    return Trainer(network, rule, sgd, **given, update_every=case.update_every)


def outcome(case: Case, group: Any) -> list[torch.Tensor]:
    """Everything that training leaves behind."""
    learner, generator = learner_of(case, group), torch.Generator().manual_seed(8)
    left: list[Any] = []
    for batch in BATCHES:
        x = (torch.rand(STEPS, batch, 7, generator=generator) < 0.5).double()
        if case.kind.endswith("values"):
            x = x * 0.7
        left.extend(learner.step(x, torch.randint(0, 3, (batch,), generator=generator)))
    left += [p.detach().clone() for p in learner.network.parameters()]
    left += [*learner.rates, *learner.rule.trainable(learner.rule_state)]
    left += list(getattr(learner.rule_state, "moments", ()))
    left.append(torch.rand(3, generator=learner.generator))
    return [t for t in tree_leaves(left) if isinstance(t, torch.Tensor)]


def distance(ours: list[torch.Tensor], alone: list[torch.Tensor]) -> float:
    """The largest relative difference of any tensor."""
    pairs = [(a.double(), b.double()) for a, b in zip(ours, alone, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in pairs)


def main(out: Path) -> None:
    found: dict[str, dict[str, float]] = {}
    with joined() as group:
        assert isinstance(group, Processes)
        for number, case in enumerate(CASES):
            before = group.traffic.messages
            ours = outcome(case, group)
            messages = group.traffic.messages - before
            group.sum_(everywhere := [t.clone() for t in ours])
            alone = outcome(case, SINGLE)
            start = torch.cat([p.detach().flatten() for p in learner_of(case, SINGLE).network.parameters()])
            end = torch.cat([t.flatten() for t in alone[4 * len(BATCHES) :]])[: len(start)]
            found[f"{number} {' '.join(map(str, case))}"] = {
                "distance": distance(ours, alone),
                "apart": distance([t / group.size for t in everywhere], ours),
                "moved": float((end - start).norm() / start.norm()),
                "messages": messages,
            }
        if group.leads:
            out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
