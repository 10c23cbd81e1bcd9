"""Adam in one pass over memory, the same numbers as `torch.optim.Adam` and in its own state."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
import math

from neurofdfa.engine import simd
from neurofdfa.engine.compiled import jit, part


@part
def adam_tail(one, p, packed, g, m, v, count, numbers):
    """The last neurons of a row, fewer than a panel, one by one."""
    size = simd.width_of(one)
    for c in range(count):
        at = c * size
        w, x = simd.load_float(one, p + at), simd.load_float(one, g + at)
        x = x + w * numbers[5]
        m1, v1 = simd.load_float(one, m + at), simd.load_float(one, v + at)
        m1 = m1 + (x - m1) * numbers[0]
        v1 = v1 * numbers[1] + x * x * (1.0 - numbers[1])
        w = w - numbers[2] * m1 / (math.sqrt(v1) / numbers[3] + numbers[4])
        simd.store_float(one, p + at, w)
        simd.store_float(one, packed + at, w)
        simd.store_float(one, m + at, m1)
        simd.store_float(one, v + at, v1)
        simd.store_float(one, g + at, one * 0)


@jit
def adam_rows(one, p, packed, g, m, v, rows, n, wide, begin, end, numbers):
    """One step on the rows begin ≤ row < end of a `[rows, n]` parameter and of its copy in panels.

    Its gradient is in panels too and is set to 0. wide: panels of 64 before those of 16.
    numbers: 1 − β₁, β₂, lr/(1 − β₁ᵗ), √(1 − β₂ᵗ), ε, weight decay (Kingma & Ba 2015, algorithm 1).
    """
    size = simd.width_of(one)
    for row in range(begin, end):
        first = 0
        while first < n:
            lanes = 64 if first < 64 * wide else 16
            at, place = (row * n + first) * size, (first * rows + row * lanes) * size
            if first + lanes > n:
                adam_tail(one, p + at, packed + place, g + place, m + at, v + at, n - first, numbers)
            elif lanes == 64:
                simd.adam((0, 0, 0, 0), one, (*numbers, p + at, packed + place, g + place, m + at, v + at))
            else:
                simd.adam((0,), one, (*numbers, p + at, packed + place, g + place, m + at, v + at))
            first += lanes


@jit
def collect(one, to, source, begin, end):
    """To += source, source ← 0, for the bytes begin ≤ byte < end (multiples of 128)."""
    step = 16 * simd.width_of(one)
    for offset in range(begin, end, step):
        simd.take_row((0,), one, (to + offset, source + offset))
