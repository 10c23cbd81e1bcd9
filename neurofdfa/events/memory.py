"""One block of memory per thread, cut into aligned pieces that the tables point at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes of a cache line: a vector that straddles two of them costs twice."""

Bytes = NDArray[np.uint8]


def aligned(size: int) -> Bytes:
    """Zeroed bytes that start on a cache line."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


@dataclass
class Arena:
    """Collects requests for pieces, then hands out their addresses from one allocation."""

    size: int = 0
    block: Bytes | None = None

    def reserve(self, size: int) -> int:
        """Ask for `size` bytes; returns an offset relative to `allocate`."""
        offset = self.size
        # a line in between: rows that are apart by a power of two would share cache sets
        self.size += -(-size // ALIGNMENT) * ALIGNMENT + ALIGNMENT
        return offset

    def allocate(self) -> int:
        """Address of the first byte."""
        self.block = aligned(max(self.size, ALIGNMENT))
        return int(self.block.ctypes.data)
