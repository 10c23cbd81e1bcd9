"""Kill a sweep again and again and compare what is left with an undisturbed one, and with Ray's.

    python benchmarks/kills.py --out runs/kills

60 trials (48 that train, 12 that must fail). The process is killed by SIGKILL at random moments, every other
time with all its workers; then the same command goes on. Prints one JSON object.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from neurofdfa.lab.ablation import ablate
from neurofdfa.lab.ledger import Ledger

STUDY = """
name = "sixty"
seeds = [0, 1, 2]
[base]
data = { encoder = "poisson", steps = 3 }
"network.hidden" = [8]
"training.epochs" = 3
"training.batch" = 256
"training.warmup" = 2
[[cases]]
"rule.name" = "fdfa"
[[cases]]
"rule.name" = "dfa"
[[cases]]
"rule.name" = "dkp"
[[cases]]
"rule.name" = "bptt"
[[cases]]
"rule.name" = "dfa"
"training.start_from" = "nowhere"
[grid]
"training.lr" = [0.003, 0.03]
"network.reset" = ["hard", "soft"]
"""


def trials(folder: Path) -> list[tuple[Any, ...]]:
    """Everything that a ledger says, but for times and memory."""
    if not (folder / "ledger.sqlite").exists():
        return []
    with Ledger(folder / "ledger.sqlite") as ledger:
        return [
            (t.number, t.hash, t.seed, t.settings, t.status, t.reason, t.result, t.folder)
            for t in ledger.trials()
        ]


def finished(folder: Path) -> int:
    return sum(t[4] == "done" for t in trials(folder))


def kill_at_random(command: list[str], folder: Path, rng: np.random.Generator, whole_group: bool) -> int:
    """Start the sweep, kill it after 0 to 5 more trials and up to 3 seconds; returns what was done."""
    goal, started = (
        finished(folder) + int(rng.integers(0, 6)),
        subprocess.Popen(command, start_new_session=True),
    )
    while finished(folder) < goal and started.poll() is None:
        time.sleep(0.05)
    time.sleep(float(rng.uniform(0, 3)))
    if started.poll() is not None:
        raise SystemExit("the sweep ended before it was killed: take more trials")
    (os.killpg if whole_group else os.kill)(started.pid, signal.SIGKILL)
    started.wait()
    time.sleep(2)  # its workers notice and end by themselves
    return finished(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-ray", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    study, cut = given.out / "study.toml", given.out / "cut"
    study.write_text(STUDY)
    rng = np.random.default_rng(given.seed)
    start = [sys.executable, "-m", "neurofdfa", "ablate", str(study), "--workers", "2", "-q", "--out"]
    done_at_kills = [kill_at_random([*start, str(cut)], cut, rng, k % 2 == 1) for k in range(given.kills)]
    subprocess.run([*start, str(cut)], check=True)
    subprocess.run([*start, str(given.out / "whole")], check=True)
    found = {
        "trials": len(trials(cut)),
        "done": finished(cut),
        "done_at_kills": done_at_kills,
        "same_ledger": trials(cut) == trials(given.out / "whole"),
        "leftovers": [str(p) for p in (cut / "runs").glob("*/.*")],
    }
    if not given.no_ray:
        ray = ablate(study, given.out / "ray", workers_at_once=2, engine="ray")
        found |= {"same_under_ray": trials(given.out / "ray") == trials(cut), "done_under_ray": ray.done}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
