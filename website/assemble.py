"""The pages of the site in one folder: those of `docs`, notebooks, and files from elsewhere in the checkout.

`python -m website.assemble build/docs` makes the folder anew; `make site` then builds the site from it.
"""

import posixpath
import re
import shutil
import sys
from pathlib import Path

from website import notebooks, rooms

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files elsewhere in the checkout that are pages of the site."""
PLACES = ELSEWHERE | {
    "README.md": "index.md",
    "examples": "examples/index.md",
    "CITATION.cff": "cite.md",
}
"""Where a link to a file outside `docs` leads on the site."""


def pages() -> dict[str, str]:
    """Every page of the site, by its path: Markdown whose links lead to other pages of the site."""
    found = {path.relative_to(DOCS).as_posix(): path for path in DOCS.rglob("*.md")}
    found |= {page: ROOT / origin for origin, page in ELSEWHERE.items()}
    made = {page: _led(page, path) for page, path in sorted(found.items())}
    made["cite.md"] = f"# How to cite\n\n```yaml\n{(ROOT / 'CITATION.cff').read_text(encoding='utf-8')}```\n"
    return made | _examples()


def assemble(folder: Path) -> None:
    """Write pages, notebooks, pictures and style sheets into a folder, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for page, text in pages().items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(text, encoding="utf-8")
    notebooks.write_all(folder / "tutorials")
    for path in [*DOCS.rglob("*.png"), *DOCS.rglob("*.svg"), *DOCS.rglob("*.css")]:
        target = folder / path.relative_to(DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (folder / "rooms.svg").write_text(rooms.picture(), encoding="utf-8")  # of the code as it is now
    for path in (ROOT / "benchmarks").glob("*.png"):
        shutil.copyfile(path, folder / path.name)


def _examples() -> dict[str, str]:
    """A page per program of `examples`, and one that lists them."""
    made, lines = {}, ["# Examples\n", "Programs that read from top to bottom. Each is run by a test.\n"]
    for program in sorted((ROOT / "examples").glob("*.py")):
        text = program.read_text(encoding="utf-8")
        title = text.split('"""')[1].strip().splitlines()[0]
        lines.append(f"- [{program.name}]({program.stem}.md): {title}")
        made[f"examples/{program.stem}.md"] = f"# {program.name}\n\n```python\n{text}```\n"
    return made | {"examples/index.md": "\n".join(lines) + "\n"}


def _led(page: str, path: Path) -> str:
    """A page's text, with the links that leave `docs` led to the pages that show those files."""
    origin, here = path.relative_to(ROOT).as_posix(), posixpath.dirname(page) or "."

    def lead(found: re.Match[str]) -> str:
        if "://" in found[2]:
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(origin), found[2]))
        return f"{found[1]}{posixpath.relpath(_place(wanted), here)}{found[3]}"

    whole = path.read_text(encoding="utf-8")
    text, end = "", 0
    for block in CODE.finditer(whole):
        text += LINK.sub(lead, whole[end : block.start()]) + block[0]
        end = block.end()
    text += LINK.sub(lead, whole[end:])
    if path in notebooks.sources():
        heading, rest = text.split("\n", 1)
        text = f"{heading}\n\n[Download this page as a notebook]({path.stem}.ipynb)\n{rest}"
    return text


def _place(file: str) -> str:
    """Where a file of the checkout is found on the site."""
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    if file.startswith("examples/"):
        return file.removesuffix(".py") + ".md"
    if file.startswith("benchmarks/") and file.endswith(".png"):
        return posixpath.basename(file)
    return PLACES.get(file, file)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
