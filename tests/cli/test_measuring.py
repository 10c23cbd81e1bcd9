"""`audit` and `energy` on real runs, for people and for scripts."""

import json
from pathlib import Path
from typing import Any

import pytest

from neurofdfa.cli import run
from neurofdfa.lab.build import build_data
from neurofdfa.lab.config import load_config
from neurofdfa.lab.credit import Credit, retrain

TRAIN = (
    "train --hidden 12 10 --steps 6 --epochs 1 --batch 256 --encoder poisson --set data.max_rate=1.0"
    " --set training.lr=0.01 --set training.warmup=2 --quiet"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("measuring")
    made = {name: folder / name for name in ("fdfa", "ottt", "bptt")}
    for name, out in made.items():
        assert run([*TRAIN.split(), "--rule", name, "--out", str(out)]) == 0
    # the audit reads the rule of a run of the event engine on the reference
    assert 'engine = "auto"' in (made["fdfa"] / "config.toml").read_text(encoding="utf-8")
    return made


def result(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run([*line.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out.rstrip("\n").splitlines()[-1])


def test_audit_passes_fdfa_and_writes_the_certificate(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "certificate.txt"
    document = result(f"audit {runs['fdfa']} --steps 4 --out {file}", capsys)
    assert document["local"] is True
    assert document["violations"] == []
    assert document["reads"].keys() == {"layer1", "layer2", "readout"}
    assert {"error", "output tangents"} <= set(document["reads"]["layer1"])
    assert [layer["learns"] for layer in document["layers"]] == [True, True, True]
    text = file.read_text()
    assert "fdfa is local" in text
    assert document["code_sha256"] in text
    assert document["settings_sha256"] in text


def test_audit_shows_where_a_rule_is_not_local(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(f"audit {runs['ottt']} --steps 4 --quiet", capsys)
    assert document["local"] is document["local_in_space"] is False
    assert document["local_in_time"] is True
    assert ("layer1", "layer2.weights") in {(v["layer"], v["reads"]) for v in document["violations"]}
    bptt = result(f"audit {runs['bptt']} --steps 4 --quiet", capsys)
    assert not bptt["local_in_space"]
    assert not bptt["local_in_time"]
    assert run(["audit", str(runs["ottt"]), "--steps", "4"]) == 0
    assert "It must not, but it reads:" in capsys.readouterr().out


def test_audit_measures_how_well_every_layer_learns(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = result(f"audit {runs['fdfa']} --steps 4", capsys)["credit"]
    assert found["retrained"] is None
    first, second = found["layers"]
    assert 0 < first["cosine"] < second["cosine"] <= 1.0
    for layer in found["layers"]:
        assert layer["norm_ratio"] > 0
        assert 0 < layer["rate"] < 1
        assert layer["silent"] + layer["hot"] <= 1
    exact = result(f"audit {runs['bptt']} --steps 4", capsys)["credit"]
    # the run's rate target pulls at its weights, too, and not at the gradient that it is held against
    assert [layer["cosine"] for layer in exact["layers"]] == pytest.approx([1.0, 1.0], abs=5e-3)


def test_audit_says_what_the_learning_of_each_layer_is_worth(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", str(runs["fdfa"]), "--steps", "4", "--retrain"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("training with 2 of 2 hidden layers frozen", "utility", "with spike counts alone"):
        assert part in text
    kept = Credit.read(runs["fdfa"] / "credit.json")
    assert kept.retrained is not None
    summary = json.loads((runs["fdfa"] / "summary.json").read_text(encoding="utf-8"))
    assert kept.retrained.frozen[0] == pytest.approx(summary["validation_accuracy"], abs=1e-6)  # the same run
    control = load_config(runs["fdfa"] / "config.toml").with_settings({"rule.name": "readout-only"})
    alone = retrain(control, build_data(control.data, control.seed))
    # hidden layers that are all frozen are those of a rule that teaches none, whatever the rule
    assert kept.retrained.frozen[2] == alone.frozen[0] == alone.frozen[1] == alone.frozen[2]
    assert len(kept.retrained.frozen) == 3
    assert kept.retrained.utility[1] == pytest.approx(kept.retrained.frozen[1] - kept.retrained.frozen[2])
    assert kept.retrained.counts == alone.counts > 0.5
    assert run(["report", str(runs["fdfa"])]) == 0
    page = next(runs["fdfa"].glob("*.html")).read_text(encoding="utf-8")
    assert "Credit assignment" in page
    assert "Utility, points" in page


def test_energy_counts_learning_and_inference(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    document = result(f"energy {runs['fdfa']} --samples 16", capsys)
    assert document.keys() >= {"learning", "inference", "constants"}
    assert (document["samples"], document["steps"]) == (16, 6)
    assert list(document["learning"]) == ["fdfa", "bptt"]
    inference, learning = document["inference"], document["learning"]["fdfa"]
    assert inference["counts"]["neuron_updates"] == 6 * (12 + 10 + 10)
    assert inference["memory_words"]["weights"] == 64 * 12 + 12 * 10 + 10 * 10
    assert 0 < inference["counts"]["synaptic_operations"] < 6 * inference["memory_words"]["weights"]
    assert 0 < inference["joules"]["loihi1"] < learning["joules"]["loihi1"]
    assert document["learning"]["bptt"]["joules"]["loihi1"] is None
    assert document["learning"]["bptt"]["memory_words"]["stored_activations"] == 6 * (64 + 2 * 22 + 10)
    constant = document["constants"]["loihi1_synaptic_operation"]
    assert constant["label"] == "simulated lower bound"
    assert "Davies" in constant["source"]
    assert list(result(f"energy {runs['bptt']}", capsys)["learning"]) == ["bptt"]


def test_energy_prints_tables(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["energy", str(runs["ottt"]), "--samples", "4"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("synaptic operations", "stored activations", "not possible", "Loihi 2: none is printed"):
        assert part in text
    assert run(["energy", str(runs["ottt"]), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("audit {missing}", "not a run folder"),
        ("energy {missing}", "not a run folder"),
        ("audit {run} --samples 1", "--samples"),
        ("audit {run} --steps 1", "--steps"),
        ("energy {run} --samples 0", "--samples"),
    ],
)
def test_one_line_and_exit_2(
    line: str, says: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.format(missing=tmp_path / "none", run=runs["fdfa"]).split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err
