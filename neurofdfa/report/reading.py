"""Typed access to the JSON of a study or a demo; every refusal names the file and the key."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from neurofdfa.errors import UserError
from neurofdfa.io import read_json


class Fields:
    """One JSON object. A missing key and a null are the same: None, or empty."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self._values = values
        self._where = where

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """A string, `default` when it is missing."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._refusal(key, "text")
        return printable(value)

    def number(self, key: str) -> float | None:
        """A finite number; None when it is missing, NaN or infinite."""
        return self._number(key, self._values.get(key))

    def count(self, key: str) -> int | None:
        """A whole number, None when it is missing."""
        value = self.number(key)
        if value is not None and value != int(value):
            raise self._refusal(key, "a whole number")
        return None if value is None else int(value)

    def share(self, key: str) -> float | None:
        """A number from 0 to 1, None when it is missing."""
        value = self.number(key)
        if value is not None and not 0.0 <= value <= 1.0:
            raise self._refusal(key, "a share from 0 to 1")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when it is missing."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._refusal(key, "true or false")
        return bool(value)

    def numbers(self, key: str) -> tuple[float | None, ...]:
        """A list of numbers, one per layer for example; nulls stay None."""
        return tuple(self._number(key, value) for value in self._list(key))

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(printable(str(value)) for value in self._list(key))

    def plain(self) -> dict[str, object]:
        """All entries as they are."""
        return {printable(key): value for key, value in self._values.items()}

    def entries(self, key: str) -> tuple["Fields", ...]:
        """A list of objects."""
        return tuple(self._object(value, f"{key}[{k}]") for k, value in enumerate(self._list(key)))

    def entry(self, key: str) -> "Fields":
        """An object, empty when it is missing."""
        value = self._values.get(key)
        return self._object({} if value is None else value, key)

    def texts(self) -> dict[str, str]:
        """All entries as text, in their order."""
        return {printable(key): printable(str(value)) for key, value in self._values.items()}

    def _list(self, key: str) -> list[object]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._refusal(key, "a list")
        return cast(list[object], value)

    def _object(self, value: object, key: str) -> "Fields":
        if not isinstance(value, dict):
            raise self._refusal(key, "an object")
        return Fields(cast(dict[str, object], value), f"{self._where}, {key}")

    def _number(self, key: str, value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refusal(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def _refusal(self, key: str, wanted: str) -> UserError:
        return UserError(
            f"{self._where}: `{key}` should be {wanted}; the file was not written by this version"
        )


def read_object(path: Path) -> Fields:
    """The JSON object in `path`. Raises UserError when it is damaged."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: should hold a JSON object; the file is damaged")
    return Fields(cast(dict[str, object], value), str(path))


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates replaced: no font or HTML parser knows them."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text)
