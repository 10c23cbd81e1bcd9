"""The fast profile: files that once broke a reader, and a few new ones of every format."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.run import attempt, kept, run


@pytest.mark.parametrize(
    ("name", "content"), [*kept()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_once_broke_a_reader_is_refused_in_one_line(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROFDFA_CACHE", str(tmp_path / "cache"))
    good = tmp_path / "good"
    good.mkdir()
    READERS[name].write(good)
    assert attempt(READERS[name], content, good, tmp_path) in (None, "refused")


def test_damaged_files_of_every_format_are_read_or_refused_in_one_line() -> None:
    found = run([*READERS], 4 * len(READERS), seed=1000)
    assert found.files == 4 * len(READERS)
    assert found.refused > found.files / 2
    assert found.read > 0
    assert not found.defects, found.defects


def test_a_reader_that_breaks_is_noticed(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        raise IndexError(folder)

    def endless(folder: Path) -> None:
        while True:
            pass

    reader = READERS["config"]
    (tmp_path / "good").mkdir()
    reader.write(tmp_path / "good")
    found = attempt(replace(reader, read=broken), b"", tmp_path / "good", tmp_path)
    assert found is not None
    assert found.startswith("IndexError")
    found = attempt(replace(reader, read=endless), b"", tmp_path / "good", tmp_path, seconds=0.2)
    assert found is not None
    assert "no end" in found
