"""The page on `config.toml`, made from the classes that read it."""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from neurofdfa.lab.config import (
    DataConfig,
    DeviceConfig,
    NetworkConfig,
    RuleConfig,
    RunConfig,
    TrainingConfig,
)

HEAD = """\
# Settings of a run

A run folder holds `config.toml`, which names every setting that decided the run. A file of your own needs only those that differ
from the defaults: `neurofdfa train --config mine.toml`. On the command line `--set table.key=value` does the same for one setting, in a
[study](../lab.md) `"table.key" = value`. The word `"none"` stands for no value. This page is made from the program itself, by
`python -m website.settings > docs/reference/config.md`.

```toml
seed = 3
[data]
name = "digits"
[network]
hidden = [128, 64]
[rule]
name = "fdfa"
options = { fraction = 0.25 }
[training]
epochs = 10
lr = 0.004
```

`seed` is the seed of everything random (default 0); `format` is the version of the file, and is written by the program.
"""
NAMED = re.compile(r"\b(\w+(?:, \w+)*): ")
TABLES: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "network": NetworkConfig,
    "rule": RuleConfig,
    "training": TrainingConfig,
    "device": DeviceConfig,
}


def page() -> str:
    """Every table with its settings, their types and defaults, as Markdown."""
    assert set(TABLES) == set(RunConfig.model_fields) - {"format", "seed"}
    return "\n".join([HEAD, *(line for name, table in TABLES.items() for line in _table(name, table))]) + "\n"


def _table(name: str, table: type[BaseModel]) -> Iterator[str]:
    yield f"## [{name}]\n"
    for paragraph in inspect.cleandoc(table.__doc__ or "").split("\n\n"):
        yield NAMED.sub(lambda found: _marked(found, table), paragraph.replace("\n", " ")) + "\n"
    yield "| setting | takes | default |\n|---|---|---|"
    for key, field in table.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "none" if default is None else _literal(default)
        bounds = ", ".join(_bound(rule) for rule in field.metadata)
        takes = _type(field.annotation) + (f", {bounds}" if bounds else "")
        yield f"| `{name}.{key}` | {takes} | `{shown}` |"
    yield ""


def _marked(found: re.Match[str], table: type[BaseModel]) -> str:
    names = found[1].split(", ")
    known = all(name in table.model_fields for name in names)
    return ", ".join(f"`{name}`" for name in names) + ": " if known else found[0]


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _bound(rule: Any) -> str:
    words = {"Ge": "at least", "Gt": "above", "Le": "at most", "Lt": "below", "MinLen": "length at least"}
    ((_, value),) = vars(rule).items() if hasattr(rule, "__dict__") else [("", _slot(rule))]
    return f"{words[type(rule).__name__]} {value}"


def _slot(rule: Any) -> Any:
    (name,) = (name for name in ("ge", "gt", "le", "lt", "min_length") if hasattr(rule, name))
    return getattr(rule, name)


def _type(annotation: Any) -> str:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(part) for part in inside if part is not types.NoneType)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin is tuple:
        return f"a list of {_type(inside[0])}s"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return words.get(annotation, "table")


if __name__ == "__main__":
    print(page(), end="")
