"""Reading .npz files that somebody else has written: nothing is unpickled, and sizes are checked first."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from neurofdfa.errors import UserError

Arrays = Mapping[str, NDArray[np.generic]]
ENCRYPTED = 0x1
UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, SyntaxError, TypeError, OverflowError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise for damaged files."""


def read_npz(path: Path) -> Arrays:
    """Read all arrays of an .npz file.

    Before any memory is taken, what each array's header promises is compared with the size of its part of the
    file, and the sum with this machine's memory. Raises `UserError`, with the file's name, for what is no
    such file, for object arrays (which would be unpickled), and for parts that are encrypted, doubled, no
    arrays, or not as large as they say.
    """
    if not path.is_file():
        raise UserError(f"no file {path}")
    try:
        if not zipfile.is_zipfile(path):
            np.load(path, mmap_mode="r", allow_pickle=False)  # raises for what is no array either
            raise UserError(f"{path} holds a single array: write several, with names, with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            _check(path, archive)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: cast(NDArray[np.generic], arrays[name]) for name in arrays.files}
    except UNREADABLE as error:
        raise UserError(f"{path} is not a readable .npz file ({error}); write it with numpy.savez") from error


def read_npy(path: Path) -> NDArray[Any]:
    """Map the array of an .npy file; `UserError` as for `read_npz`."""
    try:
        return cast(NDArray[Any], np.load(path, mmap_mode="r", allow_pickle=False))
    except UNREADABLE as error:
        raise UserError(f"{path} is not a readable .npy file ({error}); write it with numpy.save") from error


def memory_bytes() -> int:
    """How much memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    seen: set[str] = set()
    total = 0
    for part in archive.infolist():
        name = part.filename.removesuffix(".npy")
        if part.filename in seen:
            raise UserError(f"{path} has two parts called {part.filename}; write it with numpy.savez")
        seen.add(part.filename)
        if part.flag_bits & ENCRYPTED:
            raise UserError(f"{path}: `{name}` is encrypted; write it with numpy.savez")
        with archive.open(part) as file:
            shape, kind, header = _header(path, part.filename, file)
        if kind.hasobject:
            raise UserError(
                f"{path}: `{name}` is an object array, and those are never loaded; "
                "give numbers, of the same shape for every sample"
            )
        promised, held = math.prod(shape) * kind.itemsize, part.file_size - header
        if promised != held:
            raise UserError(f"{path}: `{name}` promises {promised} bytes and holds {held}; write it again")
        total += promised
    if total > memory_bytes():
        raise UserError(
            f"{path} holds {total / 2**30:.1f} GiB of arrays and this machine has "
            f"{memory_bytes() / 2**30:.1f} GiB of memory: split it up"
        )


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(file)
    except (ValueError, EOFError) as error:
        if isinstance(error, EOFError) or "magic" not in str(error):
            raise
        raise UserError(f"{path} has a part {name} that is no array; write it with numpy.savez") from error
    return shape, kind, file.tell()
