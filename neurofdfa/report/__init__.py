# pyright: reportUnknownMemberType=false
"""Reports: one self-contained HTML page per run, demo, comparison, sweep or bench, and one picture of it.

The page needs no network: styles, plots and the small script are inside the file. A new kind of folder is a
page builder in its own file and one line in `KINDS`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import matplotlib

from neurofdfa.errors import UserError
from neurofdfa.io import write_text
from neurofdfa.lab.record import is_run, read_run
from neurofdfa.report.ablation_page import ablation_page, ablation_picture
from neurofdfa.report.bench_page import bench_page, bench_picture, is_bench, read_bench
from neurofdfa.report.comparison_page import comparison_page, comparison_picture
from neurofdfa.report.demo_page import demo_page
from neurofdfa.report.page import Page, render
from neurofdfa.report.picture import demo_picture, run_picture
from neurofdfa.report.plot.style import RC
from neurofdfa.report.run_page import run_page
from neurofdfa.report.studies import is_ablation, is_comparison, read_ablation, read_comparison
from neurofdfa.report.tasks import is_demo, read_demo

__all__ = ["figure", "write"]

T = TypeVar("T")


class _Kind(NamedTuple):
    """matches: whether a folder is of this kind; page: its report; picture: its result as PNG."""

    name: str
    matches: Callable[[Path], bool]
    page: Callable[[Path], Page]
    picture: Callable[[Path], bytes]


def _kind(
    name: str,
    matches: Callable[[Path], bool],
    read: Callable[[Path], T],
    page: Callable[[T], Page],
    picture: Callable[[T], bytes],
) -> _Kind:
    def page_of(folder: Path) -> Page:
        return page(read(folder))

    def picture_of(folder: Path) -> bytes:
        return picture(read(folder))

    return _Kind(name, matches, page_of, picture_of)


KINDS: tuple[_Kind, ...] = (
    _kind("demo", is_demo, read_demo, demo_page, demo_picture),
    _kind("comparison", is_comparison, read_comparison, comparison_page, comparison_picture),
    _kind("ablation", is_ablation, read_ablation, ablation_page, ablation_picture),
    _kind("measurement", is_bench, read_bench, bench_page, bench_picture),
    _kind("run", is_run, read_run, run_page, run_picture),
)
"""In the order in which they are tried."""


def _kind_of(folder: Path) -> _Kind:
    """The kind of `folder`. Raises UserError when it is none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give that of a run, a demo, a comparison or a sweep")
    for kind in KINDS:
        if kind.matches(folder):
            return kind
    raise UserError(
        f"{folder} holds neither a run (config.toml) nor a demo, comparison, sweep or measurement "
        "(demo.json, comparison.json, ablation.json, memory.json)"
    )


def write(folder: str | Path) -> Path:
    """Write `folder/report.html` from what is in the folder, whole or not at all, and return its path.

    Parts that are missing (no raster, no Lava, an unfinished run) are left out. The same folder gives the
    same bytes. Raises UserError when the folder is neither a run nor a demo, is damaged, or cannot be
    written.
    """
    folder = Path(folder)
    kind = _kind_of(folder)
    with matplotlib.rc_context(RC):
        html = render(kind.page(folder))
    path = folder / "report.html"
    write_text(path, html)
    return path


def figure(folder: str | Path) -> bytes:
    """One composed picture of the folder's result as PNG (2361 × 826 pixels).

    Raises UserError as `write` does.
    """
    folder = Path(folder)
    kind = _kind_of(folder)
    with matplotlib.rc_context(RC):
        return kind.picture(folder)
