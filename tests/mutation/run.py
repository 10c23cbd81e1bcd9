"""Give each mutant to the tests of its file in a forked process, and note which no test notices.

The process from which mutants are forked has loaded the libraries and none of the project's modules: a
mutant's file takes the place of the real one when it is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import io
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
SECONDS = 150
"""Of computing, for the tests of one mutant: more is noticed as well, by whoever waits."""

TARGETS: dict[str, tuple[str, ...]] = {
    "neurofdfa/nn/lif.py": (
        "tests/nn/test_lif.py", "tests/oracles/test_neurons.py", "tests/nn/test_network.py",
        "tests/nn/test_layer.py", "tests/oracles/test_exact_gradient.py",
    ),
    "neurofdfa/nn/neuron.py": (
        "tests/oracles/test_own_neurons.py", "tests/nn/test_layer.py", "tests/nn/test_lif.py",
        "tests/lab/test_own_run.py",
    ),
    "neurofdfa/rules/traces.py": (
        "tests/rules/test_traces.py", "tests/oracles/test_exact_gradient.py",
        "tests/oracles/test_own_neurons.py", "tests/oracles/test_neurons.py", "tests/nn/test_delay.py",
        "tests/oracles/test_convolution.py", "tests/measure/test_measures.py", "tests/measure/test_energy.py",
        "tests/rules/test_e_prop.py",
    ),
    "neurofdfa/rules/fdfa.py": (
        "tests/rules/test_fdfa.py", "tests/oracles/test_feedback_estimate.py",
        "tests/rules/test_every_rule.py", "tests/nn/test_delay.py", "tests/train/test_trainer.py",
        "tests/measure/test_energy.py",
    ),
    "hardware/neurofdfa_hardware/chip/fixed_point.py": (
        "tests/hardware/test_fixed_point.py", "tests/hardware/test_graded.py",
        "tests/hardware/test_fixed_point_random.py", "tests/hardware/test_parity.py",
    ),
    "hardware/neurofdfa_hardware/quantization/quantize.py": (
        "tests/hardware/test_quantize.py", "tests/hardware/test_graded.py", "tests/hardware/test_parity.py",
        "tests/hardware/test_netx.py",
    ),
    "hardware/neurofdfa_hardware/quantization/layer.py": (
        "tests/hardware/test_quantize.py", "tests/hardware/test_graded.py", "tests/hardware/test_parity.py",
        "tests/hardware/test_netx.py",
    ),
}  # fmt: skip
"""The files whose mutants are made, and the tests that are to notice, the likeliest first."""


class Outcome(NamedTuple):
    """mutants: tried; survivors: those that no test noticed."""

    mutants: int
    survivors: list[Mutant]


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another source than its file's."""

    def __init__(self, name: str, file: Path, source: str) -> None:
        self.name, self.file, self.source = name, file, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.file, loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.source, str(self.file), "exec"), module.__dict__)


def name_of(file: str) -> str:
    """The module's."""
    return file.removeprefix("hardware/").removesuffix(".py").replace("/", ".")


def tried(file: str, sample: int | None, seed: int, tell: Callable[[str], None] = print) -> Outcome:
    """Try the mutants of a file, or a sample of them drawn by the seed."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = mutants(text)
    if sample is not None and sample < len(found):
        places = sorted(random.Random(f"{file} {seed}").sample(range(len(found)), sample))
        found = [found[place] for place in places]
    tests = [test for test in TARGETS[file] if (ROOT / test).exists()]
    if noticed(file, text, tests):
        raise SystemExit(f"{file}: its tests fail without any change")
    survivors: list[Mutant] = []
    for mutant in found:
        if not noticed(file, mutant.source, tests):
            survivors.append(mutant)
            tell(f"survives  {file}:{mutant.line}  {mutant.what}")
    return Outcome(len(found), survivors)


def noticed(file: str, source: str, tests: Sequence[str]) -> bool:
    """Whether a test fails, or computes for too long, with this source in the file's place."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _test(file, source, tests)
    _, status = os.waitpid(child, 0)
    return status != 0


def _test(file: str, source: str, tests: Sequence[str]) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        sys.meta_path.insert(0, _Instead(name_of(file), ROOT / file, source))
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", *tests]))
    finally:
        os._exit(status if 0 <= status < 128 else 1)


def run(files: Sequence[str], sample: int | None, seed: int) -> bool:
    """Try the mutants of all these files and print what was found; whether 90 % were noticed in each."""
    good = True
    for file in files:
        started = time.monotonic()
        found = tried(file, sample, seed)
        killed = found.mutants - len(found.survivors)
        good &= killed >= 0.9 * found.mutants
        print(
            f"{file}: {killed} of {found.mutants} mutants noticed ({killed / found.mutants:.0%}) in "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
    return good
