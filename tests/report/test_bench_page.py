"""The report of measurements: the numbers of the files, in a table and in the headline."""

import json
from pathlib import Path

import pytest

from neurofdfa import report
from neurofdfa.errors import UserError
from tests.report.html_check import Page

MIB = 1 << 20


def measurements(folder: Path) -> Path:
    rows = [
        {"peer": peer, "rule": rule, "T": steps, "batch": 8, "bytes": int(mib * MIB)}
        for peer, rule, grows in (("neurofdfa", "fdfa", 0), ("neurofdfa", "bptt", 1), ("snntorch", "bptt", 1))
        for steps in (100, 400)
        for mib in (3.5 + grows * steps / 10,)
    ]
    row = {
        "net": "A", "batch": 128, "peer": "snntorch", "version": "1.0", "ratio": 4.25, "spread": [4.1, 4.5],
        "seconds": 0.1, "peer_seconds": 0.425, "rates": [0.07], "peer_rates": [0.07],
    }  # fmt: skip
    for kind, found in (("memory", rows), ("train", [row])):
        document = {
            "kind": kind,
            "command": f"neurofdfa bench {kind}",
            "rows": found,
            "versions": {"torch": "2"},
        }
        (folder / f"{kind}.json").write_text(json.dumps(document))
    return folder


def test_memory_and_times_are_told(tmp_path: Path) -> None:
    page = Page(report.write(measurements(tmp_path)).read_text())
    page.check()
    assert "With 4 times as many time steps a training step of FDFA takes 1.0 times the memory" in page.text(
        "h1"
    )
    assert "one of BPTT 3.2 times" in page.text("h1")
    cells = page.text("td").replace("\u00a0", " ")
    for said in ("3.5 MiB", "43.5 MiB", "BPTT, snntorch", "4.25", "4.10 to 4.50", "425.0 ms"):
        assert said in cells
    assert "neurofdfa bench memory" in " ".join(page.text("span").split())
    assert report.figure(tmp_path).startswith(b"\x89PNG")
    (tmp_path / "memory.json").unlink()
    assert report.figure(tmp_path).startswith(b"\x89PNG")


def test_curves_and_an_epoch_are_told(tmp_path: Path) -> None:
    points = [
        {
            "axis": axis,
            "value": value,
            "seconds": 0.002 * value,
            "spread": [0.0015 * value, 0.003 * value],
            "work": 50.0,
        }
        for axis, values in (("steps", (10, 100)), ("density", (0.05, 0.2)))
        for value in values
    ]
    epochs = [
        {"peer": "neurofdfa", "version": "", "batches": 470, "seconds": 8.0},
        {"peer": "norse", "version": "1", "batches": 90, "seconds": 42.0},
    ]
    for kind, rows in (("curves", points), ("epoch", epochs)):
        document = {"kind": kind, "command": f"neurofdfa bench {kind}", "rows": rows, "versions": {}}
        (tmp_path / f"{kind}.json").write_text(json.dumps(document))
    page = Page(report.write(tmp_path).read_text())
    page.check()
    cells = page.text("td").replace("\u00a0", " ")
    for said in ("200.00 ms", "150.00 to 300.00", "share of active inputs", "42.0 s", "5.25", "90"):
        assert said in cells
    assert report.figure(tmp_path).startswith(b"\x89PNG")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (measurements(tmp_path) / "train.json").write_text("{")
    with pytest.raises(UserError, match=r"train\.json"):
        report.write(tmp_path)
