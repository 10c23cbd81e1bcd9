# pyright: reportUnknownMemberType=false
"""A matplotlib figure as SVG that belongs to the page: its font, its colours, no id twice."""

import io
import re
import warnings
from collections.abc import Sequence

from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from neurofdfa.report.plot.style import STAND_IN, Draw, Margins, panel

_NAMES = {
    **{
        getattr(STAND_IN, role): f"var(--{role})" for role in ("ink", "muted", "grid", "paper", "good", "bad")
    },
    **{colour: f"var(--series-{k})" for k, colour in enumerate(STAND_IN.series)},
}


def draw(
    draw_on: Draw, *, key: str, label: str, height: float = 220, margins: Margins | None = None
) -> Markup:
    """One panel as SVG. key: unique on the page; label: what a screen reader says."""
    figure, axes = panel(height, margins or Margins())
    draw_on(axes, STAND_IN)
    return to_svg(figure, key=key, label=label)


def to_svg(figure: Figure, *, key: str, label: str, overlay: Sequence[Markup] = ()) -> Markup:
    """The figure as an inline `<svg>`; `overlay` lies on top, in CSS pixels of the panel."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # the reader's browser has more fonts
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    view = re.search(r'viewBox="([^"]*)"', text)
    assert view is not None
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = _in_the_pages_font(_in_the_pages_colours(_with_own_ids(body, key)))
    body = re.sub(r"<[^>]*>", _rounded, body)
    body = re.sub(r"\n\s*|<!--.*?-->", "\n", body).replace("\n\n", "\n")
    return Markup(
        '<svg class="plot" id="{}" viewBox="{}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}{}</svg>'
    ).format(key, view[1], escape(label), Markup(body), Markup("").join(overlay))


def _rounded(tag: re.Match[str]) -> str:
    """Coordinates to a hundredth of a pixel; the numbers that a reader sees stay as they are."""
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", tag[0])


def _with_own_ids(body: str, key: str) -> str:
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', body))

    def rename(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]*)"', rename, body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", body)


def _in_the_pages_colours(body: str) -> str:
    return re.sub(r"#0000\d\d|#0001\d\d", lambda m: _NAMES.get(m[0], m[0]), body)


def _in_the_pages_font(body: str) -> str:
    body = re.sub(r"font: (?:(\d+|bold) )?([\d.]+px) [^;\"]*", _size_and_weight, body)
    return re.sub(r" ?font-family: [^;\"]*;?", "", body)


def _size_and_weight(match: re.Match[str]) -> str:
    return f"font-size: {match[2]}" + (f"; font-weight: {match[1]}" if match[1] else "")
