"""Sweeps as Markdown tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from neurofdfa.lab.crosstable import Row
from neurofdfa.lab.markdown import chosen, main, sweep_tables, table


def row(point: int, lr: float, rule: str, validation: float | None, n: int = 2) -> dict[str, Any]:
    ends = None if validation is None else [validation - 0.01, validation + 0.01]
    shares = {"mean": validation, "ci95": ends, "validation_mean": validation, "validation_ci95": ends}
    rest = {"alignment": None, "energy": 1.5e-6, "firing_rate": 0.05, "seconds": 2.0}
    return {"point": point, "settings": {"rule.name": rule, "training.lr": lr}, "n": n} | shares | rest


ROWS = [
    row(0, 0.1, "fdfa", 0.8), row(1, 0.2, "fdfa", 0.9), row(2, 0.3, "fdfa", 0.95, n=1),
    row(3, 0.1, "dfa", 0.7), row(4, 0.2, "dfa", 0.6), row(5, 0.1, "bptt", None, n=0),
]  # fmt: skip


def test_the_best_on_validation_whose_seeds_all_ran() -> None:
    assert [r["point"] for r in chosen(ROWS, ["training.lr"], 2)] == [1, 3]
    assert [r["point"] for r in chosen(ROWS, [], 2)] == [0, 1, 3, 4]


def test_table() -> None:
    first, _, second, _ = table(chosen(ROWS, ["training.lr"], 2), ["rule.name", "training.lr"]).splitlines()
    assert first == (
        "| rule.name | training.lr | validation % | test % | µJ per sample | seconds "
        "| spikes per neuron and step, % |"
    )
    assert second == "| fdfa | 0.2 | 90.00 ± 1.00 | 90.00 ± 1.00 | 1.50 | 2.0 | 5.0 |"


def test_tasks_become_columns_and_failures_are_told() -> None:
    def found(point: int, task: str, rule: str, accuracy: float | None, n: int, **more: Any) -> Row:
        made = row(point, 0.1, rule, accuracy, n) | {"peak_mib": 3.0, "cpu_seconds": 2.0, "failed": []} | more
        return made | {"settings": made["settings"] | {"task": task}}

    failed = [{"seed": 0, "reason": "diverged"}]
    rows = [
        found(0, "a", "fdfa", 0.8, 1, chosen=False),
        found(1, "a", "fdfa", 0.9, 2, chosen=True),
        found(2, "b", "fdfa", 0.7, 1, chosen=True, failed=failed),
        found(3, "a", "dfa", None, 0, chosen=False, failed=failed, cpu_seconds=None),
    ]
    document = {"rows": rows, "varied": ["task", "rule.name", "training.lr"], "seeds": [0, 1]}
    _, text = sweep_tables(document | {"choose": ["training.lr"]})
    blocks = text.split("\n\n")
    assert blocks[0] == "Test accuracy, %"
    assert blocks[1].splitlines() == [
        "| rule.name | a | b |",
        "| --- | --- | --- |",
        "| fdfa | 90.00 ± 1.00 | 70.00 ± 1.00 (1 of 2) |",
        "| dfa | failed | – |",
    ]
    assert blocks[5].splitlines()[2:] == ["| fdfa | 2.0 s, 3.0 | 2.0 s, 3.0 |", "| dfa | – | – |"]
    assert blocks[6] == "Chosen training.lr"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "name": "tiny",
        "seeds": [0, 1],
        "varied": ["rule.name", "training.lr"],
        "rows": ROWS[:2] + ROWS[3:5],
    }
    (tmp_path / "ablation.json").write_text(json.dumps(document))
    for against in ("training.lr", "energy"):
        main([str(tmp_path), "--against", against, "--picture", str(tmp_path / f"{against}.png")])
        assert capsys.readouterr().out.count("\n") == 6
        assert (tmp_path / f"{against}.png").read_bytes().startswith(b"\x89PNG")
