"""Start real processes through torchrun."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(*arguments: str, processes: int = 2) -> list[str]:
    """A torchrun command line on this machine, on a free port; to run in `ROOT`. arguments: -m module, …"""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*start, *arguments]


def torchrun(*arguments: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run it to its end, at most 5 minutes."""
    return subprocess.run(
        command(*arguments, processes=processes),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
