from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurofdfa.data.level_crossing import level_crossing, reconstruct, resample
from neurofdfa.data.load import load
from neurofdfa.data.series import Timing, csv_file, japanese_vowels, pendigits
from neurofdfa.data.series_files import read_blocks, read_csv
from neurofdfa.errors import UserError


def test_resampling_by_hand() -> None:
    values = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, -1.0]])
    assert resample(values, 5).tolist() == [[0, 1], [1, 1], [2, 1], [3, 0], [4, -1]]
    assert resample(values, 2).tolist() == [[0, 1], [4, -1]]
    assert resample(values[:1], 3).tolist() == [[0, 1]] * 3


def test_level_crossings_by_hand() -> None:
    x = np.array([0.0, 0.9, 1.0, 3.5, 3.5, 3.5, 2.5, 1.9, -0.2])[None, :, None]
    spikes = level_crossing(x, 1.0)[0]
    assert spikes[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert spikes[:, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]


@given(seed=st.integers(0, 2**32 - 1), delta=st.floats(0.05, 1.0))
def test_slow_series_are_told_to_within_delta(seed: int, delta: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(-delta, delta, (2, 60, 3)), axis=1)
    spikes = level_crossing(x, delta)
    assert spikes.shape == (2, 60, 6)
    assert spikes.max() <= 1
    assert not (spikes[:, :, :3] & spikes[:, :, 3:]).any()
    assert np.abs(reconstruct(spikes, delta) - x).max() < delta * (1 + 1e-9)


def test_a_jump_is_caught_up_with_later() -> None:
    x = np.full((1, 30, 1), 2.0)
    assert reconstruct(level_crossing(x, 0.25), 0.25)[0, :, 0].tolist() == [
        min(0.25 * t, 2.0) for t in range(1, 31)
    ]


def write_vowels(folder: Path, per_speaker: int = 5) -> dict[str, list[np.ndarray]]:
    """Write files in the published format: 12 numbers and a blank per line, a line of ones after a block."""
    rng = np.random.default_rng(0)
    written: dict[str, list[np.ndarray]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ae.train", "ae.test"):
        blocks = [rng.normal(size=(rng.integers(7, 30), 12)).round(6) for _ in range(9 * per_speaker)]
        end = " ".join(["1.0"] * 12) + " \n"
        lines = [
            "".join(" ".join(f"{v:f}" for v in frame) + " \n" for frame in block) + end for block in blocks
        ]
        (folder / name).write_text("".join(lines))
        written[name] = blocks
    return written


def test_vowel_files_arrive_as_written(tmp_path: Path) -> None:
    written = write_vowels(tmp_path / "japanese-vowels")
    counts = (5,) * 9
    for end in ("1.0 " * 12, ""):  # blocks ended by ones, as here, or by an empty line, as at UCI
        path = tmp_path / "japanese-vowels" / "ae.train"
        path.write_text(path.read_text().replace("1.0 " * 12, end))
        blocks = read_blocks(path)
        assert all(np.array_equal(a, b) for a, b in zip(blocks, written["ae.train"], strict=True))
    data = japanese_vowels(tmp_path, Timing(40), train_counts=counts, test_counts=counts)
    assert (data.n_in, data.n_out, data.steps, data.kind) == (24, 9, 40, "spikes")
    assert (len(data.train), len(data.validation)) == (36, 9)
    assert data.validation.targets.bincount().tolist() == [1] * 9
    assert data.open_test().targets.tolist() == [k // 5 for k in range(45)]
    with pytest.raises(UserError, match="45 utterances, expected 270"):
        load("japanese-vowels", data_root=tmp_path)
    with pytest.raises(UserError, match="--data-root"):
        load("japanese-vowels", data_root=tmp_path / "elsewhere")


def test_a_truncated_vowel_file_is_noticed(tmp_path: Path) -> None:
    write_vowels(tmp_path)
    path = tmp_path / "ae.train"
    path.write_text(path.read_text()[:5003])
    with pytest.raises(UserError, match=r"utterances, expected|values where the first line has 12"):
        japanese_vowels(tmp_path, Timing(40), train_counts=(5,) * 9, test_counts=(5,) * 9)


def write_pendigits(path: Path, header: bool) -> np.ndarray:
    rows = np.random.default_rng(0).integers(0, 101, (50, 16))
    lines = ['"",' + ",".join(f'"c{i}"' for i in range(1, 17)) + ',"class"'] if header else []
    for i, row in enumerate(rows):
        number = [f'"{i + 1}"'] if header else []
        lines.append(",".join([*number, *map(str, row), str(i % 10)]))
    path.write_text("\n".join(lines) + "\n")
    return rows


@pytest.mark.parametrize("header", [True, False])
def test_pendigits_are_eight_points(tmp_path: Path, header: bool) -> None:
    rows = write_pendigits(tmp_path / "pendigits.csv", header)
    series, labels, _ = read_csv(tmp_path / "pendigits.csv", 2)
    assert np.array_equal(np.stack(series), rows.reshape(50, 8, 2))
    assert labels.tolist() == [i % 10 for i in range(50)]
    data = pendigits(tmp_path, Timing(30))
    assert (data.n_in, data.n_out, len(data.train), len(data.validation), data.test_size) == (
        4,
        10,
        30,
        10,
        10,
    )


def test_long_form_with_words_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    lines = ["series,x,y,Label"]
    for k in range(20):
        lines += [f"s{k},{t + k},{-t},{'walk' if k % 2 else 'run'}" for t in range(3 + k % 4)]
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n\r\n")
    series, labels, _ = read_csv(path)
    assert [len(s) for s in series] == [3 + k % 4 for k in range(20)]
    assert series[2].tolist() == [[2, 0], [3, -1], [4, -2], [5, -3], [6, -4]]
    assert labels.tolist() == [k % 2 for k in range(20)]
    data = load(str(path), steps=12, delta=0.5)
    assert (data.name, data.n_in, data.n_out, data.steps) == ("own", 4, 2, 12)


def test_standardisation_sees_the_training_part_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    rng = np.random.default_rng(0)
    rows = rng.normal(5.0, 3.0, (40, 6))
    path.write_text("\n".join(",".join([*map(repr, map(float, r)), str(i % 2)]) for i, r in enumerate(rows)))
    data = load(str(path), steps=6, encoder="direct")
    assert (data.kind, data.n_in) == ("sequence", 1)
    assert data.train.inputs.mean().abs() < 1e-6
    assert data.train.inputs.std(correction=0) == pytest.approx(1.0, abs=1e-6)
    assert data.validation.inputs.mean().abs() > 1e-4
    spikes = csv_file(path, Timing(6, 0.25))
    assert torch.equal(
        spikes.validation.inputs,
        torch.as_tensor(level_crossing(data.validation.inputs.double().numpy(), 0.25)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b,label\n", "no rows"),
        ("a,b,c\n1,2,3\n", "no label column"),
        ("label\n1\n", "no column of values"),
        ("a,b,label\n1,2,0\n1,2\n", "line 3: 2 values where the first line has 3"),
        ("a,b,label\n1,2,0\n1,x,0\n", "line 3: 'x' is not a number"),
        ("a,b,label\n1,nan,0\n", "line 2: nan is not a finite number"),
        ("a,label\n1,0\n2,1\n", "single point"),
        ("series,a,label\n1,0,0\n1,1,1\n", "series 1 has more than one label"),
        ("a,b,label\n1,2,0\n1,2,1\n", "too few"),
    ],
)
def test_csv_files_that_are_no_series(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load(str(path))
    assert str(path) in str(caught.value)


def test_other_refusals(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    with pytest.raises(UserError, match="cannot read"):
        load(str(path))
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a text file"):
        load(str(path))
    path.write_text("\n".join(f"{i},{i + 1},{i + 2},{i % 2}" for i in range(20)))
    with pytest.raises(UserError, match="3 values per row are no whole points of 2 channels"):
        load(str(path), channels=2)
    with pytest.raises(UserError, match="delta is -1"):
        load(str(path), delta=-1.0)
    with pytest.raises(UserError, match="at least 2 time steps"):
        load(str(path), steps=1)
    with pytest.raises(UserError, match="no option 'delta'"):
        load(str(path), encoder="direct", delta=0.5)
    (tmp_path / "blocks").write_text("1 2 3\n4 5\n")
    with pytest.raises(UserError, match="line 2: 2 values"):
        read_blocks(tmp_path / "blocks")
    (tmp_path / "blocks").write_text("\n\n")
    with pytest.raises(UserError, match="no series"):
        read_blocks(tmp_path / "blocks")
