"""Recordings of DV software (`.aedat4`), decoded by the package aedat in a process of its own.

The decoder ends its whole process where a file is damaged, so that no exception could tell of it. This file
is two programs: `read_aedat4`, and, run by itself with a recording's name, the process that decodes.
"""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa.errors import UserError

NAMES = ("t", "x", "y", "p")
NO_STREAM, NO_PACKAGE = 3, 4
"""What the decoding process ends with where there are no events in the file, and without the package."""


def read_aedat4(path: Path) -> dict[str, NDArray[Any]]:
    """Events of the first stream that has any: t in µs from the first event on, x, y and p (0 or 1), `[E]`.

    Raises `UserError`, with the file's name, for a damaged file, one without events, and a missing package.
    """
    found = subprocess.run(
        [sys.executable, "-P", __file__, os.fspath(path)],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if found.returncode == NO_PACKAGE:
        raise UserError(f"{path} is read by aedat, which is not installed: pip install 'neurofdfa[events]'")
    if found.returncode == NO_STREAM:
        raise UserError(f"{path} has no stream of events, only pictures or other measurements")
    if found.returncode:
        raise UserError(f"{path} cannot be read as events of DV software; is it whole?")
    columns = np.load(io.BytesIO(found.stdout), allow_pickle=False)
    return dict(zip(NAMES, columns, strict=True))


def _decode(path: str) -> int:
    """Write the events to standard output, `[4, E]` int64."""
    try:
        decoder: Any = importlib.import_module("aedat").Decoder(path)
    except ImportError:
        return NO_PACKAGE
    streams = [number for number, stream in decoder.id_to_stream().items() if stream["type"] == "events"]
    if not streams:
        return NO_STREAM
    packets = [packet["events"] for packet in decoder if packet["stream_id"] == min(streams)]
    columns = [
        np.concatenate([packet[name].astype(np.int64) for packet in packets] or [np.zeros(0, np.int64)])
        for name in ("t", "x", "y", "on")
    ]
    if len(columns[0]):
        columns[0] -= columns[0].min()  # it counts from 1970
    np.save(sys.stdout.buffer, np.stack(columns), allow_pickle=False)
    return 0


if __name__ == "__main__":
    sys.exit(_decode(sys.argv[1]))
