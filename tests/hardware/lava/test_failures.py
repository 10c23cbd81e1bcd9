"""Every way a run can go wrong, done for real; each gives its own error and leaves nothing behind."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.lava import (
    Environment,
    LavaBackend,
    LavaDiskFull,
    LavaError,
    LavaJob,
    LavaMissing,
    LavaModelError,
    LavaTimeout,
    LavaWorkerDied,
)
from neurofdfa_hardware.lava.driver import _write
from neurofdfa_hardware.lava.job import Limits, job_folder, run_worker
from tests.hardware.lava.nets import chain, connection, poisson
from tests.hardware.lava.witness import Running, members, segments, wait_for, worker

pytestmark = pytest.mark.serial
LAYERS = 4  # neurons and synapses of the endless network, the host and the runtime service not counted

# More samples than anybody would wait for.
ENDLESS = """
import numpy as np, sys
from pathlib import Path
from neurofdfa_hardware.lava import LavaBackend
from tests.hardware.lava.nets import chain
program = LavaBackend(scratch=Path(sys.argv[1])).compile(chain((4, 6, 3)))
def show(fraction): print(fraction, flush=True)
program.run(np.ones((50, 4000, 4), np.uint8), mode="stock", progress=show)
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


class Endless:
    """The endless run in a thread of this process; `error` is what it ends with."""

    def __init__(self, environment: Environment, scratch: Path, **limits: float) -> None:
        self.error: BaseException | None = None
        backend = LavaBackend(environment, scratch=scratch, **limits)
        self.thread = threading.Thread(target=self._run, args=(backend.compile(chain((4, 6, 3))),))
        self.thread.start()
        self.running = Running(scratch, LAYERS)

    def _run(self, program) -> None:
        try:
            program.run(np.ones((50, 4000, 4), np.uint8), mode="stock")
        except BaseException as error:
            self.error = error

    def ended(self) -> BaseException | None:
        self.thread.join(60)
        assert not self.thread.is_alive()
        wait_for(self.running.gone)
        return self.error


def test_layer_killed(environment, scratch):
    endless = Endless(environment, scratch)
    assert segments(endless.running.prefix)
    os.kill(endless.running.layers()[1], signal.SIGKILL)
    error = endless.ended()
    assert isinstance(error, LavaWorkerDied)
    assert "was killed by SIGKILL" in str(error)
    assert any(name in str(error) for name in ("'l1'", "'l2'", "'input-l1'", "'l1-l2'", "'host'"))


def test_worker_killed(environment, scratch):
    endless = Endless(environment, scratch)
    os.kill(endless.running.leader, signal.SIGKILL)
    error = endless.ended()
    assert isinstance(error, LavaWorkerDied)
    assert "worker was killed by SIGKILL" in str(error)


def test_layer_hangs(environment, scratch):
    endless = Endless(environment, scratch, silence_limit=12)
    os.kill(endless.running.layers()[1], signal.SIGSTOP)
    error = endless.ended()
    assert isinstance(error, LavaTimeout)
    assert "no progress for 12 s" in str(error)
    assert "is stopped" in str(error)


def test_worker_hangs(environment, scratch):
    endless = Endless(environment, scratch, silence_limit=12)
    os.kill(endless.running.leader, signal.SIGSTOP)
    error = endless.ended()
    assert isinstance(error, LavaTimeout)


def test_time_limit(environment, scratch):
    error = Endless(environment, scratch, time_limit=12).ended()
    assert isinstance(error, LavaTimeout)
    assert "within 12 s" in str(error)


def run_unchecked(environment: Environment, scratch: Path, job: LavaJob) -> None:
    with job_folder(scratch) as folder:
        run_worker(environment.python, folder, [_write(job, 0, folder)], Limits(60), lambda message: None)


