"""Where compiled kernels are kept when neither the installation nor a cache folder can be written."""

import atexit
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from numba.core import caching

_KERNELS = Path(__file__).parent / "kernels"
_INSTALLED = _KERNELS / "__pycache__"


class _OwnCopy:
    """The last place that numba is offered for a kernel: a copy, for this process, of what was compiled when
    the package was installed. What is not among it is compiled, and forgotten at the end.
    """

    folder: str | None = None

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_OwnCopy | None":
        if Path(py_file).parent != _KERNELS:
            return None
        if cls.folder is None:
            cls.folder = tempfile.mkdtemp(prefix="neurofdfa-kernels-")
            atexit.register(shutil.rmtree, cls.folder, ignore_errors=True)
            for file in _INSTALLED.glob("*.nb?"):
                shutil.copyfile(file, Path(cls.folder) / file.name)
        return cls()

    def get_cache_path(self) -> str | None:
        return self.folder

    def get_source_stamp(self) -> str:
        return ""  # `neurofdfa.events.compiled` puts its own in the place

    def get_disambiguator(self) -> None:
        return None

    def ensure_cache_path(self) -> None:
        pass


def offer_own_copy() -> None:
    """From now on numba finds a place for every kernel."""
    places: Any = caching
    if _OwnCopy not in places.CacheImpl._locator_classes:
        places.CacheImpl._locator_classes = [*places.CacheImpl._locator_classes, _OwnCopy]


def why_not_kept() -> str | None:
    """Why every process compiles the engine anew, which takes a minute; None where it is kept compiled."""
    importlib.import_module("neurofdfa.events.kernels.sequence")  # which looks for its place
    if _OwnCopy.folder is None or any(_INSTALLED.glob("*.nbi")):
        return None
    return (
        f"the event engine is compiled anew by every process: neither {_INSTALLED} nor a cache folder of "
        f"user {os.geteuid()} can be written; run `neurofdfa doctor --compile` as the owner of the "
        "installation, or set NUMBA_CACHE_DIR to a folder that can"
    )
