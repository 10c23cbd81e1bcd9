"""The same sweep on a real Ray cluster, started here, ends with the same ledger."""

from pathlib import Path

import pytest

from neurofdfa.lab.ablation import ablate
from neurofdfa.lab.ledger import Ledger

STUDY = """
seeds = [0, 1]
[base]
"data.encoder" = "poisson"
"data.steps" = 3
"network.hidden" = [8]
"training.epochs" = 1
"training.batch" = 256
"training.warmup" = 2
[[cases]]
"rule.name" = "fdfa"
[[cases]]
"rule.name" = "dfa"
[[cases]]
"rule.name" = "dfa"
"training.start_from" = "nowhere"
[grid]
"training.lr" = [0.01, 0.03]
"""


@pytest.mark.serial
@pytest.mark.timeout(600)
def test_ray_ends_with_the_ledger_of_local_workers(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'neurofdfa[cluster]'")
    file = tmp_path / "s.toml"
    file.write_text(STUDY)
    local = ablate(file, tmp_path / "local", workers_at_once=2)
    distributed = ablate(file, tmp_path / "ray", workers_at_once=2, engine="ray")
    assert not ray.is_initialized()
    assert (local.done, local.failed) == (8, 4)
    assert distributed.fingerprint == local.fingerprint
    with Ledger(local.ledger) as a, Ledger(distributed.ledger) as b:
        assert [(t.hash, t.reason, t.result) for t in a.trials()] == [
            (t.hash, t.reason, t.result) for t in b.trials()
        ]
