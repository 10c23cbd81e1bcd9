"""The rooms of the package import in one direction; docs/architecture.md shows the order."""

import ast
import re
from pathlib import Path

from neurofdfa.rules import RULES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neurofdfa"
ORDER = (
    "errors",
    "io",
    "notebook",
    "distributed",
    "data",
    "nn",
    "rules",
    "train",
    "events",
    "measure",
    "plot",
    "interop",
    "sklearn",
    "lab",
    "report",
    "run",
    "bench",
    "cli",
    "__main__",
)
"""From the bottom to the top: a room imports from those before it and from no other."""
ON_DEMAND = {("train", "events")}
"""The trainer opens the event engine when it is wanted, for numba takes a second to import."""
CHIP = ("lab", "report", "cli")
"""The rooms that know the package of the chip."""


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> list[tuple[str, bool]]:
    """What a file imports, as dotted names, and whether it does so as soon as it is imported itself."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_once: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names = [f"neurofdfa.{alias.name}" for alias in node.names]
            found.extend((name, at_once) for name in (names if node.module == "neurofdfa" else [node.module]))
        only_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = at_once and not only_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(file.read_text()), True)
    return found


def edges(package: str) -> list[tuple[str, str, bool, str]]:
    """(room, what it imports of `package`, at once, the file)."""
    return [
        (room(file), name, at_once, str(file.relative_to(ROOT)))
        for file in sorted(PACKAGE.rglob("*.py"))
        if file != PACKAGE / "__init__.py"
        for name, at_once in imports(file)
        if name == package or name.startswith(package + ".")
    ]


def test_every_room_has_its_place():
    assert {room(file) for file in PACKAGE.rglob("*.py")} - {"__init__"} == set(ORDER)


def test_rooms_import_from_the_rooms_below():
    wrong = []
    for here, name, at_once, file in edges("neurofdfa"):
        there = name.split(".")[1] if "." in name else "__init__"
        if there in ("__init__", "__version__", here):
            continue
        allowed = ORDER.index(there) < ORDER.index(here)
        if not allowed and not ((here, there) in ON_DEMAND and not at_once):
            wrong.append(f"{file} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_chip_is_known_at_the_top_alone():
    assert {here for here, *_ in edges("neurofdfa_hardware")} == set(CHIP)


def test_the_package_of_the_chip_knows_neither_this_package_nor_torch():
    for file in (ROOT / "hardware").rglob("*.py"):
        names = {name.split(".")[0] for name, _ in imports(file)}
        assert not names & {"neurofdfa", "torch"}, file


def test_the_page_shows_the_order():
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = re.findall(r"^\| `(\w+?)(?:\.py|/)` \|", page, re.MULTILINE)
    assert shown == list(ORDER[:-1])


def test_no_room_but_that_of_the_rules_names_one():
    """A rule carries its own facts: what is asked of it is asked of `RULES` or of its role there."""
    classes = {rule.__name__ for rule in RULES.values()}
    names = set(RULES) | {rule.title for rule in RULES.values() if rule.title}
    entry = {("cli/bench.py", "fdfa"), ("cli/training.py", "fdfa")}  # what help shows as the default
    found: list[tuple[str, str]] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        place = str(file.relative_to(PACKAGE))
        if place == "__init__.py" or place.startswith("rules/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in names:
                found.append((place, node.value))
            if isinstance(node, ast.ImportFrom):
                found += [(place, alias.name) for alias in node.names if alias.name in classes]
    assert set(found) - entry == set()
