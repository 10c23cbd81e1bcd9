"""A convolutional network from the command line to the chip's arithmetic, as a user would go."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurofdfa.cli import run
from neurofdfa_hardware.lava import locate

SETTINGS = (
    "train --steps 8 --epochs 1 --batch 128 --encoder poisson --set data.max_rate=1.0 --seed 5 --json"
    " --set training.lr=0.01 --set training.warmup=2 --set rule.options.feedback_per=channel"
)
CONV = "{ conv2d = { out_channels = 6, kernel_size = 3 } }"
TRAIN = [*SETTINGS.split(), "--set", f"network.layers=[{CONV}, {{ sumpool2d = 2 }}, 24]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert run([*TRAIN, "--out", str(out)]) == 0
    return out


def result(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(line.split()) == 0
    return json.loads(capsys.readouterr().out.rstrip("\n").splitlines()[-1])


def test_it_learns_and_is_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.5
    assert len(summary["firing_rate"]) == 2
    layers = tomllib.loads((folder / "config.toml").read_text())["network"]["layers"]
    assert next(kind for layer in layers for kind in layer) == "conv2d"
    assert result(f"evaluate {folder} --backend torch --json", capsys)["accuracy"] == summary["test_accuracy"]


def test_it_runs_in_fixed_point(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = result(f"evaluate {folder} --backend torch --json", capsys)["accuracy"]
    found = result(f"evaluate {folder} --backend fixed-point --json", capsys)
    assert abs(found["accuracy"] - whole) < 0.05
    found = result(f"export {folder} --out {folder / 'again.nir'} --json", capsys)
    assert found["golden_ok"]


@pytest.mark.skipif(locate() is None, reason="Lava is not set up: neurofdfa lava setup")
def test_every_spike_is_the_same_on_lava(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result(f"evaluate {folder} --backend lava --limit 6 --json", capsys)
    assert found["spikes_equal"] is True
    assert found["samples"] == 6


def test_it_is_audited_counted_and_placed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert result(f"audit {folder} --json", capsys)["local"] is True
    learning = result(f"energy {folder} --json", capsys)["learning"]
    assert learning["fdfa"]["memory_words"]["weights"] == 6 * 9 + 54 * 24 + 240
    assert learning["fdfa"]["memory_words"]["feedback"] == (6 + 24) * 10
    assert result(f"map {folder} --chip loihi1 --json", capsys)["layers"].keys() >= {"layer1.neuron"}


def test_the_event_engine_trains_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    assert run([*TRAIN, "--engine", "events", "--quiet", "--out", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().err + " ".join(str(w.message) for w in recwarn)
    assert "using the reference" not in said


def test_data_without_an_image_is_refused_or_given_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    spikes = (rng.random((60, 5, 36)) < 0.4).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", spikes=spikes, labels=rng.integers(0, 3, 60))
    command = f"train --data {tmp_path / 'mine.npz'} --epochs 1 --batch 20 --quiet --out {tmp_path / 'r'}"
    assert run([*command.split(), "--set", f"network.layers=[{CONV}]"]) == 2
    assert "kernel_size = 3 }': it needs an image below it" in capsys.readouterr().err
    given = ["--set", f"network.layers=[{CONV}]", "--set", "network.shape=[1, 6, 6]"]
    assert run([*command.split(), *given]) == 0
    assert run(["evaluate", str(tmp_path / "r"), "--backend", "torch", "--quiet"]) == 0
