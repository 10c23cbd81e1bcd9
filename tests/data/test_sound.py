"""WAV files and the cochlea: by hand, against scipy, in pieces, and everything that a file can have wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile
from scipy.signal import freqz_sos, gammatone

from neurofdfa.data import Cochlea, EventList, Events, load
from neurofdfa.data.cochlea import gammatone_sections
from neurofdfa.data.wav import read_wav, read_wav_header
from neurofdfa.errors import UserError

RATE = 8000


def tone(frequency: float, seconds: float = 0.3, rate: int = RATE, loud: float = 1.0) -> np.ndarray:
    return loud * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("centre", [150.0, 1000.0, 3000.0])
def test_gammatones_are_scipys_where_those_keep_their_precision(centre: float) -> None:
    frequencies = np.linspace(50, 3900, 200)
    sections = gammatone_sections(np.array([centre]), RATE)[0]
    _, ours = freqz_sos(sections, worN=frequencies, fs=RATE)
    b, a = gammatone(centre, "iir", fs=RATE)
    z = np.exp(-2j * np.pi * frequencies / RATE)
    theirs = np.polyval(b[::-1], z) / np.polyval(a[::-1], z)
    assert np.abs(np.abs(ours) - np.abs(theirs)).max() < 2e-3
    _, peak = freqz_sos(sections, worN=[centre], fs=RATE)
    assert abs(peak[0]) == pytest.approx(1.0, abs=1e-9)


def test_low_bands_at_high_rates_stay_finite() -> None:
    cochlea = Cochlea(96_000.0, bands=8, low=30.0, output="currents")
    level = cochlea(np.random.default_rng(0).normal(0, 0.1, 48_000))
    assert np.isfinite(level).all()
    assert level.max() < 1.5


@pytest.mark.parametrize("filters", ["gammatone", "mel"])
def test_a_tone_excites_the_band_at_its_frequency_to_its_level(filters: str) -> None:
    cochlea = Cochlea(RATE, bands=20, filters=filters, output="currents", floor=-60.0)  # type: ignore[arg-type]
    level = cochlea(tone(float(cochlea.centres[12]), loud=0.1))[10:].mean(0)
    assert int(level.argmax()) == 12
    assert level[12] * 60 - 60 == pytest.approx(-20.0, abs=2.0)
    assert not cochlea(np.zeros(RATE)).any()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    filters=st.sampled_from(["gammatone", "mel"]),
    output=st.sampled_from(["level-crossing", "hair-cells", "currents"]),
    rate=st.sampled_from([8000.0, 11025.0]),
)
def test_a_stream_in_pieces_is_the_whole_to_the_last_bit(
    seed: int, filters: str, output: str, rate: float
) -> None:
    rng = np.random.default_rng(seed)
    cochlea = Cochlea(rate, bands=5, filters=filters, output=output)  # type: ignore[arg-type]
    sound = rng.normal(0, 0.1, 2500)
    stream, parts, start = cochlea.stream(), [], 0
    while start < len(sound):
        size = int(rng.integers(0, 400))
        parts.append(stream.push(sound[start : start + size]))
        start += size
    whole = cochlea(sound)
    assert whole.shape == (round(np.floor(2500 / rate / 0.01 + 1e-9)), cochlea.n)
    assert np.array_equal(np.concatenate(parts), whole)


def test_hair_cells_by_hand() -> None:
    cochlea = Cochlea(RATE, bands=1, low=1000.0, high=1001.0, output="hair-cells", threshold=20.0)
    decay, membrane, expected = np.exp(-0.01 / 0.02), 0.0, []
    level = Cochlea(RATE, bands=1, low=1000.0, high=1001.0, output="currents")(tone(1000.0, 0.5))[:, 0] * 60.0
    for drive in level.astype(np.float64):
        membrane = decay * membrane + (1 - decay) * drive
        expected.append(membrane >= 20.0)
        membrane = 0.0 if expected[-1] else membrane
    assert cochlea(tone(1000.0, 0.5))[:, 0].tolist() == expected
    assert sum(expected) > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 0.0}, "sample rate is 0"),
        ({"bands": 0}, "of 0 bands"),
        ({"low": 5000.0}, "bands from 5000"),
        ({"high": 4001.0}, "<= 4000"),
        ({"step": 1e-5}, "shorter than a sample"),
        ({"filters": "comb"}, "unknown cochlea 'comb'"),
        ({"output": "words"}, "'words'"),
        ({"floor": 3.0}, "floor is 3"),
        ({"delta": 0.0}, "delta is 0"),
        ({"tau": float("nan")}, "tau is nan"),
    ],
)
def test_cochleas_that_cannot_be(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Cochlea(**{"sample_rate": float(RATE)} | arguments)  # type: ignore[arg-type]


def write_24_bits(path: Path, sound: np.ndarray) -> None:
    values = np.round(sound * (2**23 - 1)).astype("<i4")
    body = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    layout = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 3, 3, 24)
    size = 4 + 8 + len(layout) + 8 + len(body)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", 16) + layout + b"data"
        + struct.pack("<I", len(body)) + body
    )  # fmt: skip


@pytest.mark.parametrize("form", ["u1", "i2", "i3", "i4", "f4", "f8"])
def test_every_sample_format_is_the_same_sound(tmp_path: Path, form: str) -> None:
    path, sound = tmp_path / "a.wav", tone(440.0, loud=0.5)
    if form == "i3":
        write_24_bits(path, sound)
    elif form == "u1":
        wavfile.write(path, RATE, np.round(sound * 127 + 128).astype(np.uint8))
    else:
        scale = np.iinfo(form).max if form[0] == "i" else 1.0
        wavfile.write(path, RATE, (sound * scale).astype(form))
    assert read_wav_header(path)[:3] == (RATE, 1, len(sound))
    assert np.abs(read_wav(path) - sound).max() < (0.01 if form == "u1" else 1e-4)


def test_stereo_is_mixed_and_rates_are_changed(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", 16_000, np.stack([tone(300.0, rate=16_000), np.zeros(4800)], 1))
    sound = read_wav(tmp_path / "a.wav", RATE)
    assert len(sound) == 2400
    assert np.abs(sound[200:-200] - 0.5 * tone(300.0)[200:-200]).max() < 0.01


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    wavfile.write(path, RATE, (tone(440.0) * 32767).astype(np.int16))
    content = path.read_bytes()
    cases = {
        "is not a WAV file": b"hello, I am no sound at all",
        "is cut off: it promises 4800 bytes of sound and holds 4700": content[:-100],
        "is cut off or damaged": content[:20],
        "is compressed": content[:20] + struct.pack("<H", 0x55) + content[22:],
        "promises 4000000000 bytes": content[:40] + struct.pack("<I", 4_000_000_000) + content[44:],
        "is empty": content[:40] + struct.pack("<I", 0),
        "0 channels": content[:22] + struct.pack("<H", 0) + content[24:],
    }
    for message, damaged in cases.items():
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=message) as caught:
            read_wav(path)
        assert str(path) in str(caught.value)
    wavfile.write(path, RATE, np.array([0.0, np.nan], np.float32))
    with pytest.raises(UserError, match=r"bad\.wav contains NaN"):
        read_wav(path)
    with pytest.raises(UserError, match="cannot read"):
        read_wav(tmp_path / "nowhere.wav")


def write_words(folder: Path, per_class: int = 10, flat: bool = False) -> None:
    rng = np.random.default_rng(0)
    for word, frequency in (("low", 300.0), ("high", 2000.0)):
        for k in range(per_class):
            sound = tone(frequency, 0.2 + 0.01 * k) + rng.normal(0, 0.01, round((0.2 + 0.01 * k) * RATE))
            speaker = ("ann", "bob")[k % 2]
            place = folder / f"{word}_{speaker}_{k}.wav" if flat else folder / word / f"{k}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            wavfile.write(place, RATE, (sound * 20_000).astype(np.int16))


@pytest.mark.parametrize("flat", [False, True])
def test_a_folder_of_words_becomes_lists_of_spikes(tmp_path: Path, flat: bool) -> None:
    write_words(tmp_path, flat=flat)
    data = load(str(tmp_path))
    assert (data.kind, data.n_in, data.n_out, data.steps) == ("spikes", 80, 2, 29)
    assert data.classes == ("high", "low")
    assert (len(data.train), len(data.validation), data.test_size) == (12, 4, 4)
    x, target = next(data.train.batches(12))  # type: ignore[misc]
    assert isinstance(x, Events)
    counts = x.dense(torch.float32).sum(0)
    assert counts[target == 0][:, 20:40].sum() > 1.5 * counts[target == 1][:, 20:40].sum()
    longer = load(str(tmp_path), steps=50, bands=10, output="hair-cells", filters="mel")
    assert (longer.n_in, longer.steps) == (10, 50)
    sample = longer.train[0][0]
    assert isinstance(sample, EventList)
    assert not sample.counts[30:].any()  # silence after the end


def test_lengths_of_their_own_and_currents(tmp_path: Path) -> None:
    write_words(tmp_path)
    data = load(str(tmp_path), whole=True, output="currents", bands=6)
    assert (data.kind, data.steps) == ("sequence", 29)
    x, _, lengths = next(data.train.batches(12))  # type: ignore[misc]
    assert x.shape == (int(lengths.max()), 12, 6)
    assert data.train.lengths is not None
    assert lengths.tolist() == data.train.lengths.tolist()
    assert len(set(lengths.tolist())) > 3


def test_speakers_can_be_left_out(tmp_path: Path) -> None:
    write_words(tmp_path, flat=True)
    data = load(str(tmp_path), speaker="bob")
    assert (len(data.train), len(data.validation), data.test_size) == (8, 2, 10)
    with pytest.raises(UserError, match="nothing by speaker 'eve'; it has ann, bob"):
        load(str(tmp_path), speaker="eve")


def test_spoken_digits_have_an_official_split(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for digit in range(2):
        for speaker in ("ann", "bob"):
            for k in range(12):
                sound = (tone(300.0 + 900 * digit, 0.1 + 0.1 * k) * 9000).astype(np.int16)
                wavfile.write(folder / f"{digit}_{speaker}_{k}.wav", RATE, sound)
    data = load("fsdd", data_root=tmp_path)
    assert (len(data.train), len(data.validation), data.test_size, data.steps) == (8, 20, 20, 100)
    test = data.open_test()
    assert test.targets.tolist() == [0] * 10 + [1] * 10
    alone = load("fsdd", data_root=tmp_path, speaker="ann", steps=40)
    assert (len(alone.train), len(alone.validation), alone.test_size, alone.steps) == (14, 10, 24, 40)
    with pytest.raises(UserError, match="no recordings of fsdd"):
        load("fsdd", data_root=tmp_path / "elsewhere")
    wavfile.write(folder / "0_ann_last.wav", RATE, np.zeros(800, np.int16))
    with pytest.raises(UserError, match=r"0_ann_last\.wav is not named"):
        load("fsdd", data_root=tmp_path)


def test_folders_that_do_not_fit_are_refused_with_the_files_name(tmp_path: Path) -> None:
    write_words(tmp_path)
    wavfile.write(tmp_path / "low" / "odd.wav", 44_100, np.zeros(44_100, np.int16))
    with pytest.raises(UserError, match=r"odd\.wav has 44100 samples a second .* rate = 8000"):
        load(str(tmp_path))
    assert load(str(tmp_path), rate=8000).steps == 100
    (tmp_path / "low" / "odd.wav").unlink()
    wavfile.write(tmp_path / "low" / "two.wav", RATE, np.zeros((800, 2), np.int16))
    with pytest.warns(UserWarning, match="several channels, which are mixed down"):
        load(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no"):
        load(str(tmp_path))
    (tmp_path / "empty").rmdir()
    wavfile.write(tmp_path / "stray.wav", RATE, np.zeros(800, np.int16))
    with pytest.raises(UserError, match=r"stray\.wav has no class"):
        load(str(tmp_path))
    (tmp_path / "stray.wav").unlink()
    with pytest.raises(UserError, match="one recording: give the folder"):
        load(str(tmp_path / "low" / "1.wav"))
    with pytest.raises(UserError, match="bands is 'many'; give a whole number"):
        load(str(tmp_path), bands="many")


def test_a_class_with_one_recording_is_learnt_and_a_class_alone_refused(tmp_path: Path) -> None:
    write_words(tmp_path)
    (tmp_path / "rare").mkdir()
    wavfile.write(tmp_path / "rare" / "0.wav", RATE, np.zeros(1600, np.int16))
    data = load(str(tmp_path))
    assert data.train.targets.tolist().count(2) == 1
    for word in ("low", "rare"):
        for path in (tmp_path / word).iterdir():
            path.unlink()
        (tmp_path / word).rmdir()
    with pytest.raises(UserError, match="one class only"):
        load(str(tmp_path))


def test_the_folders_own_parts_are_kept(tmp_path: Path) -> None:
    for part, size in (("Train", 6), ("valid", 3), ("Testing", 2)):
        write_words(tmp_path / part, per_class=size)
    data = load(str(tmp_path))
    assert (len(data.train), len(data.validation), data.test_size) == (12, 6, 4)
    (tmp_path / "Testing" / "new").mkdir()
    wavfile.write(tmp_path / "Testing" / "new" / "0.wav", RATE, np.zeros(1600, np.int16))
    with pytest.raises(UserError, match=r"0\.wav is of class 'new', which no training"):
        load(str(tmp_path))
