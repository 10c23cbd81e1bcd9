"""Every Python block of the docs runs as it stands there, page by page, from top to bottom."""

import re
from dataclasses import fields
from pathlib import Path
from pkgutil import resolve_name

import pytest

from neurofdfa.rules import RULES
from neurofdfa_hardware.lava import LavaError, locate
from tests.programs import finished

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if PYTHON.search(page.read_text()) and page.parent.name != "tutorials"  # run as notebooks: test_site.py
)
NEED_LAVA = ("lava.md",)


def without_lava() -> str:
    try:
        return "" if locate() else "Lava is not installed"
    except LavaError as error:
        return str(error)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_programs_of_a_page_run(page: Path, tmp_path: Path) -> None:
    if page.name in NEED_LAVA and (reason := without_lava()):
        pytest.skip(reason)
    blocks = PYTHON.findall(page.read_text())
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks))
    done = finished(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def page_links() -> list[tuple[Path, str]]:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]
    return [
        (page, target)
        for page in sorted(pages)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target
    ]


def test_every_link_leads_somewhere() -> None:
    missing = [
        f"{page.name}: {target}" for page, target in page_links() if not (page.parent / target).exists()
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("part", ["A neuron", "A layer", "A rule", "A data set", "A backend", "A plot"])
def test_a_part_of_ones_own_takes_twenty_lines(part: str) -> None:
    section = re.search(
        rf"^## {part}\n(.*?)(?=^## |\Z)", (DOCS / "extending.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert section is not None, f"docs/extending.md says nothing about {part.lower()}"
    lines = [line for line in PYTHON.findall(section[1])[0].splitlines() if line.strip()]
    assert 0 < len(lines) <= 20


def written() -> list[Path]:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    return sorted([*pages, *(ROOT / "studies").glob("*.toml")])


def test_every_file_that_is_mentioned_is_there() -> None:
    folders = r"(?<![\w./-])(?:neurofdfa|hardware|tests|studies|benchmarks|examples|docs)/[\w./*-]+"
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in written()
        for path in re.findall(folders, page.read_text())
        if not any(ROOT.glob(path.rstrip("./")))
    ]
    assert not missing, "\n".join(missing)


def test_every_name_that_is_mentioned_can_be_imported() -> None:
    groups = {"neurofdfa.backends"}  # of entry points
    names = {
        (str(page.relative_to(ROOT)), name)
        for page in written()
        for name in re.findall(r"\b(?:neurofdfa|neurofdfa_hardware)(?:\.\w+)+", page.read_text())
        if name not in groups
    }
    missing: list[str] = []
    for page, name in sorted(names):
        try:
            resolve_name(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{page}: {name} ({error})")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("rule", RULES)
def test_a_rules_page_explains_every_setting(rule: str) -> None:
    page = (DOCS / "rules" / f"{rule}.md").read_text()
    own = [field.name for field in fields(RULES[rule]) if field.init and field.name != "trace"]
    assert [name for name in own if not re.search(rf"`{name}[`= ]", page)] == []
