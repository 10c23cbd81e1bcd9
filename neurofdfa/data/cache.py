"""Event lists that took long to make, kept on disk and mapped from there the next time."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from neurofdfa.data.event_lists import EventList
from neurofdfa.data.recordings import FORMAT, EventStore, write_store
from neurofdfa.errors import UserError

VARIABLE = "NEUROFDFA_CACHE"
OFF = "off"
_told: set[str] = set()


def cache_folder() -> Path | None:
    """Where lists are kept: $NEUROFDFA_CACHE, else neurofdfa in the user's cache folder; None for "off"."""
    named = os.environ.get(VARIABLE, "")
    if named == OFF:
        return None
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "neurofdfa"


def cached_store(
    name: str, files: Sequence[Path], settings: object, n: int, make: Callable[[], Iterable[EventList]]
) -> EventStore:
    """Return the lists that `make` gives, one per recording, from disk if they were made before.

    They are found again by `name`, the files' paths, sizes and dates, and `settings` as they print. Nothing
    is kept when the cache is off; where it cannot be written, that is said once and the lists stay in memory.
    """
    root = cache_folder()
    if root is None:
        return EventStore.of(make(), n)
    folder = root / f"{name}-{_digest(files, settings)}"
    if folder.is_dir():
        try:
            return EventStore.open(folder)
        except UserError:  # cut off by a full disk, or of another version: it is made again
            shutil.rmtree(folder, ignore_errors=True)
    if not _writable(root):
        if str(root) not in _told:
            _told.add(str(root))
            warnings.warn(
                f"the cache {root} cannot be written: recordings are read again every time; name "
                f"another folder in ${VARIABLE}, or say {OFF}",
                stacklevel=3,
            )
        return EventStore.of(make(), n)
    write_store(folder, make(), n)
    return EventStore.open(folder)


def _writable(root: Path) -> bool:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(root, os.W_OK)


def _digest(files: Sequence[Path], settings: object) -> str:
    seen = hashlib.sha256(f"{FORMAT} {settings!r}".encode())
    for path in files:
        found = path.stat()
        seen.update(f"{path.absolute()} {found.st_size} {found.st_mtime_ns}\n".encode())
    return seen.hexdigest()[:24]
