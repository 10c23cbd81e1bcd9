"""Every small change that is made to a file: another operator, comparison, number or condition."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Add, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


class Mutant(NamedTuple):
    """line: of the change; what: was done there; source: of the whole file."""

    line: int
    what: str
    source: str


def mutants(text: str) -> list[Mutant]:
    """All mutants of a file, in its order."""
    found: list[Mutant] = []
    tree = ast.parse(text)
    for node, change in _places(tree):
        before = ast.unparse(node)
        undo = change()
        after = ast.unparse(node)
        after = f"not ({before})" if after == before else after  # of an if, which holds it
        found.append(Mutant(getattr(node, "lineno", 0), f"{before}  ->  {after}", ast.unparse(tree)))
        undo()
    return sorted(found, key=lambda mutant: mutant.line)


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, Callable[[], Callable[[], None]]]]:
    """Nodes that change in place, with the change, which returns the way back."""
    for node in _computed(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
            yield node, _setting(node, "op", _OPERATORS[type(node.op)]())
        elif isinstance(node, ast.Compare):
            changed = [_COMPARISONS.get(type(op), type(op))() for op in node.ops]
            yield node, _setting(node, "ops", changed)
        elif isinstance(node, ast.BoolOp):
            yield node, _setting(node, "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, _setting(node, "op", ast.UAdd())
        elif isinstance(node, ast.IfExp | ast.If):
            yield node.test, _negated(node)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, _setting(node, "value", node.value + 1)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, _setting(node, "value", not node.value)
        elif isinstance(node, ast.Return) and not _is_nothing(node.value):
            yield node, _setting(node, "value", ast.Constant(None))


def _is_nothing(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _setting(node: ast.AST, name: str, value: object) -> Callable[[], Callable[[], None]]:
    def change() -> Callable[[], None]:
        before = getattr(node, name)
        setattr(node, name, value)
        return lambda: setattr(node, name, before)

    return change


def _negated(node: ast.IfExp | ast.If) -> Callable[[], Callable[[], None]]:
    return _setting(node, "test", ast.UnaryOp(ast.Not(), node.test))


def _computed(node: ast.AST) -> Iterator[ast.AST]:
    """What is computed: no type, no message of an error, no text."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr | ast.Import):
                if isinstance(child, ast.ClassDef) and _is_protocol(child):
                    continue
                if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                    continue
                if isinstance(child, ast.AnnAssign) and ast.unparse(child.annotation) == "TypeAlias":
                    continue
                yield from _computed(child)


def _is_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(base) for base in node.bases)
