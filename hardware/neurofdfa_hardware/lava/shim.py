"""The one correction that lets lava-nc 0.10.0 run on Python 3.11 and later.

Since 3.11 a dataclass refuses a mutable (unhashable) default; Lava's `CoreEncoder` and its neighbours have
`ByteEncoder()` as one. Giving `ByteEncoder` a hash lets them through and changes nothing else.
"""

import os
import re
from pathlib import Path

from neurofdfa_hardware.lava.errors import LavaSetupFailed

OLD = re.compile(r"^@dataclass\n(?=class ByteEncoder:)", re.MULTILINE)
NEW = "@dataclass(unsafe_hash=True)  # hashable, so that Python 3.11 takes it as a default\n"


def find(environment: Path) -> Path:
    """Lava's `var_model.py` in an environment folder."""
    found = sorted(environment.glob("lib/python3*/site-packages/lava/magma/compiler/var_model.py"))
    if not found:
        raise LavaSetupFailed(f"no Lava in {environment}: delete the folder and set up again")
    return found[0]


def apply(source: Path) -> bool:
    """Correct the file unless it has been; True when it was changed. Written whole or not at all.

    Raises `LavaSetupFailed` when the file is not the one this correction was written for.
    """
    text = source.read_text(encoding="utf-8")
    if NEW in text:
        return False
    corrected, count = OLD.subn(NEW, text)
    if count != 1:
        raise LavaSetupFailed(
            f"{source} is not that of lava-nc 0.10.0: the correction for this Python does not fit"
        )
    temporary = source.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(corrected)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(source)
    return True
