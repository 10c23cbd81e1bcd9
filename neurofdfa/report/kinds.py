"""The kinds of folders that have a report. A new kind is a page builder in its own file and one line here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from neurofdfa.errors import UserError
from neurofdfa.report.ablation_page import ablation_page, ablation_picture
from neurofdfa.report.bench_page import bench_page, bench_picture, is_bench, read_bench
from neurofdfa.report.comparison_page import comparison_page, comparison_picture
from neurofdfa.report.demo_page import demo_page
from neurofdfa.report.page import Page
from neurofdfa.report.picture import demo_picture, run_picture
from neurofdfa.report.records import is_demo, is_run, read_demo, read_run
from neurofdfa.report.run_page import run_page
from neurofdfa.report.studies import is_ablation, is_comparison, read_ablation, read_comparison

T = TypeVar("T")


class Kind(NamedTuple):
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
) -> Kind:
    def page_of(folder: Path) -> Page:
        return page(read(folder))

    def picture_of(folder: Path) -> bytes:
        return picture(read(folder))

    return Kind(name, matches, page_of, picture_of)


KINDS: tuple[Kind, ...] = (
    _kind("demo", is_demo, read_demo, demo_page, demo_picture),
    _kind("comparison", is_comparison, read_comparison, comparison_page, comparison_picture),
    _kind("ablation", is_ablation, read_ablation, ablation_page, ablation_picture),
    _kind("measurement", is_bench, read_bench, bench_page, bench_picture),
    _kind("run", is_run, read_run, run_page, run_picture),
)
"""In the order in which they are tried."""


def kind_of(folder: Path) -> Kind:
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
