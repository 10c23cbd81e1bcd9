"""Files that are written whole or not at all, read with one line for whatever is wrong, and never pickled."""

import fcntl
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurofdfa.errors import UserError

if TYPE_CHECKING:  # a config or a result is read without torch
    import torch
    from torch import Tensor

LARGEST_TEXT = 1 << 28
"""Bytes of the largest text file that is read: above that it is none of ours, and memory is finite."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place.

    Readers see the old file or the new one, never a part. Raises `UserError` when the folder cannot be
    written.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole."""

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    write_whole(path, write)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes whole."""

    def write(file: Path) -> None:
        file.write_bytes(content)

    write_whole(path, write)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises `UserError` where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {path}: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path, *, busy: str | None = None) -> Generator[None]:
    """Hold a folder for this process alone; the lock ends with the process, however that ends.

    Waits for another holder, or raises `UserError` with the message `busy` when that is given.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy is not None else 0))
        except BlockingIOError:
            raise UserError(busy or "") from None
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what `write_whole` leaves when it is killed; hold the folder, so that nobody else writes."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Read UTF-8 text; raises `UserError` when it is missing, huge, or no text."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise UserError(f"{path} is larger than {LARGEST_TEXT >> 20} MiB: it is no file of this kind")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # no UTF-8, or a null byte in the name
        raise UserError(f"{path} is no text: {error}") from error


def read_json(path: Path) -> Any:
    """Read JSON; raises `UserError` when it is missing or broken."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """JSON from text; raises `UserError` for what is none, nested too deeply, or a number without an end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{where} is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read TOML; raises `UserError` when it is missing or broken."""
    return parse_toml(read_text(path), str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """TOML from text; raises `UserError` for what is none, nested too deeply, or a number without an end."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{where} is not valid TOML: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise UserError(f"{where} is not valid TOML: {error}") from error


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
    """Write named tensors and string metadata as safetensors, whole."""
    from safetensors.torch import save

    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(flat, dict(metadata)))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read what `write_tensors` wrote; raises `UserError` when the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: train first, or name another run")
    try:
        packed = path.read_bytes()
        tensors = load(packed)  # checks the header before anything is built from it
        # the header: its length in 8 bytes, then JSON (safetensors' format description)
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        return tensors, header.get("__metadata__", {})
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint: {error}") from error


def load_weights(module: "torch.nn.Module", tensors: "Mapping[str, Tensor]", source: Path) -> None:
    """Copy weights into a module; raises `UserError` when names or shapes differ, or a weight is not finite,
    changing nothing.
    """
    import torch

    state = module.state_dict()
    for name, current in state.items():
        if name not in tensors:
            raise UserError(f"{source} has no '{name}': it belongs to another network")
        if tensors[name].shape != current.shape:
            raise UserError(
                f"{source}: '{name}' has shape {list(tensors[name].shape)}, the network of the config needs "
                f"{list(current.shape)}"
            )
        if not bool(torch.isfinite(tensors[name]).all()):
            raise UserError(
                f"{source}: '{name}' holds numbers that are not finite: the training diverged; "
                "train again with a smaller learning rate"
            )
    with torch.no_grad():
        for name, current in state.items():
            current.copy_(tensors[name])
