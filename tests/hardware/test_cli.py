"""The package's own command line on somebody's files: no run folder, no torch."""

import json
import subprocess
import sys

import nir
import numpy as np
import pytest

from neurofdfa_hardware import cli, netx
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.files import deploy, open_network, read_inputs
from neurofdfa_hardware.nir.graph import network_from_graph
from neurofdfa_hardware.quantization.quantize import quantize
from tests.hardware import graphs
from tests.hardware.lava.conftest import environment  # noqa: F401


@pytest.fixture
def files(tmp_path, rng):
    """A graph, the same quantised for lava-dl, and labelled spikes."""
    graph = graphs.chain(
        20,
        ("a", nir.Linear(rng.normal(0, 0.5, (30, 20)))),
        ("an", graphs.lif(30)),
        ("b", nir.Linear(rng.normal(0, 0.5, (4, 30)))),
        ("bn", graphs.lif(4)),
        n_out=4,
        metadata=graphs.said(),
    )
    nir.write(tmp_path / "net.nir", graph)
    spikes = graphs.spikes(rng, 12, 10, 20, 0.3)
    program = quantize(network_from_graph(graph), 8, spikes, target="netx").program
    netx.save(program, tmp_path / "net.net")
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=rng.integers(0, 4, 10))
    return tmp_path


def result(line: str, capsys) -> dict:
    assert cli.run([*line.split(), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize("name", ["net.nir", "net.net"])
def test_every_command_takes_either_file(files, name, capsys):
    where = f"{files / name} --data {files / 'data.npz'}"
    placed = result(f"map {files / name} --chip loihi2", capsys)
    assert placed["cores"] == 2
    ran = result(f"run {where} --limit 7 --out {files / 'out.npz'}", capsys)
    assert (ran["samples"], ran["steps"], ran["backend"]) == (7, 12, "fixed-point")
    kept = np.load(files / "out.npz")
    assert int(np.count_nonzero(kept["bn"])) == ran["spikes"]["bn"]
    assert kept["predictions"].tolist() == ran["predictions"]
    scored = result(f"evaluate {where}", capsys)
    assert scored["spikes_equal"] is None
    assert scored["samples"] == 10
    stages = result(f"parity {where}", capsys)["stages"]
    assert [s["after"] for s in stages] == ["quantised", "integer"]


@pytest.mark.serial
def test_lava_is_a_backend_like_any_other(files, environment, capsys):  # noqa: F811
    where = f"{files / 'net.nir'} --data {files / 'data.npz'}"
    assert result(f"evaluate {where} --backend lava", capsys)["spikes_equal"] is True
    last = result(f"parity {where} --lava", capsys)["stages"][-1]
    assert (last["after"], last["membrane_error"]) == ("lava", 0.0)


def test_as_a_module_and_with_a_backend_from_outside(files, tmp_path):
    """The command line in a process of its own finds what an installed package declares."""
    (tmp_path / "outside.py").write_text(
        "from neurofdfa_hardware.backends import FixedPointBackend\n"
        "def Outside():\n    return FixedPointBackend('outside')\n"
    )
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neurofdfa.backends]\noutside = outside:Outside\n")
    line = ["evaluate", "net.nir", "--data", "data.npz", "--backend", "outside", "--json"]
    path = ":".join([str(tmp_path), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, "-m", "neurofdfa_hardware", *line],
        cwd=files,
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.strip().splitlines()[-1])
    assert (document["backend"], document["spikes_equal"]) == ("outside", True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("map missing.nir", "there is no file missing.nir"),
        ("map net.txt", "is no network"),
        ("run net.nir --data data.npz --backend nope", "unknown backend 'nope'"),
        ("run net.nir", "required: --data"),
        ("run net.nir --data nothing.npz", "cannot read nothing.npz: No such file"),
        ("run net.nir --data net.nir", "net.nir is no file of inputs"),
        ("run net.net --data data.npz --dt 1", "holds integers"),
        ("evaluate net.nir --data plain.npy", "no labels"),
        ("run net.nir --data small.npy", r"shape \(4, 1, 5\): expected \[T, B, 20\]"),
        ("run net.nir --data negative.npy", "holds -1"),
    ],
)
def test_mistakes_are_one_line(files, line, message, capsys, monkeypatch):
    monkeypatch.chdir(files)
    np.save("plain.npy", np.ones((4, 1, 20), np.uint8))
    np.save("small.npy", np.ones((4, 5), np.uint8))
    np.save("negative.npy", -np.ones((4, 1, 20)))
    assert cli.run(line.split()) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)


def test_event_files_become_spikes(tmp_path):
    (tmp_path / "e.csv").write_text("t,neuron,sample\n0,3,0\n0,3,0\n2,1,1\n")
    spikes = read_inputs(tmp_path / "e.csv", 4).spikes
    assert spikes.shape == (3, 2, 4)
    assert np.argwhere(spikes).tolist() == [[0, 0, 3], [2, 1, 1]]
    np.savez(tmp_path / "e.npz", t=[0.0, 0.5, 1.2], x=[0, 1, 2], y=[0, 1, 1], p=[1, 0, 0], labels=[2])
    found = read_inputs(tmp_path / "e.npz", 12, (2, 2, 3), bin_width=1.0, steps=3)
    assert np.argwhere(found.spikes).tolist() == [[0, 0, 4], [0, 0, 6], [1, 0, 5]]
    assert found.labels is not None
    assert found.labels.tolist() == [2]
    raw = bytes([2, 1, 0x80, 0x00, 0x05, 0, 0, 0, 0x01, 0x00])  # x 2, y 1, p 1, 5 µs; x 0, y 0, p 0, 256 µs
    (tmp_path / "e.bin").write_bytes(raw)
    spikes = read_inputs(tmp_path / "e.bin", 12, (2, 2, 3), bin_width=100.0).spikes
    assert np.argwhere(spikes).tolist() == [[0, 0, 11], [2, 0, 0]]
    with pytest.raises(HardwareError, match="fractions of steps"):
        read_inputs(tmp_path / "e.npz", 12, (2, 2, 3))
    with pytest.raises(HardwareError, match="outside the network's image"):
        read_inputs(tmp_path / "e.npz", 4, (1, 2, 2), bin_width=1.0)


def test_numbers_are_sent_as_graded_spikes(files, rng):
    """Images as they are: the integers follow the floats."""
    x = rng.random((12, 30, 20)) * 0.6
    np.save(files / "numbers.npy", x)
    inputs = read_inputs(files / "numbers.npy", 20)
    assert inputs.unit == pytest.approx(x.max() / 255)
    deployed = deploy(open_network(files / "net.nir"), 8, None, inputs)
    assert "graded spikes" in deployed.notes[0]
    assert all(c.graded for c in deployed.program.connections if c.source == "input")
    assert min(layer.spike_agreement for layer in deployed.report.layers) > 0.95
    assert simulate(deployed.program, inputs.spikes).spikes["an"].mean() > 0.05
