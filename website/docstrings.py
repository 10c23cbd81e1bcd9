"""Docstrings as the site shows them: examples in blocks of code, settings of a function in bold.

A docstring of this project is sentences in Markdown in which the paragraphs on arguments read "name: what it is.".
"""

import re
from typing import Any

import griffe

NAMED = re.compile(r"(?<![`\w])(\w+(?:, \w+)*): ")
EXAMPLE = re.compile(r"^(?:>>>.*\n?(?:(?!\n|>>>).+\n?)*)+", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites every docstring once it has been read."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Mark the arguments of a function."""
        _rewrite(func, {parameter.name for parameter in func.parameters})

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Mark the arguments of a class and its fields."""
        made: Any = cls.members.get("__init__")
        names = {parameter.name for parameter in getattr(made, "parameters", ())}
        _rewrite(cls, names | {name for name, member in cls.members.items() if member.is_attribute})

    def on_module(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        """Examples alone."""
        _rewrite(mod, set())


def _rewrite(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring is None:
        return
    text = NAMED.sub(lambda found: _marked(found, names), thing.docstring.value)
    thing.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)


def _marked(found: re.Match[str], names: set[str]) -> str:
    named = found[1].split(", ")
    return ", ".join(f"**`{name}`**" for name in named) + ": " if names.issuperset(named) else found[0]
