"""What a report is made of, and how it becomes one self-contained HTML file.

A page is sections, a section is blocks: prose, figures, tables, code, viewers. Page builders compose them;
only this module and the templates know HTML.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from neurofdfa.lab.record import RunFolder
from neurofdfa.lab.table import Cell, Column, Table, printable


@dataclass(frozen=True)
class Prose:
    """A paragraph. mood: "" or "good" or "bad" for a statement that deserves a colour."""

    text: str
    mood: str = ""
    kind: str = "prose"


@dataclass(frozen=True)
class Panel:
    """One plot and the few words above it."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Figure:
    """Panels side by side (below each other on a phone) with one caption."""

    panels: tuple[Panel, ...]
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Pair:
    """Two blocks beside each other where there is room."""

    left: "Figure | Table"
    right: "Figure | Table"
    kind: str = "pair"


@dataclass(frozen=True)
class Code:
    """Text shown letter by letter; folded away when it is long. words: lines break at spaces alone."""

    text: str
    title: str = ""
    folded: bool = False
    words: bool = False
    kind: str = "code"


@dataclass(frozen=True)
class Viewer:
    """Rasters of one test sample and the membrane of one neuron; the script switches both.

    data: see `viewer.py`; the panels hold sample 0 as drawn without any script. pictures: PNG of each sample
    in base64, empty where the input is no image.
    """

    key: str
    title: str
    samples: tuple[str, ...]
    pictures: tuple[str, ...]
    status: str
    panels: tuple[Panel, ...]
    layers: tuple[tuple[str, int], ...]
    layer: int
    neuron: int
    firing: str
    trace: Panel | None
    data: dict[str, object]
    caption: str
    kind: str = "viewer"


Block = Prose | Figure | Table | Pair | Code | Viewer


@dataclass(frozen=True)
class Section:
    """A titled part of the page; without blocks it is left out."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """The section's place in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class KeyFigure:
    """A number that the page is about, with its meaning below."""

    number: str
    meaning: str
    mood: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    kicker: str
    headline: str
    summary: str
    key_figures: tuple[KeyFigure, ...] = ()
    sections: tuple[Section, ...] = ()
    footer: str = ""


@dataclass
class _Numbers:
    """Figures and tables are numbered in the order in which the template meets them."""

    seen: dict[str, int] = field(default_factory=dict[str, int])

    def next(self, kind: str) -> int:
        self.seen[kind] = self.seen.get(kind, 0) + 1
        return self.seen[kind]


def render(page: Page) -> str:
    """The page as HTML that needs nothing but itself: styles, plots and script are inside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("neurofdfa.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _template_text("style.css"), _template_text("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = environment.get_template("page.html").render(
        page=page,
        sections=present(page.sections),
        style=Markup(style),
        script=Markup(script),
        # The browser itself refuses whatever would leave this file, and any script but this one.
        policy=(
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        ),
        numbers=_Numbers(),
    )
    return printable(html)


def present(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Sections that have something to show."""
    return tuple(section for section in sections if section.blocks)


def _template_text(name: str) -> str:
    return (resources.files("neurofdfa.report") / "templates" / name).read_text(encoding="utf-8")


def footer(folder: Path) -> str:
    """The page's last line."""
    return f"Written by neurofdfa from the folder {folder.resolve().name}. This file needs nothing else."


def provenance(
    command: str, versions: Mapping[str, str], configs: Sequence[tuple[str, RunFolder]], *, folded: bool
) -> list[Block]:
    """How a result was made, letter by letter: command, the config of each titled run, versions."""
    blocks: list[Block] = []
    if command:
        blocks += [Prose("This command makes it again:"), Code(command, words=True)]
    if folded and configs:
        blocks.append(Prose("Each run folder holds its config, from which the run repeats exactly:"))
    blocks += [
        Code(run.text.rstrip(), title if folded else "config.toml", folded=folded) for title, run in configs
    ]
    if versions:
        blocks.append(
            Table(
                (Column("Package", number=False), Column("Version", number=False)),
                tuple((Cell(name, name), Cell(version, version)) for name, version in versions.items()),
                "Versions.",
            )
        )
    return blocks
