"""The site builds without a broken link, shows every public name, and its tutorials run as notebooks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import neurofdfa
import neurofdfa_hardware
from neurofdfa_hardware.lava import LavaError, locate
from website import assemble, commands, notebooks, rooms, settings

ROOT = Path(__file__).parents[1]
NEED_LAVA = ("first-hour", "learning-on-chip")


def test_the_site_builds_and_works_without_a_network(tmp_path):
    assemble.assemble(tmp_path / "docs")
    config = (ROOT / "zensical.toml").read_text()
    for ours, theirs in {
        "build/docs": "docs",
        "build/site": "site",
        '[".", "hardware"]': f'["{ROOT}", "{ROOT / "hardware"}"]',
        "website/docstrings.py": str(ROOT / "website" / "docstrings.py"),
    }.items():
        assert ours in config
        config = config.replace(ours, theirs)
    (tmp_path / "zensical.toml").write_text(config)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for page in re.findall(r'"([\w/-]+)\.md"', config):
        made = page.replace("README", "index")
        assert (tmp_path / "site" / f"{made}.html").exists(), page
    home = (tmp_path / "site" / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', home)
    assert (tmp_path / "site" / "tutorials" / "first-hour.ipynb").exists()


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference" / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    names = {f"neurofdfa.{name}" for home in neurofdfa._HOMES.values() for name in home}
    names |= {f"neurofdfa.data.{name}" for name in neurofdfa.data.__all__}
    names |= {f"neurofdfa_hardware.{name}" for name in neurofdfa_hardware.__all__}
    assert names - shown == set()


def test_every_page_has_a_place_in_the_navigation_or_is_linked():
    config = (ROOT / "zensical.toml").read_text()
    placed = set(re.findall(r'"([\w./-]+\.md)"', config))
    pages = assemble.pages()
    assert placed <= set(pages)
    for page in set(pages) - placed:  # reached by a link from a page that has a place
        name = page.rsplit("/", 1)[-1]
        assert any(f"]({name}" in pages[other] or f"/{name}" in pages[other] for other in placed), page


def test_references_name_every_command_and_setting():
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    for command in ("train", "ablate", "data describe", "lava setup"):
        assert f"\n## neurofdfa {command}\n" in text
    assert "| `--rule` | Learning rule: " in text
    assert text == commands.page(), "write it anew: python -m website.commands > docs/reference/cli.md"
    text = (ROOT / "docs" / "reference" / "config.md").read_text()
    assert "| `training.lr` | number, above 0 | `0.003` |" in text
    assert text == settings.page(), "write it anew: python -m website.settings > docs/reference/config.md"


def test_the_picture_shows_every_room_and_the_one_import_that_climbs():
    drawn = (ROOT / "docs" / "rooms.svg").read_text()  # the site draws it anew from the code
    for text in (drawn, rooms.picture()):
        assert [room for room in rooms.order() if f">{room}</text>" not in text] == []
        assert re.findall(r'class="later".*?<title>(.*?):', text) == ["train ← events"]


def test_links_lead_to_pages_of_the_site():
    pages = assemble.pages()
    assert "](../examples/snntorch_on_lava.md)" in pages["tutorials/snntorch-to-chip.md"]
    assert "](changelog.md)" in pages["contributing.md"]


def test_a_recipe_has_fifteen_lines_and_one_import():
    for page in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        if page.name in ("index.md", "reports.md"):
            continue
        lines = [
            line for line in blocks[0].splitlines() if line.strip() and not line.startswith("from sklearn")
        ]
        assert len(lines) <= 15, f"{page.name}: {len(lines)} lines"
        assert blocks[0].count("neurofdfa as nf") == 1, page.name


@pytest.mark.parametrize("page", notebooks.sources(), ids=lambda page: page.stem)
def test_a_tutorial_runs_as_a_notebook(page, tmp_path):
    if page.stem in NEED_LAVA and not lava():
        pytest.skip("Lava is not installed")
    book = nbformat.reads(notebooks.notebook(page), as_version=4)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MPLBACKEND": "agg", "NEUROFDFA_CACHE": "off"}
    client = NotebookClient(book, timeout=280, resources={"metadata": {"path": str(tmp_path)}})
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        pytest.fail(str(error))
    assert any(cell.cell_type == "code" and cell.outputs for cell in book.cells)


def lava() -> bool:
    try:
        return locate() is not None
    except LavaError:
        return False