def test_model_raises(environment, scratch):
    """A delay of 70 steps, smuggled past our own check: Lava's DelayDense refuses it in its first step."""
    program = chain((3, 4, 2))
    late = connection("l1", "l2", np.ones((2, 4)), delay=np.full((2, 4), 70))
    program = Program(3, program.populations, (program.connections[0], late), "l2")
    with pytest.raises(HardwareError, match=r"delay.*l1-l2.*70"):
        LavaBackend(environment).compile(program)
    with pytest.raises(LavaModelError, match=r"'l1-l2' raised ValueError.*DelayDense") as caught:
        run_unchecked(environment, scratch, LavaJob(program, np.ones((3, 2, 3), np.uint8), "stock"))
    assert caught.value.layer == "l1-l2"
    assert "run_spk" in caught.value.trace
    assert not list(scratch.iterdir())


def test_request_that_the_worker_cannot_build(environment, scratch):
    synapses = connection("input", "l1", np.ones((4, 3)), sign_mode="sideways")
    program = Program(3, chain((3, 4)).populations, (synapses,), "l1")
    with pytest.raises(LavaModelError, match="worker raised KeyError: 'SIDEWAYS'"):
        run_unchecked(environment, scratch, LavaJob(program, np.ones((3, 2, 3), np.uint8)))
    assert not list(scratch.iterdir())


def endless_driver(scratch: Path) -> subprocess.Popen[str]:
    """Another process that drives Lava, as far as its first progress."""
    driver = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(scratch)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline()
    return driver


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_driver_killed(environment, scratch, how):
    driver = endless_driver(scratch)
    running = Running(scratch, LAYERS)
    driver.send_signal(how)
    driver.wait(30)
    wait_for(running.gone)


def test_ctrl_c(environment, scratch):
    driver = endless_driver(scratch)
    running = Running(scratch, LAYERS)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert running.gone()


def test_driver_and_worker_killed_at_once(environment, scratch):
    """Nobody is left to clean up but the layers themselves; only files may stay."""
    driver = endless_driver(scratch)
    running = Running(scratch, LAYERS)
    driver.kill()
    os.kill(running.leader, signal.SIGKILL)
    driver.wait(30)
    wait_for(lambda: not members(running.leader) and not segments(running.prefix))


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may exceed 64 kB: the kernel refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_disk_full(environment, scratch):
    program = LavaBackend(environment, scratch=scratch).compile(chain((4, 6, 3)))
    with pytest.raises(LavaDiskFull, match=r"cannot write Lava's job folder.*File too large.*TMPDIR"):
        program.run(poisson((100, 300, 4)))
    assert not list(scratch.iterdir())
    assert worker(scratch) is None


def test_no_folder_to_write_to(environment, tmp_path):
    program = LavaBackend(environment, scratch=tmp_path / "nowhere").compile(chain((4, 6, 3)))
    with pytest.raises(LavaDiskFull, match="nowhere"):
        program.run(poisson((5, 1, 4)))


def test_interpreter_that_is_none(tmp_path):
    nothing = Environment(tmp_path / "python", "3.10.0", "0.10.0", False)
    with pytest.raises(LavaMissing, match="cannot be started"):
        LavaBackend(nothing).compile(chain((4, 3))).run(poisson((5, 1, 4)))


def test_interpreter_without_lava():
    """This interpreter has no Lava: the worker says so and does not hang."""
    plain = Environment(Path(sys.executable), "3.11.0", "0.10.0", False)
    with pytest.raises(LavaMissing, match="has no Lava any more: run `neurofdfa lava setup`"):
        LavaBackend(plain).compile(chain((4, 3))).run(poisson((5, 1, 4)))


@pytest.mark.parametrize(
    "spikes",
    [
        np.ones((5, 1, 3), np.uint8),
        np.ones((5, 4), np.uint8),
        np.ones((5, 1, 4)),
        np.ones((0, 1, 4), np.uint8),
    ],
)
def test_spikes_that_do_not_fit(environment, spikes):
    with pytest.raises(HardwareError, match=r"spikes must be|at least one step"):
        LavaBackend(environment).compile(chain((4, 3))).run(spikes)


def test_all_errors_are_hardware_errors():
    for kind in (LavaMissing, LavaModelError, LavaTimeout, LavaWorkerDied, LavaDiskFull):
        assert issubclass(kind, LavaError)
        assert issubclass(kind, HardwareError)
