"""Paired differences between the rows of a sweep."""

from typing import Any

from neurofdfa.lab.pairs import pairs


def row(rule: str, width: int, lr: float, validation: dict[int, float]) -> dict[str, Any]:
    runs = [
        {"seed": seed, "result": {"validation_accuracy": found, "test_accuracy": found - 0.1}}
        for seed, found in validation.items()
    ]
    return {"settings": {"rule.name": rule, "network.hidden": [width], "training.lr": lr}, "runs": runs}


def test_rows_that_differ_in_the_given_settings_are_compared_by_seed() -> None:
    rows = [
        row("dfa", 8, 0.1, {0: 0.5, 1: 0.6}),
        row("dfa", 16, 0.1, {0: 0.4}),
        row("fdfa", 8, 0.2, {1: 0.63, 0: 0.51, 2: 1.0}),
        row("bptt", 8, 0.2, {}),
    ]
    found = pairs(rows, ["rule.name", "training.lr"], ["rule.name", "network.hidden", "training.lr"])
    assert found.splitlines() == [
        "| network.hidden | rule.name, paired | validation | test | seeds |",
        "| --- | --- | --- | --- | --- |",
        # differences of 1 and 3 points: 2 ± 12.71 · √2 / √2
        "| [8] | fdfa − dfa | 2.00 ± 12.71 | 2.00 ± 12.71 | 2 |",
        "| [8] | bptt − dfa | – | – | 0 |",
        "| [8] | bptt − fdfa | – | – | 0 |",
    ]
