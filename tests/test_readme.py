"""The README's programs run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()
TEN_LINES = """\
import torch, neurofdfa as nf

data = nf.data.load("digits", steps=16, encoder="poisson")
net = nf.Network(nf.Linear(64, 128), nf.LIF(tau_mem=5e-3), nf.Linear(128, 10), nf.LI())
trainer = nf.Trainer(net, nf.FDFA(), torch.optim.Adam(net.parameters(), lr=4e-3))      # engine="auto": events where it can
for epoch in range(10):
    for x, target in data.train.batches(64, seed=epoch):       # or any torch DataLoader that yields (x, y)
        stats = trainer.step(x, target)                        # forward in time only
    print(epoch, trainer.evaluate(data.validation))
nf.export_nir(net, "net.nir")
"""  # noqa: E501


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return found


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    return done.stdout


def test_the_ten_lines_are_the_promised_ones() -> None:
    assert block("python") == TEN_LINES


def test_the_ten_lines_learn(tmp_path: Path) -> None:
    (tmp_path / "ten.py").write_text(block("python"))
    accuracies = re.findall(
        r"^\d accuracy (\d+\.\d)%", run([sys.executable, "ten.py"], tmp_path), re.MULTILINE
    )
    assert len(accuracies) == 10
    assert float(accuracies[-1]) > 85
    assert (tmp_path / "net.nir").exists()


def test_the_commands_run_one_after_the_other(tmp_path: Path) -> None:
    for line in block("sh").splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "neurofdfa"
        run([sys.executable, "-m", "neurofdfa", *arguments], tmp_path)
    assert (tmp_path / "runs" / "net.nir").exists()
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
