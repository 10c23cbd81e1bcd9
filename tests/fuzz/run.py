"""Give damaged files to the readers, and count what is neither read nor refused in one line.

A worker process has 1 GiB more memory than it began with, and 10 seconds of computing for each
file.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 10
MIB = 1024


@dataclass
class Tally:
    """files: given. read: taken as good; refused: with a line that says why. defects: the rest, by where."""

    files: int = 0
    read: int = 0
    refused: int = 0
    defects: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.files + other.files, self.read + other.read, self.refused + other.refused,
            self.defects + other.defects, other.examples | self.examples,
        )  # fmt: skip


class _Hang(BaseException):
    """The time is over."""


def _limit() -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + (MIB << 20), resource.RLIM_INFINITY))


def _alarm(*_: Any) -> None:
    raise _Hang


def attempt(
    reader: Any, content: bytes, prepared: Path, work: Path, *, seconds: float = SECONDS
) -> str | None:
    """Let a reader read its folder with one file replaced; None, "refused", or where it broke."""
    from tests.fuzz.readers import ALLOWED

    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder)
    (folder / reader.damaged).write_bytes(content)
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            reader.read(folder)
    except ALLOWED as error:
        return "refused" if "\n" not in str(error) else f"more than one line: {reader.name}"
    except _Hang:
        return f"no end after {seconds:g} s: {reader.name}"
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "neurofdfa" in f.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
        return f"{type(error).__name__} in {where}: {reader.name}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _some(names: Sequence[str], seeds: Sequence[int]) -> Tally:
    """Mutants of every format, one per seed."""
    import torch

    from tests.fuzz.mutate import mutated
    from tests.fuzz.readers import READERS

    torch.set_num_threads(1)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="neurofdfa-fuzz-") as name:
        work = Path(name)
        os.environ["NEUROFDFA_CACHE"] = str(work / "cache")
        good: dict[str, tuple[Path, bytes]] = {}
        for each in names:
            prepared = work / f"good-{len(good)}"
            prepared.mkdir()
            READERS[each].write(prepared)
            good[each] = prepared, (prepared / READERS[each].damaged).read_bytes()
            _limit()
        for seed in seeds:
            for each in names:
                prepared, content = good[each]
                damaged = mutated(content, random.Random(f"{each} {seed}"))
                found = attempt(READERS[each], damaged, prepared, work)
                tally.files += 1
                tally.read += found is None
                tally.refused += found == "refused"
                if found not in (None, "refused"):
                    tally.defects[found] += 1
                    tally.examples.setdefault(found, (each, seed))
            shutil.rmtree(work / "cache", ignore_errors=True)
    return tally


def run(names: Sequence[str], count: int, seed: int = 0, processes: int = 1) -> Tally:
    """`count` files, spread evenly over the formats; always the same for the same seed."""
    per_format = -(-count // len(names))
    seeds = range(seed, seed + per_format)
    parts = [(names, seeds[start::processes]) for start in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.starmap(_some, parts), Tally())


def kept() -> Iterator[tuple[str, bytes]]:
    """Files that once broke a reader: the format's name, and the content."""
    for case in json.loads((CORPUS / "cases.json").read_text(encoding="utf-8")):
        yield case["format"], bytes.fromhex(case["content"])
