"""The one table in its three forms, and the tables of sweeps."""

from typing import Any

import pytest
from rich.console import Console

from neurofdfa.lab.results import FailedRun, FinishedRun, Measurement, PointSummary, RunResult, Sweep
from neurofdfa.lab.table import Cell, Column, printable, table, with_interval
from neurofdfa.lab.tables import chosen, pairs, points_table, sweep_markdown


def row(point: int, lr: float, rule: str, validation: float | None, n: int = 2, **more: Any) -> PointSummary:
    ends = None if validation is None else (validation - 0.01, validation + 0.01)
    shares = {"mean": validation, "ci95": ends, "validation_mean": validation, "validation_ci95": ends}
    rest = {"energy": 1.5e-6, "firing_rate": 0.05, "seconds": 2.0, "peak_mib": None}
    settings = {"rule.name": rule, "training.lr": lr} | more.pop("settings", {})
    return PointSummary.model_validate({"point": point, "settings": settings, "n": n} | shares | rest | more)


ROWS = [
    row(0, 0.1, "fdfa", 0.8), row(1, 0.2, "fdfa", 0.9), row(2, 0.3, "fdfa", 0.95, n=1),
    row(3, 0.1, "dfa", 0.7), row(4, 0.2, "dfa", 0.6), row(5, 0.1, "bptt", None, n=0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mean", "ends", "signed", "text"),
    [
        (0.975, (0.97, 0.98), False, "97.50 ± 0.50"),
        (0.975, None, False, "97.50"),
        (None, None, False, "–"),
        (-0.01, (-0.02, 0.0), True, "−1.00 ± 1.00"),
        (0.01, None, True, "+1.00"),
        (-0.714, (-0.724, -0.704), False, "loss 0.714 ± 0.01"),  # regression
    ],
)
def test_a_mean_with_half_of_its_interval(
    mean: float | None, ends: tuple[float, float] | None, signed: bool, text: str
) -> None:
    assert with_interval(mean, ends, signed=signed) == text


def test_texts_are_shown_letter_by_letter_everywhere() -> None:
    made = table(["[bold]name[/]", Column("n")], [["a[/x]|\x1b[31mred", Cell("1", 1.0)]], "cap[x]tion\x07")
    console = Console(width=200, record=True, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(made.rich())
    for part in ("[bold]name[/]", "a[/x]|\ufffd[31mred", "cap[x]tion\ufffd"):
        assert part in shown.get()
    assert made.markdown().splitlines() == [
        "| [bold]name[/] | n |",
        "| --- | --- |",
        "| a[/x]\\|\ufffd[31mred | 1 |",
    ]
    assert printable("tab\tand\nline \ud800") == "tab\tand\nline \ufffd"


def test_the_best_on_validation_whose_seeds_all_ran() -> None:
    assert [r.point for r in chosen(ROWS, ["training.lr"], 2)] == [1, 3]
    assert [r.point for r in chosen(ROWS, [], 2)] == [0, 1, 3, 4]


def test_points() -> None:
    text = points_table(chosen(ROWS, ["training.lr"], 2), ["rule.name", "training.lr"]).markdown()
    first, _, second, _ = text.splitlines()
    assert first == (
        "| rule.name | training.lr | validation % | test % | µJ per sample | seconds "
        "| spikes per neuron and step, % |"
    )
    assert second == "| fdfa | 0.2 | 90.00 ± 1.00 | 90.00 ± 1.00 | 1.50 | 2.0 | 5.0 |"


def test_tasks_become_columns_and_failures_are_told() -> None:
    def found(point: int, task: str, rule: str, accuracy: float | None, n: int, **more: Any) -> PointSummary:
        made = {"peak_mib": 3.0, "cpu_seconds": 2.0, "settings": {"task": task}} | more
        return row(point, 0.1, rule, accuracy, n, **made)

    failed = (FailedRun(seed=0, reason="diverged"),)
    rows = (
        found(0, "a", "fdfa", 0.8, 1, chosen=False),
        found(1, "a", "fdfa", 0.9, 2, chosen=True),
        found(2, "b", "fdfa", 0.7, 1, chosen=True, failed=failed),
        found(3, "a", "dfa", None, 0, chosen=False, failed=failed, cpu_seconds=None),
    )
    varied = ("task", "rule.name", "training.lr")
    text = sweep_markdown(Sweep(rows=rows, varied=varied, seeds=(0, 1), choose=("training.lr",)))
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


def with_seeds(point: int, settings: dict[str, Any], validation: dict[int, float]) -> PointSummary:
    runs = [
        FinishedRun(
            seed=seed,
            folder=f"r{seed}",
            result=RunResult(validation_accuracy=found, test_accuracy=found - 0.1, best_epoch=1),
            measured=Measurement(seconds=1.0, peak_mib=1.0),
        )
        for seed, found in validation.items()
    ]
    return PointSummary.of(runs, [], point=point, settings=settings)


def test_rows_that_differ_in_the_given_settings_are_compared_by_seed() -> None:
    def made(rule: str, width: int, lr: float, validation: dict[int, float]) -> PointSummary:
        return with_seeds(0, {"rule.name": rule, "network.hidden": [width], "training.lr": lr}, validation)

    rows = [
        made("dfa", 8, 0.1, {0: 0.5, 1: 0.6}),
        made("dfa", 16, 0.1, {0: 0.4}),
        made("fdfa", 8, 0.2, {1: 0.63, 0: 0.51, 2: 1.0}),
        made("bptt", 8, 0.2, {}),
    ]
    found = pairs(rows, ["rule.name", "training.lr"], ["rule.name", "network.hidden", "training.lr"])
    assert found.markdown().splitlines() == [
        "| network.hidden | rule.name, paired | validation | test | seeds |",
        "| --- | --- | --- | --- | --- |",
        # differences of 1 and 3 points: 2 ± 12.71 · √2 / √2
        "| [8] | fdfa − dfa | +2.00 ± 12.71 | +2.00 ± 12.71 | 2 |",
        "| [8] | bptt − dfa | – | – | 0 |",
        "| [8] | bptt − fdfa | – | – | 0 |",
    ]


def test_points_that_seeds_cannot_tell_from_the_best_are_named() -> None:
    """Momentum 0.5 at 80.6 % beside 0.9 at 79.6 % with a wide spread, and 0 far below both."""
    rows = (
        with_seeds(0, {"m": 0.5}, {0: 0.803, 1: 0.806, 2: 0.808}),
        with_seeds(1, {"m": 0.9}, {0: 0.830, 1: 0.752, 2: 0.806}),
        with_seeds(2, {"m": 0.0}, {0: 0.503, 1: 0.505, 2: 0.509}),
    )
    sweep = Sweep(rows=rows, varied=("m",), seeds=(0, 1, 2), best=0)
    assert [point.settings["m"] for point in sweep.not_distinguishable()] == [0.9]
    one = Sweep(rows=tuple(with_seeds(k, {"m": k}, {0: 0.5 + 0.1 * k}) for k in (0, 1)), seeds=(0,), best=1)
    assert [point.point for point in one.not_distinguishable()] == [0]  # one seed can tell nothing
