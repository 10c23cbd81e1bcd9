"""`compare` and `ablate` for people and for scripts."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurofdfa.cli import run
from neurofdfa.lab.config import load_config
from neurofdfa.lab.record import read_epochs

COMPARE = (
    "compare --data digits --seeds 2 --hidden 8 --steps 3 --encoder poisson --epochs 1 --batch 256"
    " --set training.warmup=2 --workers 2"
)
STUDY = """
name = "tiny"
[base]
"data.encoder" = "poisson"
"data.steps" = 3
"network.hidden" = [8]
"training.epochs" = 1
"training.batch" = 256
"training.warmup" = 2
[[cases]]
"training.lr" = 0.01
[[cases]]
"training.lr" = 0.02
"training.start_from" = "nowhere"
[[cases]]
"training.lr" = 0.03
"""


def write_images(folder: Path, count: int) -> None:
    """A set in MNIST's format, of noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (count, 4, 4)), np.arange(count) % 10
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape)
            (folder / name).write_bytes(header + array.astype(np.uint8).tobytes())


def result(line: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
    assert run(line) == status
    return json.loads(capsys.readouterr().out.rstrip("\n").splitlines()[-1])


def test_compare_prints_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    line = [*COMPARE.split(), "--rules", "fdfa,bptt", "--set", "fdfa:training.lr=0.01", "--seed", "4"]
    document = result([*line, "--out", str(out), "--json"], capsys)
    assert [row["rule"] for row in document["rows"]] == ["fdfa", "bptt"]
    for row in document["rows"]:
        assert row.keys() >= {"rule", "mean", "ci95", "seconds", "peak_mib", "alignment"}
        assert row["ci95"][0] <= row["mean"] <= row["ci95"][1]
    assert {p.name for p in out.iterdir()} == {
        "comparison.json", "report.html", "fdfa-s4", "fdfa-s5", "bptt-s4", "bptt-s5",
    }  # fmt: skip
    assert load_config(out / "fdfa-s4" / "config.toml").training.lr == 0.01
    assert load_config(out / "bptt-s5" / "config.toml").training.lr == 0.003
    again = result([*line, "--out", str(out), "--json"], capsys)
    assert again["rows"] == document["rows"]


def test_ablate_prints_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "s.toml", tmp_path / "a"
    file.write_text(STUDY)
    line = ["ablate", str(file), "--out", str(out), "--workers", "2"]
    document = result([*line, "--quiet", "--json"], capsys, status=1)  # one of them failed
    assert (document["done"], document["failed"]) == (2, 1)
    assert document["ledger"] == str(out / "ledger.sqlite")
    assert Path(document["ledger"]).is_file()
    html = Path(document["report"]).read_text()
    for part in ("training.lr", "Failed runs", "no checkpoint at nowhere", "Validation", "Test accuracy"):
        assert part in html
    assert run(line) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "2 done, 1 failed" in said
    assert "not distinguishable from 1 other point(s) by one seed" in said


def test_ablate_finds_data_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, file, out = tmp_path / "files", tmp_path / "s.toml", tmp_path / "a"
    write_images(root, 60)
    base = STUDY[: STUDY.index("[[cases]]")]
    study = (
        f'{base}"training.lr" = 0.01\n"data.name" = "mnist"\n[grid]\n"data.options" = [{{}}, {{ shift = 1 }}]'
    )
    file.write_text(study)
    line = ["ablate", str(file), "--out", str(out), "--workers", "1"]
    document = result([*line, "--data-root", str(root), "--json"], capsys)
    assert (document["done"], document["failed"]) == (2, 0)
    folders = list((out / "runs").iterdir())
    assert {load_config(folder / "config.toml").data.root for folder in folders} == {str(root)}
    still, moved = (read_epochs(folder)[0].train_loss for folder in folders)
    assert still != moved  # shifted images are other images
    assert str(root) not in (out / "study.toml").read_text()


def test_ray_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "s.toml").write_text(STUDY)
    line = ["ablate", str(tmp_path / "s.toml"), "--out", str(tmp_path / "a"), "--engine", "ray"]
    assert run(line) == 2
    assert "pip install 'neurofdfa[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compare --out {new}", "--rules"),
        ("compare --rules fdfa,nope --out {new}", "unknown rule 'nope'"),
        ("compare --rules fdfa --seeds 0 --out {new}", "--seeds takes"),
        ("compare --rules fdfa --seeds many --out {new}", "--seeds takes"),
        ("compare --rules fdfa --seeds 1,1 --out {new}", "listed twice"),
        ("compare --rules fdfa --data nope --out {new}", "unknown data set 'nope'"),
        ("compare --rules fdfa --set training.lrr=1 --out {new}", "no setting 'training.lrr'"),
        ("compare --rules fdfa --set seed=1 --out {new}", "--seeds and --rules"),
        ("compare --rules fdfa --set dfa:training.lr=1 --out {new}", "not among the rules"),
        ("compare --rules fdfa --epochs 0 --out {new}", "epochs"),
        ("compare --rules fdfa --out /proc/nowhere", "cannot create"),
        ("ablate {missing} --out {new}", "cannot read"),
        ("ablate {file} --out {new}", "not valid TOML"),
        ("ablate {file} --out {new} --engine nope", "unknown engine 'nope'"),
    ],
)
def test_one_line_and_exit_2(
    line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("this is no study")
    names = {name: tmp_path / name for name in ("new", "file", "missing")}
    assert run([word.format(**names) for word in line.split()]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert says in printed.err
    assert "Traceback" not in printed.err + printed.out
