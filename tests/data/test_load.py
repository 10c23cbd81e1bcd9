from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurofdfa.data.load import load, names
from neurofdfa.errors import UserError


def test_names_lead_to_data() -> None:
    assert {"digits", "mnist", "fashion", "randman", "delayed-xor", "cue-accumulation", "pattern"} <= set(
        names()
    )
    assert load("digits").steps == 16
    assert load("digits", steps=9).steps == 9
    assert load("randman", steps=30, train=40, validation=20, test=20).steps == 30


def test_a_path_leads_to_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, images=np.random.default_rng(0).random((20, 6)), labels=np.arange(20) % 2)
    data = load(str(path), steps=11, encoder="latency")
    assert (data.name, data.n_in, data.n_out, data.steps) == ("own", 6, 2, 11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "minst"},
            "unknown data set 'minst': did you mean mnist.* choose one of digits, mnist, fashion",
        ),
        ({"name": "digits", "steps": 0}, "number of time steps is 0"),
        ({"name": "digits", "steps": -5}, "number of time steps is -5"),
        ({"name": "digits", "encoder": "morse"}, "unknown encoder 'morse'"),
        ({"name": "digits", "classes": 3}, "no option 'classes'; it takes none"),
        ({"name": "mnist"}, "needs --data-root"),
        ({"name": "fashion", "turn": 5}, "no option 'turn'; it has shift"),
        ({"name": "mnist", "data_root": "/nonexistent"}, "no mnist files"),
        ({"name": "nowhere.npz"}, "no file nowhere.npz"),
        ({"name": "randman", "colours": 3}, "no option 'colours'; it has classes, n_in"),
        ({"name": "randman", "classes": 2.5}, "classes is 2.5; give a whole number"),
        ({"name": "randman", "classes": "many"}, "classes is 'many'"),
        ({"name": "randman", "smoothness": True}, "smoothness is True; give a number"),
    ],
)
def test_what_cannot_be_loaded_says_why(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
