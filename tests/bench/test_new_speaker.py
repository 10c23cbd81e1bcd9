"""The program of the sixth speaker, on generated tones: all ways to learn run, and they differ."""

import runpy
import wave
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "studies" / "new_speaker.py"
WAYS = ["frozen", "readout only", "dfa", "fdfa", "fdfa in floats"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three speakers of ten tones each; the third speaks higher than the others."""
    rng = np.random.default_rng(0)
    time = np.arange(1600) / 8000
    for speaker, (pitch, takes) in {"anna": (1.0, 8), "bert": (1.05, 8), "carl": (1.3, 13)}.items():
        for digit in range(10):
            for take in range(takes):
                tone = np.sin(2 * np.pi * (200 + 220 * digit) * pitch * time)
                sound = 12000 * (tone + 0.1 * rng.normal(size=time.size))
                with wave.open(str(tmp_path / f"{digit}_{speaker}_{take}.wav"), "wb") as file:
                    file.setparams((1, 2, 8000, 0, "NONE", ""))
                    file.writeframes(sound.astype("<i2").tobytes())
    return tmp_path


def test_it_runs_on_generated_speakers(recordings: Path) -> None:
    program = runpy.run_path(str(PROGRAM))
    found = program["main"](recordings, "carl", epochs=12)
    assert list(found) == WAYS
    assert all(0 <= value <= 1 for pair in found.values() for value in pair)
    assert found["frozen"][1] > 0.5
    assert len({found[way] for way in WAYS}) > 2
    program["draw"]({"carl": [found], "anna": [found, found]}, recordings / "speakers.png")
    assert (recordings / "speakers.png").stat().st_size > 5000


def test_what_is_counted_was_not_learnt() -> None:
    labels = np.repeat(np.arange(10), 50)
    parts = runpy.run_path(str(PROGRAM))["parts"](labels, 3)
    assert [len(part) for part in parts] == [60, 50, 390]
    assert len(set(np.concatenate(parts))) == 500
    assert set(np.bincount(labels[parts[0]])) == {6}
