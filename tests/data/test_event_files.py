"""Folders of the user's own event files, in every format that is read, and everything that can be wrong in
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurofdfa.data import Dataset, EventList, load
from neurofdfa.data.event_files import read_events
from neurofdfa.errors import UserError

EVENT = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8)])
SENSOR = (12, 8)


def recording(seed: int, size: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = np.zeros(size, EVENT)
    events["t"] = np.sort(rng.integers(0, 100_000, size))
    events["x"], events["y"] = rng.integers(0, SENSOR[0], size), rng.integers(0, SENSOR[1], size)
    events["p"] = rng.integers(0, 2, size)
    if size:
        events["t"][0] = 0
        events[-1] = (99_999, SENSOR[0] - 1, SENSOR[1] - 1, 1)
    return events


def write_npy(path: Path, events: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), events)


def write_columns(path: Path, events: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), np.stack([events[name].astype(np.int64) for name in "txyp"], 1))


def write_npz(path: Path, events: np.ndarray) -> None:
    np.savez(path.with_suffix(".npz"), **{name: events[name] for name in "txyp"})


def write_hdf5(path: Path, events: np.ndarray) -> None:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name in "txyp":
            file[f"events/{name}"] = events[name]


def write_aer(path: Path, events: np.ndarray) -> None:
    x, y, p, t = (events[name].astype(np.int64) for name in "xypt")
    raw = np.stack([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255], axis=1)
    path.with_suffix(".bin").write_bytes(raw.astype(np.uint8).tobytes())


def write_prophesee(path: Path, events: np.ndarray, encoding: str = "evt3") -> None:
    wizard: Any = pytest.importorskip("expelliarmus").Wizard(encoding=encoding)
    wizard.save(fpath=str(path.with_suffix(".dat" if encoding == "dat" else ".raw")), arr=events)


def write_evt2(path: Path, events: np.ndarray) -> None:
    write_prophesee(path, events, "evt2")


def write_dat(path: Path, events: np.ndarray) -> None:
    write_prophesee(path, events, "dat")


def write_aedat4(path: Path, events: np.ndarray) -> None:
    dv: Any = pytest.importorskip("dv_processing")
    store = dv.EventStore()
    for t, x, y, p in events:
        store.push_back(1_700_000_000_000_000 + int(t), int(x), int(y), bool(p))  # counted from 1970
    form = dv.io.MonoCameraWriter.EventOnlyConfig("camera", SENSOR)
    writer = dv.io.MonoCameraWriter(str(path.with_suffix(".aedat4")), form)
    writer.writeEvents(store)


WRITERS = {
    "npy": write_npy,
    "columns": write_columns,
    "npz": write_npz,
    "hdf5": write_hdf5,
    "aer": write_aer,
    "evt2": write_evt2,
    "evt3": write_prophesee,
    "dat": write_dat,
    "aedat4": write_aedat4,
}


def write_folder(folder: Path, write: Any = write_npy, per_class: int = 5) -> list[np.ndarray]:
    written: list[np.ndarray] = []
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for k in range(per_class):
            written.append(recording(len(written)))
            write(folder / label / f"{k}", written[-1])
    return written


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_becomes_the_same_lists(tmp_path: Path, form: str) -> None:
    pytest.importorskip("tonic")
    written = write_folder(tmp_path, WRITERS[form])
    data = load(str(tmp_path), steps=10)
    assert (data.n_in, data.n_out, data.steps, data.shape) == (2 * 8 * 12, 2, 10, (2, 8, 12))
    assert data.classes == ("left", "right")
    assert (len(data.train), len(data.validation), data.test_size) == (6, 2, 2)
    expected = []
    for events in written:
        channel = (events["p"].astype(int) * 8 + events["y"]) * 12 + events["x"]
        expected.append({(int(t) // 10_000, int(c)) for t, c in zip(events["t"], channel, strict=True)})
    for split in (data.train, data.validation, data.open_test()):
        for sample, _ in split:  # type: ignore[misc]
            assert isinstance(sample, EventList)
            assert set(zip(sample.times.tolist(), sample.channels.tolist(), strict=True)) in expected


def test_stated_sensor_pooling_windows_and_lengths(tmp_path: Path) -> None:
    write_folder(tmp_path)
    stated = load(str(tmp_path), steps=20, width=20, height=16, window=0.05, pool=4)
    assert (stated.n_in, stated.steps) == (2 * 4 * 5, 20)
    merged = load(str(tmp_path), steps=20, polarities=1)
    assert merged.shape == (1, 8, 12)
    short = recording(99, 30)
    short["t"] //= 3
    write_npy(tmp_path / "left" / "short", short)
    data = load(str(tmp_path), steps=20, whole=True)
    lengths = [load_lengths.tolist() for load_lengths in (data.train.lengths,) if load_lengths is not None]
    assert data.steps == 20
    assert lengths == [] or min(lengths[0]) >= 6


@pytest.mark.parametrize("codes", ["bool", "signs", "zeros and ones"])
def test_any_order_repetitions_and_polarity_codes(tmp_path: Path, codes: str) -> None:
    write_folder(tmp_path / "plain")
    kind = {"bool": np.bool_, "signs": np.int8, "zeros and ones": np.float32}[codes]

    def write(path: Path, events: np.ndarray) -> None:
        twice = np.random.default_rng(1).permutation(np.concatenate([events, events[:20]]))
        p = twice["p"].astype(np.int64)
        columns = {"t": twice["t"] / 1e6, "x": twice["x"], "y": twice["y"]}
        np.savez(path.with_suffix(".npz"), **columns, p=(2 * p - 1 if codes == "signs" else p).astype(kind))

    write_folder(tmp_path / "other", write)
    plain, other = load(str(tmp_path / "plain"), steps=7), load(str(tmp_path / "other"), steps=7, unit="s")
    for one, two in zip(plain.train, other.train, strict=True):  # type: ignore[call-overload]
        assert one[0].channels.tolist() == two[0].channels.tolist()
        assert one[0].counts.tolist() == two[0].counts.tolist()


def test_empty_recordings_are_silent(tmp_path: Path) -> None:
    write_folder(tmp_path)
    write_npy(tmp_path / "left" / "empty", recording(0, 0))
    data = load(str(tmp_path), steps=10)
    everything = [len(x) for split in (data.train, data.validation, data.open_test()) for x, _ in split]  # type: ignore[misc]
    assert sorted(everything)[0] == 0
    assert len(everything) == 11


def bad_folder(folder: Path, change: Any) -> Path:
    write_folder(folder)
    events = recording(7)
    path = folder / "right" / "bad.npy"
    changed = change(events)
    if changed is not None:
        np.save(path, changed)
    return path


def with_field(name: str, value: float) -> Any:
    def change(events: np.ndarray) -> np.ndarray:
        kinds = np.dtype([("t", np.float64), ("x", np.float64), ("y", np.float64), ("p", np.float64)])
        changed = events.astype(kinds)
        changed[name][3] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (with_field("x", 12), {"width": 12, "height": 8}, "events at x 12, outside 0 to 11"),
        (with_field("y", -1), {}, "events at y -1, outside 0"),
        (with_field("p", 3), {}, "polarity 0, 1, 3"),
        (with_field("p", -1), {}, "polarity -1, 0, 1"),
        (with_field("t", -5), {}, "before its start"),
        (with_field("t", float("nan")), {}, "NaN or infinite"),
        (with_field("x", 2.5), {}, "not whole"),
        (lambda events: events[["t", "x", "y"]], {}, "no field 'p'"),
        (lambda events: events["t"], {}, r"shape \(300,\): give \[events, 4\]"),
        (lambda events: events, {"unit": "ns", "window": 0.1}, "state the unit"),
        (lambda events: events, {"unit": "s", "window": 0.1}, "state the unit"),
        (lambda events: events, {"unit": "hours"}, "unknown unit"),
        (lambda events: events, {"order": "txyy"}, "order of columns"),
        (lambda events: np.array([{}, {}], dtype=object), {}, "is not a readable .npy file"),
        (lambda events: events, {"width": 2**16, "height": 2**16}, "pool more pixels"),
        (lambda events: events, {"whole": True, "window": 1e-6, "steps": 100}, "check the unit of time"),
    ],
)
def test_bad_recordings_are_refused_with_the_files_name(
    tmp_path: Path, change: Any, settings: dict[str, Any], message: str
) -> None:
    bad_folder(tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        load(str(tmp_path), **settings)
    said = str(caught.value)
    assert "\n" not in said
    if not {"order", "unit"} & set(settings) and "pool" not in message and "whole" not in settings:
        assert "bad.npy" in said


@pytest.mark.parametrize("form", ["npy", "npz", "hdf5", "aer", "evt3", "aedat4"])
def test_truncated_files(tmp_path: Path, form: str) -> None:
    WRITERS[form](tmp_path / "a", recording(0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3 - 1 if form != "evt3" else 3])
    with pytest.raises(UserError) as caught:
        read_events(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_million_channels_stay_lists(tmp_path: Path) -> None:
    write_folder(tmp_path)
    data = load(str(tmp_path), steps=10, width=1280, height=720)
    assert data.n_in == 1280 * 720 * 2
    x, _ = next(data.train.batches(6))  # type: ignore[misc]
    assert x.shape == (10, 6, data.n_in)
    assert len(x) > 300


def test_augmentation_by_settings_touches_training_alone(tmp_path: Path) -> None:
    write_folder(tmp_path)
    plain = load(str(tmp_path), steps=10)
    changed = load(
        str(tmp_path), steps=10, drop=0.5, time_shift=2, channel_shift=1, time_jitter=0.5, speed=0.1
    )

    def events(data: Dataset, part: str, seed: int | None) -> int:
        return sum(len(x) for x, _ in getattr(data, part).batches(8, seed=seed))

    assert events(changed, "train", 0) < 0.7 * events(plain, "train", 0)
    assert events(changed, "train", None) == events(plain, "train", None)
    assert events(changed, "validation", 0) == events(plain, "validation", None)
    with pytest.raises(UserError, match="drop is 2"):
        load(str(tmp_path), steps=10, drop=2.0)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_aer(tmp_path / "a", recording(0))
    monkeypatch.setitem(__import__("sys").modules, "tonic.io", None)
    with pytest.raises(
        UserError, match=r"read by tonic, which is not installed: pip install 'neurofdfa\[events\]'"
    ):
        read_events(tmp_path / "a.bin")


def test_a_camera_file_without_events_is_named(tmp_path: Path) -> None:
    dv: Any = pytest.importorskip("dv_processing")
    form = dv.io.MonoCameraWriter.FrameOnlyConfig("camera", SENSOR)
    path = tmp_path / "pictures.aedat4"
    dv.io.MonoCameraWriter(str(path), form)
    with pytest.raises(UserError, match=r"pictures\.aedat4 (has no stream of events|cannot be read)"):
        read_events(path)


def test_the_decoder_of_camera_files_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "aedat.py").write_text("raise ImportError('no such package')")
    monkeypatch.syspath_prepend(str(tmp_path / "shadow"))
    (tmp_path / "a.aedat4").write_bytes(b"")
    with pytest.raises(UserError, match=r"aedat, which is not installed: pip install 'neurofdfa\[events\]'"):
        read_events(tmp_path / "a.aedat4")
