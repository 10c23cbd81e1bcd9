"""The real lava-dl reads the files that `neurofdfa_hardware.netx` writes, and makes the same spikes of them.

Its environment has the Python of the tests, and so shows as well that Lava runs beyond Python 3.10.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurofdfa_hardware import netx
from neurofdfa_hardware.chip.fixed_point import simulate
from neurofdfa_hardware.lava import check
from neurofdfa_hardware.nir.network import Edge, Layer, Network
from neurofdfa_hardware.quantization.quantize import quantize

HERE = Path(__file__).parent
HOME = Path(os.environ.get("NEUROFDFA_LAVA_DL", HERE.parents[1] / ".venv-lava-dl"))
STEPS, INPUTS, BETWEEN, OUT = 40, 12, 15, 6
CASES = {"plain": 8, "recurrent": 4, "delayed": 2, "binary": 1}

pytestmark = [
    pytest.mark.skipif(
        not (HOME / "bin" / "python").exists(), reason=f"no lava-dl in {HOME}: `make test` installs it"
    ),
    pytest.mark.serial,
    pytest.mark.timeout(600),
]


def layer(name, size, rng):
    return Layer(
        name,
        size,
        np.full(size, rng.uniform(0, 0.8)),
        np.full(size, rng.uniform(0.5, 1.0)),
        np.full(size, 0.6),
        rng.normal(0, 0.02, size),
    )


def network(case, rng):
    delay = rng.integers(0, 4, (BETWEEN, INPUTS)) if case == "delayed" else None
    edges = [
        Edge("in", "input", "a", rng.normal(0, 0.5, (BETWEEN, INPUTS)), delay),
        Edge("ab", "a", "b", rng.normal(0, 0.5, (OUT, BETWEEN))),
    ]
    if case == "recurrent":
        edges.append(Edge("bb", "b", "b", rng.normal(0, 0.5, (OUT, OUT))))
    return Network(INPUTS, (layer("a", BETWEEN, rng), layer("b", OUT, rng)), tuple(edges), "b", "count")


def test_lava_dl_makes_the_same_spikes_of_a_file(tmp_path):
    ours = {}
    for seed, (case, bits) in enumerate(CASES.items()):
        rng = np.random.default_rng(seed)
        spikes = (rng.random((STEPS, 8, INPUTS)) < 0.3).astype(np.uint8)
        netx.save(quantize(network(case, rng), bits, spikes, target="netx").program, tmp_path / f"{case}.net")
        np.save(tmp_path / f"{case}.npy", spikes[:, 0])
        ours[case] = simulate(netx.load(tmp_path / f"{case}.net"), spikes[:, :1]).spikes["b"][:, 0]
        assert ours[case].any()
    subprocess.run([HOME / "bin" / "python", HERE / "run_lava_dl.py", tmp_path], check=True, cwd=tmp_path)
    for case, expected in ours.items():
        theirs = np.load(tmp_path / f"{case}.spikes.npy")
        # the sink hears a spike one step after each of the two layers: step t of the input at t + 2
        assert np.array_equal(theirs[2 : 2 + STEPS], expected), case


def test_lava_computes_the_known_numbers_on_this_python(monkeypatch):
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(HOME))
    found = check()
    assert found.python_version == ".".join(map(str, sys.version_info[:3]))
    assert found.shimmed
