"""Every weight is touched once per step: optimizer, the copy in panels and the empty gradient in one pass."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
import math

from neurofdfa.events import simd
from neurofdfa.events.compiled import jit, part
from neurofdfa.events.fields import (
    COLUMNS,
    FIRST_MOMENT,
    FOLLOWS,
    PANEL_COPY,
    PANEL_GRADIENT,
    PARAMETER,
    ROWS,
    SECOND_MOMENT,
    WIDE_PANELS,
)


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
        w = w - numbers[2] * m1 / (math.sqrt(v1) * numbers[3] + numbers[4])
        simd.store_float(one, p + at, w)
        simd.store_float(one, packed + at, w)
        simd.store_float(one, m + at, m1)
        simd.store_float(one, v + at, v1)
        simd.store_float(one, g + at, one * 0)


@part
def adam_row(one, tensor, numbers, row):
    """Adam on one row of a `[rows, n]` parameter and of its copy in panels.

    numbers: 1 − β₁, β₂, lr/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ), ε, weight decay (Kingma & Ba 2015, algorithm 1).
    """
    size, n, rows = simd.width_of(one), tensor[COLUMNS], tensor[ROWS]
    scale = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
    first = 0
    while first < n:
        lanes = 64 if first < 64 * tensor[WIDE_PANELS] else 16
        at, place = (row * n + first) * size, (first * rows + row * lanes) * size
        p, m, v = tensor[PARAMETER] + at, tensor[FIRST_MOMENT] + at, tensor[SECOND_MOMENT] + at
        packed, g = tensor[PANEL_COPY] + place, tensor[PANEL_GRADIENT] + place
        if first + lanes > n:
            adam_tail(one, p, packed, g, m, v, n - first, numbers)
        elif lanes == 64:
            simd.adam((0, 0, 0, 0), one, (*scale, p, packed, g, m, v))
        else:
            simd.adam((0,), one, (*scale, p, packed, g, m, v))
        first += lanes


@part
def follow_row(one, tensor, numbers, row):
    """B ← a B + c G for one row of a copy in panels; B itself is stored the other way round, `[n, rows]`."""
    size, n, rows = simd.width_of(one), tensor[COLUMNS], tensor[ROWS]
    first = 0
    while first < n:
        lanes = 64 if first < 64 * tensor[WIDE_PANELS] else 16
        place = (first * rows + row * lanes) * size
        for c in range(lanes):
            packed, g = tensor[PANEL_COPY] + place + c * size, tensor[PANEL_GRADIENT] + place + c * size
            if first + c < n:
                b = numbers[0] * simd.load_float(one, packed) + numbers[1] * simd.load_float(one, g)
                simd.store_float(one, packed, b)
                simd.store_float(one, tensor[PARAMETER] + ((first + c) * rows + row) * size, b)
            simd.store_float(one, g, one * 0)
        first += lanes


@jit
def update(one, tensors, numbers, share, shares):
    """One step of all tensors of a table; of each of them the rows that are this share of so many.

    tensors: int64 [tensors, UPDATE_FIELDS]; numbers: float64 [tensors, 6], by kind. Gradients are left at 0.
    """
    for k in range(tensors.shape[0]):
        rows = tensors[k, ROWS]
        for row in range(rows * share // shares, rows * (share + 1) // shares):
            if tensors[k, FOLLOWS] != 0:
                follow_row(one, tensors[k], numbers[k], row)
            else:
                adam_row(one, tensors[k], numbers[k], row)


@jit
def collect(one, to, source, begin, end):
    """To += source, source ← 0, for the bytes begin ≤ byte < end (multiples of 128)."""
    step = 16 * simd.width_of(one)
    for offset in range(begin, end, step):
        simd.take_row((0,), one, (to + offset, source + offset))
