"""The program of the sixth speaker, on generated tones: all ways to learn run, and they differ."""

import runpy
import wave
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "studies" / "new_speaker.py"
WAYS = ["frozen", "readout only", "dfa", "fdfa", "dkp", "two layers, frozen", "two layers, fdfa"]


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
    known, deep = (program["base"](recordings, ("carl",), hidden, 60) for hidden in ((48,), (48, 24)))
    found = program["sixth"](known, deep, "carl", 0, floats=False)
    assert list(found)[: len(WAYS)] == WAYS
    assert all(0 <= value <= 1 for pair in found.values() for value in pair)
    assert found["frozen"][1] > 0.5
    assert len({found[way] for way in WAYS}) > 2
    few = tuple(part[..., :4, :] if part.ndim == 3 else part[:4] for part in known.held["carl"])
    changed = program["in_floats"](known, "bptt", 1e-3, few)
    assert 0 <= program["right"](changed, few) <= 1
    results = {"carl": [found, found], "anna": [found]}
    lines = list(program["table"](results))
    assert lines[0].endswith("+0.0 ± 0.0 |")
    assert len(lines) == len(found)
    program["draw"](results, recordings / "speakers.png")
    assert (recordings / "speakers.png").stat().st_size > 5000


def test_a_network_that_two_speakers_are_kept_from(
    recordings: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = runpy.run_path(str(PROGRAM))
    kept = tmp_path_factory.mktemp("networks")
    first = program["base"](recordings, ("carl", "bert"), (16,), 1, kept)
    assert set(first.held) == {"carl", "bert"}
    assert len(first.known[1]) == 50  # anna's first five of each digit
    again = program["base"](recordings, ("carl", "bert"), (16,), 1, kept)
    weights = [np.asarray(one.program.connections[0].weight) for one in (first, again)]
    np.testing.assert_array_equal(*weights)


def test_what_is_counted_was_not_learnt() -> None:
    labels = np.repeat(np.arange(10), 50)
    parts = runpy.run_path(str(PROGRAM))["parts"](labels, 3)
    assert [len(part) for part in parts] == [60, 390]
    assert len(set(np.concatenate(parts))) == 450
    assert set(np.bincount(labels[parts[0]])) == {6}
