"""The main job from end to end, with real Lava, shortened to one epoch."""

import json
from pathlib import Path

import pytest

from neurofdfa.cli import run
from neurofdfa_hardware.lava import locate


@pytest.mark.timeout(600)
def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if locate() is None:
        pytest.skip("Lava is not set up: run `neurofdfa lava setup`")
    assert run(["demo", "--epochs", "1", "--quiet", "--json", "--out", str(tmp_path / "demo")]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document.keys() == {
        "fdfa_accuracy", "bptt_accuracy", "fixed_point_accuracy", "lava_spikes_equal", "report",
    }  # fmt: skip
    assert document["lava_spikes_equal"] is True
    found = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert [row["population"] for row in found["parity"]] == [
        "layer1.neuron",
        "layer2.neuron",
        "readout.neuron",
    ]
    assert all(row["samples"] >= 50 and row["differences"] == 0 for row in found["parity"])
    assert found["parity"][0]["spikes_lava"] > 0
    assert {row["rule"] for row in found["timing"]} == {"readout-only", "dfa", "fdfa", "bptt"}
    assert Path(document["report"]).is_file()


@pytest.mark.timeout(600)
def test_without_lava_the_rest_works_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NEUROFDFA_LAVA_PYTHON", raising=False)
    monkeypatch.setenv("NEUROFDFA_LAVA_HOME", str(tmp_path / "nothing"))
    assert run(["demo", "--epochs", "1", "--json", "--out", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    document = json.loads(out.splitlines()[-1])
    assert document["lava_spikes_equal"] is None
    assert document["fixed_point_accuracy"] > 0.1
    assert "neurofdfa lava setup" in " ".join(out.split())
    assert Path(document["report"]).is_file()
