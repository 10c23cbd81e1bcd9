"""`jit` and `part`: numba with the options that kernels share, and a cache that notices any change."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from neurofdfa.events.notice import announce_compiling

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy", "boundscheck": False}

_njit: Any = numba.njit  # pyright: ignore[reportUnknownMemberType]

F = TypeVar("F", bound=Callable[..., Any])


def part(function: F) -> F:
    """A function that only other kernels call: it needs no doors to Python and no cache entry of its own."""
    return _njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def _stamp() -> str:
    """Of every source that machine code may come from: numba itself looks at one file only."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    sources = [*here.glob("kernels/*.py"), *here.glob("simd/*.py"), here / "records.py", Path(__file__)]
    for file in sorted(sources):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_STAMP = _stamp()
announce_compiling()


def jit(function: F) -> F:
    """Compile an entry point at its first call, from the cache where it has this very version."""
    kernel = _njit(cache=True, **_OPTIONS)(function)
    entry: Any = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    if hasattr(entry, "_source_stamp"):
        entry._source_stamp = _STAMP
    return kernel
