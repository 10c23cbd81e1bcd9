"""What the mutation tests change, and that they notice what is noticed."""

import ast

from tests.mutation.mutants import mutants
from tests.mutation.run import ROOT, TARGETS

SOURCE = '''
"""Text 3 stays."""
from typing import Protocol
LIMIT: int = 4
class Shape(Protocol):
    size: int = 7
def f(a: int, b: bool = True) -> int:
    """Also 5."""
    if a < 2 and not b:
        raise ValueError(f"{a} + 1 is wrong")
    return -a * 3
'''


def test_every_computation_is_changed_once_and_nothing_else() -> None:
    found = [mutant.what for mutant in mutants(SOURCE)]
    assert found == [
        "4  ->  5",
        "True  ->  False",
        "a < 2 and (not b)  ->  not (a < 2 and (not b))",
        "a < 2 and (not b)  ->  a < 2 or not b",
        "a < 2  ->  a <= 2",
        "2  ->  3",
        "return -a * 3  ->  return None",
        "-a * 3  ->  -a / 3",
        "-a  ->  +a",
        "3  ->  4",
    ]


def test_every_mutant_differs_and_can_be_read() -> None:
    whole = ast.unparse(ast.parse(SOURCE))
    sources = [mutant.source for mutant in mutants(SOURCE)]
    assert whole not in sources
    assert len({*sources}) == len(sources)
    assert all(ast.parse(source) for source in sources)


def test_the_files_and_their_tests_are_there() -> None:
    for file, tests in TARGETS.items():
        assert len(mutants((ROOT / file).read_text(encoding="utf-8"))) > 50
        assert all((ROOT / test).is_file() for test in tests)
