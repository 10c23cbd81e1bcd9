"""The picture of the rooms: `python -m website.rooms > docs/rooms.svg` draws it from the imports in the code."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neurofdfa"
CELL, LEFT, TOP, LARGEST = 24, 104, 84, 10
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2127}line{stroke:#e3e5e8}circle{fill:#1b5fc1}"
    "rect{fill:#f6f7f8}circle.later{fill:none;stroke:#1b5fc1;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#9aa1ab}line{stroke:#5b626c}circle{fill:#6cb0ff}"
    "rect{fill:#6b707933}circle.later{stroke:#6cb0ff}}"
)


def order() -> list[str]:
    """The rooms from the bottom to the top, as the page lists them and a test holds them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+?)(?:\.py|/)` \|", page, re.MULTILINE)


def imports() -> Counter[tuple[str, str]]:
    """How many import statements of one room name another."""
    return Counter(edge for file in PACKAGE.rglob("*.py") for edge in _of(file))


def _of(file: Path) -> Iterator[tuple[str, str]]:
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        there = module.split(".")[1] if module.startswith("neurofdfa.") else ""
        if there and there != here:
            yield here, there


def picture() -> str:
    """A row for each room, a column for what it imports from, a dot for how often."""
    rooms, found = order(), imports()
    most = max(found.values())
    size = CELL * len(rooms)
    box, label = f"0 0 {LEFT + size + 8} {TOP + size + 8}", "Which room imports from which"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
    ]
    for place, room in enumerate(rooms):
        at = CELL * place + CELL // 2
        lines += [
            f'<rect x="{LEFT + CELL * place}" y="{TOP + CELL * place}" width="{CELL}" height="{CELL}"/>',
            f'<line x1="{LEFT}" x2="{LEFT + size}" y1="{TOP + at}" y2="{TOP + at}"/>',
            f'<text x="{LEFT - 8}" y="{TOP + at + 4}" text-anchor="end">{room}</text>',
            f'<text transform="translate({LEFT + at + 4} {TOP - 8}) rotate(-90)">{room}</text>',
        ]
    for (here, there), number in sorted(found.items()):
        if here in rooms and there in rooms:
            row, column = rooms.index(here), rooms.index(there)
            radius = 2.5 + (LARGEST - 2.5) * (number / most) ** 0.5
            later = ' class="later"' if column > row else ""
            at = f'cx="{LEFT + CELL * column + CELL // 2}" cy="{TOP + CELL * row + CELL // 2}"'
            lines.append(
                f'<circle{later} {at} r="{radius:.1f}"><title>{here} ← {there}: {number}</title></circle>'
            )
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    print(picture(), end="")
