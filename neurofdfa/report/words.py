"""Numbers and names as a reader wants to see them."""

import math
from collections.abc import Sequence

from neurofdfa.lab import table
from neurofdfa.lab.table import DASH

SPACE = "\u00a0"  # a number and its unit never part at the end of a line


def percent(share: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage."""
    return DASH if share is None else f"{100 * share:.{digits}f}{SPACE}%"


def score(accuracy: float, digits: int = 1) -> tuple[str, str]:
    """A result and what it is: an accuracy, or the mean loss that regression keeps with a minus."""
    return (percent(accuracy, digits), "accuracy") if accuracy >= 0 else (figures(-accuracy), "loss")


def with_interval(mean: float | None, ends: Sequence[float] | None, *, signed: bool = False) -> str:
    """A share as "97.10 ± 0.40 %", a difference (signed) in points without its unit."""
    text = table.with_interval(mean, ends, signed=signed)
    percent = mean is not None and mean >= 0 and not signed
    # where there is no room for both, the line breaks before the ±
    return (f"{text} %" if percent else text).replace(" ", SPACE).replace(f"{SPACE}±", " ±")


def layer_rates(rates: Sequence[float]) -> str:
    """Firing rates of the layers in one cell."""
    if not rates:
        return DASH
    return " · ".join(DASH if math.isnan(r) else f"{100 * r:.1f}" for r in rates) + f"{SPACE}%"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, without a sign."""
    size = f"{abs(100 * difference):.1f}"
    return f"{size}{SPACE}{'point' if size == '1.0' else 'points'}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return DASH
    if value < 100:
        return f"{value:.1f}{SPACE}s"
    return f"{int(value // 60)}{SPACE}min {int(value % 60):02d}{SPACE}s"


def mebibytes(value: float | None) -> str:
    """An amount of memory."""
    if value is None:
        return DASH
    return f"{value:.1f}{SPACE}MiB" if value < 100 else f"{value:,.0f}{SPACE}MiB".replace(",", SPACE)


def microjoules(joules: float | None) -> str:
    """An amount of energy per sample."""
    return DASH if joules is None else f"{figures(1e6 * joules)}{SPACE}µJ"


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return DASH if value is None else f"{value:,.0f}".replace(",", SPACE)


def figures(value: float | None, digits: int = 3) -> str:
    """A number to some significant figures."""
    if value is None:
        return DASH
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}g}"


def wilson(share: float | None, samples: int | None) -> tuple[float, float] | None:
    """95 % interval of a share seen in `samples` tries (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    if share is None or not samples or samples < 1:
        return None
    z = 1.959964
    centre = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples**2)) / (1 + z * z / samples)
    return max(0.0, centre - half), min(1.0, centre + half)


def listed(words: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
