"""Every command does its job on a real run, for people and for scripts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurofdfa.cli import run
from neurofdfa_hardware.lava import locate

TRAIN = (
    "train --hidden 32 24 --steps 8 --epochs 2 --batch 128 --encoder poisson --set data.max_rate=1.0"
    " --set training.lr=0.01 --set training.warmup=2 --seed 5 --json"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert run([*TRAIN.split(), "--out", str(out)]) == 0
    return out


def result(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(line.split()) == 0
    last = capsys.readouterr().out.rstrip("\n").splitlines()[-1]
    return json.loads(last)


def test_train_prints_the_contract_and_fills_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(f"{TRAIN} --quiet --out {tmp_path / 'r'}", capsys)
    assert document.keys() >= {"test_accuracy", "validation_accuracy", "seconds", "firing_rate", "run"}
    assert document["run"] == str(tmp_path / "r")
    assert document["seed"] == 5
    names = {p.name for p in (tmp_path / "r").iterdir()}
    assert names == {
        "config.toml", "metrics.jsonl", "checkpoint.safetensors", "network.nir", "raster.npz", "energy.json",
        "summary.json", "state.safetensors", "confusion.json",
    }  # fmt: skip


def test_evaluate_agrees_with_training_on_torch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = result(f"evaluate {folder} --backend torch --json", capsys)
    summary = json.loads((folder / "summary.json").read_text())
    assert document == {
        "accuracy": summary["test_accuracy"], "samples": 360, "spikes_equal": None, "backend": "torch",
    }  # fmt: skip


def test_evaluate_on_the_integer_reference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = result(f"evaluate {folder} --backend torch --json", capsys)["accuracy"]
    document = result(f"evaluate {folder} --bits 8 --json", capsys)
    assert document["backend"] == "fixed-point"
    assert document["samples"] == 360
    assert abs(document["accuracy"] - whole) < 0.05
    coarse = result(f"evaluate {folder} --backend fixed-point --bits 2 --limit 100 --json", capsys)
    assert coarse["samples"] == 100


def test_bits_outside_the_chip_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bits in ("0", "9"):
        assert run(["evaluate", str(folder), "--backend", "fixed-point", "--bits", bits]) == 2
        assert "weight bits" in capsys.readouterr().err


def test_export_reproduces_its_golden_vector(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(f"export {folder} --out {tmp_path / 'net.nir'} --json", capsys)
    assert document == {"file": str(tmp_path / "net.nir"), "golden_ok": True}
    assert run(["export", str(folder), "--out", str(tmp_path / "net.nir")]) == 2
    assert "exists" in capsys.readouterr().err


def test_report_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = result(f"report {folder} --json", capsys)
    assert Path(document["report"]).read_text().startswith("<!")


def test_doctor_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert result("doctor --json", capsys).keys() == {"ok", "problems"}


def test_doctor_says_how_to_get_lava(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path / "nothing"))
    document = result("doctor --json", capsys)
    assert not document["ok"]
    assert "neurofdfa lava setup" in document["problems"][0]


def test_help_is_shown_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Usage" in capsys.readouterr().out


def ignore_interrupts() -> None:
    """As a shell does for what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_130_and_the_run_resumes(
    sent: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*TRAIN.split(), "--epochs", "40", "--out", str(tmp_path / "r")]
    started = subprocess.Popen(
        [sys.executable, "-m", "neurofdfa", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=ignore_interrupts,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "r" / "state.safetensors").exists():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started.send_signal(sent)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in err
    assert not (tmp_path / "r" / "summary.json").exists()
    assert result(f"train --resume --quiet --json --out {tmp_path / 'r'}", capsys)["seed"] == 5


def test_an_interrupt_before_anything_is_kept_says_so(tmp_path: Path) -> None:
    script = f"""
import signal, sys
from neurofdfa.cli import run
from neurofdfa.lab import run as lab
signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
read = lab.build_data
def reading(*given):  # Ctrl-C while the data are read
    signal.setitimer(signal.ITIMER_REAL, 1e-3)
    while True:
        read(*given)
lab.build_data = reading
sys.exit(run(["train", "--out", {str(tmp_path / "r")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "nothing is kept" in done.stderr
    assert "--resume" not in done.stderr
    assert not (tmp_path / "r").exists()


def test_there_is_nothing_to_resume_where_nothing_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--resume", "--out", str(tmp_path / "r")]) == 2
    assert "leave out --resume" in capsys.readouterr().err


def test_without_torch_doctor_says_what_to_install_and_other_commands_point_to_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def said(*command: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "neurofdfa", *command],
            env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    status, text = said("doctor")
    assert status == 0
    assert "torch cannot be imported" in text
    assert "pytorch.org" in text
    status, text = said("train")
    assert status == 2
    assert (
        text.strip() == "neurofdfa: the package 'torch' is missing: `neurofdfa doctor` says what to install"
    )


def test_map_places_the_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = result(f"map {folder} --chip loihi1 --json", capsys)
    assert document["cores"] == 3
    assert document["layers"] == {"layer1.neuron": 1, "layer2.neuron": 1, "readout.neuron": 1}
    assert document["limits"]["neurons_per_core"] == 1024
    assert 0 < document["utilisation"]["neurons"] < 1
    assert run(["map", str(folder), "--chip", "nope"]) == 2
    assert "choose one of loihi1, loihi2" in capsys.readouterr().err


def test_parity_shows_where_spikes_first_differ(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = result(f"parity {folder} --limit 20 --bits 3 --json", capsys)
    float_to_quantised, quantised_to_integer = document["stages"]
    assert float_to_quantised["spikes_equal"] < float_to_quantised["spikes"]
    assert quantised_to_integer["before"] == "quantised"
    first = document["first_divergence"]
    assert first["layer"] == "layer1.neuron"
    assert first["spike_before"] != first["spike_after"]
    assert len(first["before"]) == len(first["after"]) == len(first["steps"])


def test_parity_includes_lava(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if locate() is None:
        pytest.skip("Lava is not set up: run `neurofdfa lava setup`")
    document = result(f"parity {folder} --limit 12 --lava --json", capsys)
    last = document["stages"][-1]
    assert (last["before"], last["after"]) == ("integer", "lava")
    assert last["spikes_equal"] == last["spikes"]
    assert last["membrane_error"] == 0
    lava = result(f"evaluate {folder} --backend lava --limit 12 --json", capsys)
    assert lava["spikes_equal"] is True
    assert lava["samples"] == 12


def test_import_explains_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(folder / "network.nir")]) == 0
    text = capsys.readouterr().out
    assert "1 − dt/tau" in text
    assert "golden vector reproduced" in text
    assert re.search(r"weight layer1\.weight +gain·W", text)
    found = result(f"import {folder / 'network.nir'} --bits 3 --json", capsys)
    assert found["golden_ok"] is True
    rows = {(row["layer"], row["parameter"]): row for row in found["parameters"]}
    assert abs(rows["layer1.neuron", "weight layer1.weight"]["error"]) > 0
    assert run(["map", str(folder), "--bits", "3", "--parameters"]) == 0
    assert "vth·step/2^shift" in capsys.readouterr().out
    for options, reason in (
        (["--writer", "nobody"], "choose norse, snntorch or spikingjelly"),
        (["--bits", "3", "--calibrate", str(folder / "config.toml")], "is no .npy file of spikes"),
    ):
        assert run(["import", str(folder / "network.nir"), *options]) == 2
        assert reason in capsys.readouterr().err


def test_netx_export_and_import(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.hdf5"
    document = result(f"export {folder} --to netx --bits 4 --out {file} --json", capsys)
    assert document == {"file": str(file), "golden_ok": True}
    imported = result(f"import {file} --json", capsys)
    assert imported["golden_ok"] is None
    sizes = [(layer["name"], layer["neurons"]) for layer in imported["layers"]]
    assert sizes == [("layer1.neuron", 32), ("layer2.neuron", 24), ("readout.neuron", 10)]
    assert all(0 <= layer["dv"] < 4096 for layer in imported["layers"])
    assert run(["import", str(file), "--dt", "0.001"]) == 2
    assert "leave out --dt" in capsys.readouterr().err
    for options, reason in (
        (["--to", "onnx", "--out", str(tmp_path / "x.net")], "choose nir or netx"),
        (["--to", "netx", "--out", str(tmp_path / "x.nir")], "end it with one of .net, .hdf5, .h5"),
    ):
        assert run(["export", str(folder), *options]) == 2
        assert reason in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_netx_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.net").write_text("nothing")
    assert run(["import", str(tmp_path / "x.net")]) == 2
    assert "not an HDF5 file" in capsys.readouterr().err


def test_lower_explains_a_rule_on_the_chip(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lower", "fdfa", "--kappa", "0.9"]) == 0
    text = capsys.readouterr().out
    assert "fdfa: host" in text
    assert "λ[t]" in text  # and not taken for markup
    document = result("lower dfa --json", capsys)
    assert document["fit"] == "approximated"
    assert {"term", "fit", "how", "error", "optional"} == document["terms"][0].keys()
    assert run(["lower", "hebb"]) == 2
    assert "choose one of fdfa" in capsys.readouterr().err


def test_the_chips_commands_take_a_file_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = folder / "network.nir"
    placed = result(f"map {graph} --json", capsys)
    assert placed["layers"] == {"layer1.neuron": 1, "layer2.neuron": 1, "readout.neuron": 1}
    rng = np.random.default_rng(0)
    spikes = (rng.random((6, 10, 64)) < 0.2).astype(np.uint8)
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=rng.integers(0, 10, 10))
    assert result(f"evaluate {graph} --data {tmp_path / 'data.npz'} --json", capsys)["samples"] == 10
    assert len(result(f"parity {graph} --data {tmp_path / 'data.npz'} --json", capsys)["stages"]) == 2
    assert run(["evaluate", str(graph)]) == 2
    assert "neurofdfa: the following arguments are required: --data" in capsys.readouterr().err
