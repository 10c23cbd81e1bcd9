"""Every weight is touched once per step: optimizer, the copy in panels and the empty gradient in one pass."""

import math
from collections.abc import Sequence

from neurofdfa.events import simd
from neurofdfa.events.compiled import jit, part
from neurofdfa.events.records import Update


@part
def adam_tail(one: float, tensor: Update, p: int, packed: int, g: int, m: int, v: int, count: int) -> None:
    """The last neurons of a row, fewer than a panel, one by one."""
    size = simd.width_of(one)
    for c in range(count):
        at = c * size
        w, x = simd.load_float(one, p + at), simd.load_float(one, g + at)
        x = x + w * tensor.decay
        m1, v1 = simd.load_float(one, m + at), simd.load_float(one, v + at)
        m1 = m1 + (x - m1) * tensor.rise
        v1 = v1 * tensor.beta2 + x * x * (1.0 - tensor.beta2)
        w = w - tensor.step * m1 / (math.sqrt(v1) * tensor.root + tensor.epsilon)
        simd.store_float(one, p + at, w)
        simd.store_float(one, packed + at, w)
        simd.store_float(one, m + at, m1)
        simd.store_float(one, v + at, v1)
        simd.store_float(one, g + at, one * 0)


@part
def adam_row(one: float, tensor: Update, row: int) -> None:
    """Adam on one row of a `[rows, n]` parameter and of its copy in panels."""
    size, n, rows = simd.width_of(one), tensor.columns, tensor.rows
    scale = (tensor.rise, tensor.beta2, tensor.step, tensor.root, tensor.epsilon, tensor.decay)
    first = 0
    while first < n:
        lanes = 64 if first < 64 * tensor.wide_panels else 16
        at, place = (row * n + first) * size, (first * rows + row * lanes) * size
        p, m, v = tensor.parameter + at, tensor.first_moment + at, tensor.second_moment + at
        packed, g = tensor.panel_copy + place, tensor.panel_gradient + place
        if first + lanes > n:
            adam_tail(one, tensor, p, packed, g, m, v, n - first)
        elif lanes == 64:
            simd.adam((0, 0, 0, 0), one, (*scale, p, packed, g, m, v))
        else:
            simd.adam((0,), one, (*scale, p, packed, g, m, v))
        first += lanes


@part
def follow_row(one: float, tensor: Update, row: int) -> None:
    """B ← a B + c G for one row of a copy in panels; B itself is stored the other way round, `[n, rows]`."""
    size, n, rows = simd.width_of(one), tensor.columns, tensor.rows
    first = 0
    while first < n:
        lanes = 64 if first < 64 * tensor.wide_panels else 16
        place = (first * rows + row * lanes) * size
        for c in range(lanes):
            packed, g = tensor.panel_copy + place + c * size, tensor.panel_gradient + place + c * size
            if first + c < n:
                b = tensor.kept * simd.load_float(one, packed) + tensor.taken * simd.load_float(one, g)
                simd.store_float(one, packed, b)
                simd.store_float(one, tensor.parameter + ((first + c) * rows + row) * size, b)
            simd.store_float(one, g, one * 0)
        first += lanes


@jit
def update(one: float, tensors: Sequence[Update], share: int, shares: int) -> None:
    """One step of all tensors: of each the rows that are this share of so many. Gradients are left at 0."""
    for k in range(len(tensors)):
        tensor = tensors[k]
        rows = tensor.rows
        for row in range(rows * share // shares, rows * (share + 1) // shares):
            if tensor.follows != 0:
                follow_row(one, tensor, row)
            else:
                adam_row(one, tensor, row)


@jit
def collect(one: float, to: int, source: int, begin: int, end: int) -> None:
    """To += source, source ← 0, for the bytes begin ≤ byte < end (multiples of 128)."""
    step = 16 * simd.width_of(one)
    for offset in range(begin, end, step):
        simd.take_row((0,), one, (to + offset, source + offset))
