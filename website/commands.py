"""The page on the command line, made from the program itself."""

from collections.abc import Iterator
from typing import Any

import typer.main

from neurofdfa.cli import app

HEAD = """\
# Command line

This page is made from the program itself, by `python -m website.commands > docs/reference/cli.md`; `neurofdfa COMMAND --help` shows the same on a terminal. Every command takes
`--json` (one JSON object as the last line of standard output), `--seed` and `--quiet`.

| exit status | means |
|---|---|
| 0 | done |
| 1 | a training diverged, or runs of a comparison or study failed |
| 2 | the input cannot be used; one line on standard error says what is wrong and what to do |
| 130 | interrupted (Ctrl-C); `train --resume`, `compare` and `ablate` go on where they stopped |

`neurofdfa --version` prints the version. `neurofdfa --install-completion` teaches your shell to complete commands and options.
"""


def page() -> str:
    """Every command with its arguments, options and defaults, as Markdown."""
    return "\n".join([HEAD, *_commands(typer.main.get_command(app), "neurofdfa")]) + "\n"


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield from _command(command, full)


def _command(command: Any, full: str) -> Iterator[str]:
    given = [p for p in command.params if not p.hidden and p.name != "help"]
    arguments = [p for p in given if p.param_type_name == "argument"]
    names = [_metavar(p) if p.required else f"[{_metavar(p)}]" for p in arguments]
    yield f"## {full}\n"
    yield f"    {' '.join([full, *names, '[OPTIONS]'])}\n"
    yield f"{command.help}\n"
    yield "| | | default |\n|---|---|---|"
    for parameter in given:
        yield _row(parameter)
    yield ""


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _row(parameter: Any) -> str:
    name = (
        f"`{_metavar(parameter)}`"
        if parameter.param_type_name == "argument"
        else ", ".join(f"`{option}`" for option in parameter.opts)
    )
    return f"| {name} | {_cell(parameter.help or '')} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    shown, value = parameter.show_default, parameter.default
    if parameter.required:
        return "needed"
    if isinstance(shown, str):
        return _cell(shown)
    return "" if value is None or value is False else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
