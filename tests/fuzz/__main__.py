"""`python -m tests.fuzz [--count N] [--seed S] [--processes P] [--format NAME …]`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.readers import READERS
from tests.fuzz.run import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Damaged files for every reader."
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--format", nargs="*", default=list(READERS), choices=list(READERS))
    chosen = parser.parse_args()
    started = time.monotonic()
    found = run(chosen.format, chosen.count, chosen.seed, chosen.processes)
    print(
        f"{found.files} damaged files of {len(chosen.format)} formats in {time.monotonic() - started:.0f} s: "
        f"{found.read} read, {found.refused} refused in one line, {found.defects.total()} defects"
    )
    for what, times in found.defects.most_common():
        name, seed = found.examples[what]
        print(f"  {times:5d}  {what}   (--format '{name}' --seed {seed} --count 1)")
    sys.exit(bool(found.defects))
