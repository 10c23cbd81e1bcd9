"""The loaders run tonic itself on small files in the published formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurofdfa.data.binning import Binning
from neurofdfa.data.dataset import Split
from neurofdfa.data.load import load
from neurofdfa.errors import UserError

EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("y", np.int64), ("p", np.int64)])


def recording(*events: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(list(events), dtype=EVENT)


def spikes(events: np.ndarray, **settings: Any) -> np.ndarray:
    return Binning((4, 2, 2), **{"steps": 4, "window": 1.0} | settings)(events).dense().numpy()


def test_binning_by_hand() -> None:
    events = recording(
        (0, 0, 0, 0), (249_999, 3, 0, 0), (250_000, 0, 1, 1), (260_000, 1, 1, 1), (1_000_000, 0, 0, 0)
    )
    assert spikes(events).shape == (4, 16)
    assert np.argwhere(spikes(events)).tolist() == [[0, 0], [0, 3], [1, 12], [1, 13]]
    assert np.argwhere(spikes(events, pool=2)).tolist() == [[0, 0], [0, 1], [1, 2]]
    late = recording((5_000_000, 0, 0, 0), (5_250_000, 1, 0, 0))
    assert not spikes(late).any()
    assert np.argwhere(spikes(late, from_first=True)).tolist() == [[0, 0], [1, 1]]
    assert not spikes(recording(), from_first=True).any()
    assert spikes(events, whole=True).shape == (5, 16)


@pytest.mark.parametrize("event", [(0, 4, 0, 0), (0, 0, 2, 0), (0, 0, 0, 2), (0, -1, 0, 0), (-1, 0, 0, 0)])
def test_events_outside_sensor_or_time(event: tuple[int, int, int, int]) -> None:
    with pytest.raises(UserError, match="a recording has events"):
        spikes(recording(event))


def write_shd(folder: Path, size: int = 60) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    written: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for part in ("train", "test"):
        samples = [(np.sort(rng.random(30)), rng.integers(0, 700, 30)) for _ in range(size)]
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (size,), dtype=h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (size,), dtype=h5py.vlen_dtype(np.uint16))
            for i, (t, u) in enumerate(samples):
                times[i], units[i] = t.astype(np.float16), u.astype(np.uint16)
            file["labels"] = np.arange(size, dtype=np.uint16) % 20
            file["extra/keys"] = np.array([f"word{i}".encode() for i in range(20)])
            file["extra/speaker"] = np.zeros(size, dtype=np.uint16)
        written[part] = [(t.astype(np.float16).astype(np.float64), u) for t, u in samples]
    return written


def test_spiking_heidelberg_digits(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    written = write_shd(tmp_path / "SHD")
    data = load("shd", data_root=tmp_path, steps=50)
    assert (data.n_in, data.n_out, data.steps, data.shape) == (700, 20, 50, (1, 1, 700))
    assert (len(data.train), len(data.validation), data.test_size) == (48, 12, 60)
    test = data.open_test()
    assert test.targets.tolist() == [i % 20 for i in range(60)]
    for found, (times, units) in zip(test.inputs, written["test"], strict=True):
        expected = {(int(t * 50), int(u)) for t, u in zip(times, units, strict=True) if t < 1.0}
        assert {(int(t), int(n)) for t, n in np.argwhere(found.dense().numpy())} == expected
    few = load("shd", data_root=tmp_path, steps=50, limit=40)
    assert few.test_size == 40


def write_nmnist(folder: Path, per_class: int = 4) -> None:
    rng = np.random.default_rng(0)
    for part in ("Train", "Test"):
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
            for k in range(per_class):
                x, y = rng.integers(0, 34, (2, 50))
                p, t = rng.integers(0, 2, 50), np.sort(rng.integers(0, 300_000, 50))
                # Five bytes an event: x, y, polarity in the top bit of 23 bits of microseconds.
                raw = np.stack([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255], axis=1)
                (folder / part / str(digit) / f"{k:05d}.bin").write_bytes(raw.astype(np.uint8).tobytes())


def test_neuromorphic_mnist(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    write_nmnist(tmp_path / "NMNIST")
    data = load("nmnist", data_root=tmp_path, steps=30)
    assert (data.n_in, data.n_out, data.shape) == (578, 10, (2, 17, 17))
    assert (len(data.train), len(data.validation), data.test_size) == (32, 8, 40)
    full = load("nmnist", data_root=tmp_path, steps=30, pool=1).open_test()
    raw = (
        np.frombuffer((tmp_path / "NMNIST/Test/7/00002.bin").read_bytes(), np.uint8)
        .reshape(-1, 5)
        .astype(int)
    )
    time = ((raw[:, 2] & 127) << 16) | (raw[:, 3] << 8) | raw[:, 4]
    expected = {
        (int(t * 30 // 300_000), int((z >> 7) * 34 * 34 + y * 34 + x))
        for t, (x, y, z) in zip(time, raw[:, :3], strict=True)
    }
    assert {(int(t), int(n)) for t, n in np.argwhere(full.inputs[7 * 4 + 2].dense().numpy())} == expected


def test_folds_share_out_all_recordings(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    write_nmnist(tmp_path / "NMNIST")
    own = load("nmnist", data_root=tmp_path, steps=30)

    def seen(split: Split) -> list[bytes]:
        lists = [split.inputs[k] for k in range(len(split))]
        return [one.channels.tobytes() + one.counts.tobytes() for one in lists]

    everything = sorted(seen(own.train) + seen(own.validation) + seen(own.open_test()))
    tested: list[bytes] = []
    for fold in range(1, 6):
        data = load("nmnist", data_root=tmp_path, steps=30, fold=fold)
        train, validation, test = seen(data.train), seen(data.validation), seen(split := data.open_test())
        assert (len(train), len(validation), len(test)) == (58, 6, 16)
        assert sorted(train + validation + test) == everything
        assert np.bincount(split.targets).tolist() != [0] * 10
        tested += test
    assert sorted(tested) == everything
    for fold in (-1, 6):
        with pytest.raises(UserError, match="give 1 to 5"):
            load("nmnist", data_root=tmp_path, fold=fold)


def test_gestures(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    rng = np.random.default_rng(0)
    for part in ("ibmGestureTrain", "ibmGestureTest"):
        for user in ("user01_led", "user02_natural"):
            folder = tmp_path / "DVSGesture" / part / user
            folder.mkdir(parents=True)
            for label in range(11):
                columns = [*rng.integers(0, 128, (2, 40)), rng.integers(0, 2, 40), 700 + np.arange(40) * 10]
                np.save(folder / f"{label}.npy", np.stack(columns, axis=1).astype(np.float64))
    data = load("dvsgesture", data_root=tmp_path, steps=20)
    assert (data.n_in, data.n_out, data.shape) == (2048, 11, (2, 32, 32))
    test = data.open_test()
    assert all(
        found.counts[0] > 0 for found in test.inputs
    )  # time counts from the first event, 0.7 s into the recording
    assert test.targets.bincount().tolist() == [2] * 11


@pytest.mark.parametrize("name", ["shd", "nmnist", "dvsgesture"])
def test_missing_recordings_are_not_fetched_unasked(tmp_path: Path, name: str) -> None:
    pytest.importorskip("tonic")
    with pytest.raises(UserError, match="--data-root"):
        load(name, data_root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_recordings(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    write_shd(tmp_path / "SHD")
    content = (tmp_path / "SHD" / "shd_test.h5").read_bytes()
    (tmp_path / "SHD" / "shd_test.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot read shd"):
        load("shd", data_root=tmp_path)
    with h5py.File(tmp_path / "SHD" / "shd_train.h5", "r+") as file:
        file["labels"][3] = 77
    with pytest.raises(UserError, match="labels outside 0 to 19"):
        load("shd", data_root=tmp_path)


def test_without_tonic_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tonic.datasets", None)
    with pytest.raises(UserError, match=r"pip install 'neurofdfa\[events\]'"):
        load("shd", data_root=tmp_path)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs --data-root"):
        load("shd")
    for options, message in (
        ({"window": -1.0}, "window"),
        ({"limit": -1}, "limit"),
        ({"pool": -2}, "pool is -2"),
        ({"tempo": 2}, "no option 'tempo'"),
    ):
        with pytest.raises(UserError, match=message):
            load("shd", data_root=tmp_path, **options)
