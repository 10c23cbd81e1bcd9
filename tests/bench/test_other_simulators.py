"""The network of a study in other simulators: SpikingJelly gives our outputs, both learn by the command."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurofdfa as nf

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "studies" / "other_simulators.py"
STUDY = """
name = "two rhythms"
[base]
"data.name" = "{data}"
"network.hidden" = [12]
"network.tau_syn" = 0.005
"network.tau_mem_spread" = 1.0
"network.readout" = "leaky"
"network.tau_out" = 0.03
"network.dropout" = 0.1
"training.epochs" = 3
"training.batch" = 8
"training.warmup" = 1
"training.rate_strength" = 0.0
[choose]
"training.lr" = [0.01, 0.03]
[[cases]]
"rule.name" = "bptt"
"""


@pytest.mark.parametrize("name", ["spikingjelly", "snntorch"])
def test_the_outputs_are_ours_before_anything_is_learnt(name: str) -> None:
    pytest.importorskip(name)
    spread = {"tau_mem_spread": 1.0, "tau_syn_spread": 1.0}
    network = nf.feed_forward(
        6, [9], 3, neuron=nf.LIF(tau_mem=0.01, tau_syn=0.005), readout="leaky", tau_out=0.03,
        generator=torch.Generator().manual_seed(0), **spread,
    )  # fmt: skip
    x = (torch.rand(30, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    nf.scale_to_rate(network, x, 0.1)
    forward, parameters = runpy.run_path(str(PROGRAM))["SIMULATORS"][name](network)
    found, ours = forward(x, None), network.run(x).y
    if name == "spikingjelly":
        assert torch.allclose(found, ours, atol=1e-5)
    else:  # its hard reset also drops what arrives in the step after a spike
        assert torch.equal(found[:3], ours[:3]) or float((found - ours).abs().mean()) < float(
            ours.abs().mean()
        )
    found.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in parameters)


@pytest.mark.parametrize("name", ["spikingjelly", "snntorch"])
def test_the_command_learns_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    pytest.importorskip(name)
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    busy = np.where(np.arange(8)[None] < 4, labels[:, None], 1 - labels[:, None]) * 0.4 + 0.05
    spikes = (rng.random((60, 20, 8)) < busy[:, None]).astype(np.uint8)
    np.savez(tmp_path / "two.npz", spikes=spikes, labels=labels)
    (tmp_path / "study.toml").write_text(STUDY.format(data=tmp_path / "two.npz"))
    command = [
        str(PROGRAM), str(tmp_path / "study.toml"), "--data-root", str(tmp_path), "--simulator", name,
        "--seeds", "2", "--out", str(tmp_path / "found.jsonl"),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(PROGRAM), run_name="__main__")
    lines = (tmp_path / "found.jsonl").read_text().splitlines()
    runs: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [(run["lr"], run["seed"]) for run in runs[:2]] == [(0.01, 0), (0.03, 0)]
    assert len(runs) == 3
    assert max(run["test"] for run in runs) >= 0.9
    runpy.run_path(str(PROGRAM), run_name="__main__")
    assert (tmp_path / "found.jsonl").read_text().splitlines() == lines
    assert len(capsys.readouterr().out.splitlines()) == 6
