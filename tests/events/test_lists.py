"""Both ways of listing bits: this machine's, and the one for machines without AVX-512."""

from typing import Any

import numba
import numpy as np
import pytest

from neurofdfa.events.kernels import spikes


@pytest.mark.parametrize("way", ["append_bits", "extract_bits"])
def test_the_numbers_of_the_bits_that_are_set(way: str) -> None:
    append: Any = getattr(spikes, way)

    @numba.njit
    def listed(place: int, words: Any) -> int:
        count = 0
        for k in range(len(words)):
            count = append(place, count, 64 * k, words[k])
        return count

    g = np.random.default_rng(0)
    bits = g.random((40, 64)) < np.linspace(0, 1, 40)[:, None]
    words = np.packbits(bits, axis=1, bitorder="little").view(np.int64).ravel()
    events = np.full(40 * 64 + 16, -1, np.int32)
    expected = np.flatnonzero(bits)
    assert listed(events.ctypes.data, words) == len(expected)
    assert events[: len(expected)].tolist() == expected.tolist()
