"""Arrays in files that somebody else has written: nothing is unpickled, and sizes are checked first."""

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError

UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, SyntaxError, TypeError, OverflowError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise for damaged files."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, or the one of an .npy file, called "spikes".

    Raises `HardwareError` that names the file where it is damaged, holds objects, or promises more than it
    holds or than this machine's memory takes.
    """
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                check_room(_promised(path, "it", file, path.stat().st_size), path)
            return {"spikes": np.load(path, allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:
            sizes: list[int] = []
            for part in archive.infolist():
                with archive.open(part) as file:
                    sizes.append(_promised(path, f"`{part.filename}`", file, part.file_size))
            check_room(sum(sizes), path)
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise HardwareError(f"cannot read {path}: {reason}") from None


def check_room(count: float, path: Path) -> None:
    """Raise `HardwareError` where `count` bytes are more than this machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if count > memory:
        raise HardwareError(
            f"{path} stands for {count / 2**30:.1f} GiB and this machine has {memory / 2**30:.1f} GiB of "
            "memory: split it up"
        )


def _promised(path: Path, name: str, file: IO[bytes], size: int) -> int:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if kind.hasobject:
        raise HardwareError(f"{path}: {name} holds objects, and those are never loaded: give numbers")
    promised, held = math.prod(shape) * kind.itemsize, size - file.tell()
    if promised != held:
        raise HardwareError(f"{path}: {name} promises {promised} bytes and holds {held}: write it again")
    return promised
