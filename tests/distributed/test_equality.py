"""Two real processes that share every batch = one process with the whole batch, for every rule."""

import json
from typing import Any

import pytest

from tests.distributed.every_rule import BATCHES, CASES, PLAIN
from tests.distributed.start import torchrun


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("every-rule") / "found.json"
    ended = torchrun("-m", "tests.distributed.every_rule", str(out))
    assert ended.returncode == 0, ended.stderr
    return list(json.loads(out.read_text()).values())


@pytest.mark.serial
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{c.rule}-{i}" for i, c in enumerate(CASES)])
def test_two_processes_end_where_one_does(found: list[dict[str, Any]], number: int) -> None:
    """Weights, feedback, firing-rate averages, statistics and the generator, after unequal batches."""
    assert found[number]["moved"] > 1e-4  # something was learnt
    assert found[number]["distance"] < 1e-9  # float64
    assert found[number]["apart"] < 1e-12


@pytest.mark.serial
def test_one_message_per_update(found: list[dict[str, Any]]) -> None:
    """Without a rate target: everything that a batch has to say is in one bucket."""
    counted = [case["messages"] for case in found[: len(PLAIN)]]
    assert counted == [len(BATCHES)] * len(PLAIN)
