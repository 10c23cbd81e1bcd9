"""Files that are written whole or not at all, and checkpoints without pickle."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from neurofdfa.errors import UserError


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place.

    Readers see the old file or the new one, never a part. Raises `UserError` when the folder cannot be
    written.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def read_json(path: Path) -> Any:
    """Read JSON; raises `UserError` when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and string metadata as safetensors, whole."""
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(flat, dict(metadata)))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote; raises `UserError` when the file is missing or damaged."""
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: train first, or name another run")
    try:
        packed = path.read_bytes()
        # the header: its length in 8 bytes, then JSON (safetensors' format description)
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        return load(packed), header.get("__metadata__", {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint: {error}") from error


def load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copy weights into a module; raises `UserError` when names or shapes differ, changing nothing."""
    state = module.state_dict()
    for name, current in state.items():
        if name not in tensors:
            raise UserError(f"{source} has no '{name}': it belongs to another network")
        if tensors[name].shape != current.shape:
            raise UserError(
                f"{source}: '{name}' has shape {list(tensors[name].shape)}, the network of the config needs "
                f"{list(current.shape)}"
            )
    with torch.no_grad():
        for name, current in state.items():
            current.copy_(tensors[name])
