"""No public name or argument changes unnoticed: CONTRIBUTING.md says what to do when one should."""

import difflib
from pathlib import Path

from tests.public_names import lines

LIST = Path(__file__).with_name("public_names.txt")


def test_the_public_names_are_those_of_the_list():
    found, kept = list(lines()), LIST.read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.unified_diff(kept, found, lineterm="", n=0) if line[0] in "+-"]
    assert found == kept, "public names changed:\n" + "\n".join(changes)
