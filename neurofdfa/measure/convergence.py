"""How fast a rule learns: epochs and samples until a level of validation accuracy."""

from collections.abc import Sequence


def reached_by_all(curves: Sequence[Sequence[float]]) -> float | None:
    """The highest accuracy that every one of some learning curves reaches; None without curves."""
    return min((max(curve) for curve in curves if curve), default=None)


def epochs_until(level: float, curve: Sequence[float]) -> int | None:
    """The first epoch, counted from 1, at which a curve is at `level` or above; None where it never is."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= level), None)
