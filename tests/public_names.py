"""Public names with their arguments; `python -m tests.public_names > tests/public_names.txt` lists them."""

import inspect
from collections.abc import Iterator
from typing import Any

import neurofdfa
import neurofdfa_hardware

ROOMS = ("data", "plot", "sklearn")


def lines() -> Iterator[str]:
    """A line per name: functions and classes with their arguments, classes with their public members."""
    for name in sorted(name for names in neurofdfa._HOMES.values() for name in names):
        yield from _of(f"nf.{name}", getattr(neurofdfa, name))
    for room in ROOMS:
        module: Any = getattr(neurofdfa, room)
        own = [n for n, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in sorted(getattr(module, "__all__", own)):
            if not name.startswith("_"):
                yield from _of(f"nf.{room}.{name}", getattr(module, name))
    for name in neurofdfa_hardware.__all__:
        yield from _of(f"chip.{name}", getattr(neurofdfa_hardware, name))


def _of(name: str, thing: Any) -> Iterator[str]:
    if getattr(thing, "_is_protocol", False):
        yield name
        return
    yield f"{name}{_arguments(thing)}"
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        members = [m for m in vars(thing) if not m.startswith("_") and callable(getattr(thing, m, None))]
        for member in sorted(members):
            yield f"{name}.{member}{_arguments(getattr(thing, member))}"


def _arguments(thing: Any) -> str:
    if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return ""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return "(…)"
    shown = [
        p.replace(annotation=p.empty, default=p.default if p.default is p.empty else ...) for p in parameters
    ]
    return str(inspect.Signature(shown)).replace("Ellipsis", "…")


if __name__ == "__main__":
    print("\n".join(lines()))
