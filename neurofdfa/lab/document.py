"""What all result files share: typed, frozen, valid JSON; one line for whatever is wrong with one.

NaN (of a run that diverged, of an angle that has none) is written as null, and read back as NaN where the
field is `Measured`.
"""

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from neurofdfa.errors import UserError
from neurofdfa.io import read_json, write_text
from neurofdfa.lab.table import printable

Kind = TypeVar("Kind", bound=BaseModel)


def _or_nan(value: object) -> object:
    return math.nan if value is None else value


def _at_most_one(value: float) -> float:
    if value > 1:
        raise ValueError("an accuracy is at most 1")
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        entries = cast(dict[str, Any], value)
        return {printable(str(key)): _clean(entry) for key, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_clean(entry) for entry in cast(list[Any], value)]
    return value


Measured = Annotated[float, BeforeValidator(_or_nan)]
"""A number that a run which diverges may not have: NaN, null in the file."""

Score = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_at_most_one)]
"""An accuracy from 0 to 1, or the mean loss that regression keeps with a minus."""

MeasuredScore = Annotated[float, BeforeValidator(_or_nan), AfterValidator(_at_most_one)]

Text = Annotated[str, AfterValidator(printable)]
"""A text without control characters, wherever it comes from."""

Settings = Annotated[dict[str, Any], BeforeValidator(_clean)]
"""Dotted settings of a run, e.g. {"training.lr": 1e-3}."""

Interval = tuple[float, float]
"""Low and high end."""

Command = Text
Versions = dict[Text, Text]


class Record(BaseModel):
    """A part of a document. Keys that it does not know are left out: a later version may have more."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    def tree(self) -> dict[str, Any]:
        """Plain dictionaries, lists, texts and finite numbers, as they stand in the file."""
        return json.loads(self.model_dump_json())


class Document(Record):
    """A whole file."""

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raises `UserError` with one line that names the file and the key."""
        return parse(cls, read_json(path), str(path))


def parse(kind: type[Kind], value: Any, where: str) -> Kind:
    """Check what came out of JSON; raises `UserError` with one line."""
    try:
        # texts may hold half a surrogate pair, which JSON can spell and UTF-8 cannot
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise damaged(where, error) from error


def damaged(where: str, error: ValidationError) -> UserError:
    """One line on the first thing that is wrong."""
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    said = (
        said.replace("a valid array", "a list")
        .replace("a valid tuple", "a list")
        .replace("a valid dictionary", "an object")
    )
    return UserError(
        printable(f"{where}: {f'`{key}` ' if key else ''}{said}: the file is damaged or of another version")
    )


def versions() -> dict[str, str]:
    """What a result was made with."""
    found = {"python": platform.python_version()}
    for name in ("neurofdfa", "torch", "numpy", "nir", "scikit-learn", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
