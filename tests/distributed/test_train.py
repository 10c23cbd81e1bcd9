"""`torchrun … -m neurofdfa train` as a user starts it: the same run, and one word when something breaks."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from neurofdfa.lab.config import load_config
from neurofdfa.lab.load_run import load_run
from neurofdfa.lab.record import read_epochs
from neurofdfa.lab.run import train
from tests.distributed.start import ROOT, command, torchrun

TRAIN = ("-m", "neurofdfa", "train", "--data", "digits", "--hidden", "16", "--steps", "4", "--batch", "128")
pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]


def ours(stderr: str) -> list[str]:
    """What we say; torchrun has a page of its own to add."""
    return [line for line in stderr.splitlines() if line.startswith(("neurofdfa:", "interrupted"))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def started(out: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A long run with its first epoch behind it, and its processes."""
    run = subprocess.Popen(
        command(*TRAIN, "--epochs", "3000", "--out", str(out)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "state.safetensors").exists():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return run, sorted(map(int, children))


def test_a_shared_run_is_the_run_and_only_one_process_speaks(tmp_path: Path) -> None:
    ended = torchrun(*TRAIN, "--epochs", "2", "--out", str(tmp_path / "two"), "--json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('"test_accuracy"') == 1
    config, shared = load_run(tmp_path / "two")
    alone = train(config, tmp_path / "one")
    for a, b in zip(read_epochs(tmp_path / "two"), read_epochs(tmp_path / "one"), strict=True):
        # float32: sums in another order
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-5)
        assert a.validation_loss == pytest.approx(b.validation_loss, rel=1e-5)
        assert a.rates == pytest.approx(b.rates, rel=1e-5)
    for a, b in zip(shared.parameters(), load_run(tmp_path / "one")[1].parameters(), strict=True):
        assert float((a - b).detach().abs().max()) < 1e-5 * float(b.detach().abs().max())
    assert (tmp_path / "two" / "energy.json").exists()
    assert alone.processes == 1
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(
        p.name for p in (tmp_path / "one").iterdir()
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--rule", "nope"), "unknown rule 'nope'"), (("--nope", "1"), "--nope")],
)
def test_a_mistake_that_all_make_is_told_once(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    ended = torchrun(*TRAIN, *arguments, "--out", str(tmp_path / "run"))
    assert ended.returncode != 0
    (line,) = ours(ended.stderr)
    assert says in line


def test_other_commands_refuse_to_run_twice_at_once(tmp_path: Path) -> None:
    ended = torchrun("-m", "neurofdfa", "compare", "--out", str(tmp_path / "c"))
    (line,) = ours(ended.stderr)
    assert "takes `train`" in line
    assert not (tmp_path / "c").exists()


def test_a_killed_process_ends_all_and_the_run_goes_on_in_one(tmp_path: Path) -> None:
    run, processes = started(tmp_path / "cut")
    os.kill(processes[1], signal.SIGKILL)
    _, stderr = run.communicate(timeout=120)  # torchrun gives the others 30 s
    assert run.returncode != 0
    assert not any(alive(pid) for pid in processes)
    assert len(ours(stderr)) <= 1  # torchrun may be quicker than the other process
    done = len(read_epochs(tmp_path / "cut"))
    config = load_config(tmp_path / "cut" / "config.toml")

    def stop(epoch: object, epochs: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", resume=True, progress=stop)
    assert len(read_epochs(tmp_path / "cut")) in (done, done + 1)


def test_ctrl_c_ends_all_with_one_word(tmp_path: Path) -> None:
    run, processes = started(tmp_path / "cut")
    os.killpg(run.pid, signal.SIGINT)
    _, stderr = run.communicate(timeout=120)
    assert not any(alive(pid) for pid in processes)
    (line,) = ours(stderr)
    assert line.startswith("interrupted")
    assert not (tmp_path / "cut" / "summary.json").exists()
