"""Tutorials as notebooks: `python -m website.notebooks FOLDER` writes them."""

import re
import sys
from pathlib import Path

import jupytext
import nbformat

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def sources() -> list[Path]:
    """The pages that are notebooks, too."""
    return sorted(page for page in TUTORIALS.glob("*.md") if page.name != "index.md")


def notebook(source: Path) -> str:
    """A tutorial as the text of a notebook: blocks of Python are cells, blocks of `sh` cells for the shell."""
    text = SHELL.sub(_as_python, source.read_text(encoding="utf-8"))
    made = jupytext.reads(text, fmt="md")
    made.metadata = nbformat.NotebookNode(kernelspec=KERNEL)
    return nbformat.writes(made)


def _as_python(block: re.Match[str]) -> str:
    commands = "".join(f"!{line}\n" for line in block[1].splitlines())
    return f"```python\n{commands}```"


def write_all(folder: Path) -> None:
    """Write all of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources():
        (folder / f"{source.stem}.ipynb").write_text(notebook(source), encoding="utf-8")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
