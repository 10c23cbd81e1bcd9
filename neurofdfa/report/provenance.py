"""How a result was made: command, versions, config, letter by letter."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neurofdfa.report.page import Block, Cell, Code, Column, Prose, Table
from neurofdfa.report.records import Run


def footer(folder: Path) -> str:
    """The page's last line."""
    return f"Written by neurofdfa from the folder {folder.resolve().name}. This file needs nothing else."


def provenance(
    command: str, versions: Mapping[str, str], configs: Sequence[tuple[str, Run]], *, folded: bool
) -> list[Block]:
    """Command, the config of each titled run, versions."""
    blocks: list[Block] = []
    if command:
        blocks += [Prose("This command makes it again:"), Code(command, words=True)]
    if folded and configs:
        blocks.append(Prose("Each run folder holds its config, from which the run repeats exactly:"))
    blocks += [
        Code(run.text.rstrip(), title if folded else "config.toml", folded=folded) for title, run in configs
    ]
    if versions:
        blocks.append(
            Table(
                (Column("Package", number=False), Column("Version", number=False)),
                tuple((Cell(name, name), Cell(version, version)) for name, version in versions.items()),
                "Versions.",
            )
        )
    return blocks
