"""What a NIR graph says about itself: dt, reset, decode, golden spikes. All of it may be missing.

Keys: format "neurofdfa-nir/1", dt, integrator, reset, readout, decode, golden/<node>. HDF5 turns "golden/x"
into a nested group, and a writer may keep its scalars in one JSON string under "neurofdfa": all three forms
are read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from neurofdfa_hardware.errors import HardwareError
from neurofdfa_hardware.nir.network import Decode, Golden

FORMAT = "neurofdfa-nir/1"


@dataclass(frozen=True)
class Said:
    """The scalars of the metadata, None where it is silent."""

    dt: float | None
    reset: Literal["hard", "soft", "none"] | None
    decode: Decode | None


def read_metadata(metadata: Mapping[str, Any]) -> Said:
    """Raises `HardwareError` for a newer format, another integrator, or values that are not what they say."""
    said = _flat(metadata)
    form = said.get("format")
    if form is not None and form != FORMAT:
        raise HardwareError(f"the graph's metadata has format {form!r}: this version reads {FORMAT!r}")
    integrator = said.get("integrator", "euler")
    if integrator != "euler":
        raise HardwareError(
            f"the graph was written for the integrator {integrator!r}: only forward Euler is read; "
            "export time constants as dt/(1 − decay)"
        )
    reset = _one_of(said, "reset", ("hard", "soft", "none"))
    decode = _one_of(said, "decode", ("count", "last", "mean"))
    dt = said.get("dt")
    try:
        step = None if dt is None else float(dt)
    except (TypeError, ValueError):
        raise HardwareError(f"the graph's metadata has dt = {dt!r}: expected a number") from None
    return Said(step, cast(Any, reset), cast(Any, decode))


def read_golden(metadata: Mapping[str, Any]) -> Golden | None:
    """The golden vector, or None without one. Raises `HardwareError` when its arrays do not fit together."""
    arrays = {
        key.removeprefix("golden/"): np.asarray(value)
        for key, value in _flat(metadata).items()
        if key.startswith("golden/")
    }
    if "input" not in arrays:
        return None
    readout = arrays.pop("readout", None)
    source = _binary("input", arrays.pop("input"))
    spikes = {name: _binary(name, array) for name, array in arrays.items()}
    for name, array in {**spikes, **({} if readout is None else {"readout": readout})}.items():
        if array.ndim != 3 or array.shape[:2] != source.shape[:2]:
            raise HardwareError(
                f"golden/{name} has shape {array.shape}, golden/input {source.shape}: both are [T, B, n]"
            )
    return Golden(source, spikes, None if readout is None else readout.astype(np.float64))


def _flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in metadata.items():
        plain = value.decode() if isinstance(value, bytes) else value
        if isinstance(plain, Mapping):
            inner = _flat(cast(Mapping[str, Any], plain))
            flat |= inner if key == "neurofdfa" else {f"{key}/{name}": item for name, item in inner.items()}
        elif key == "neurofdfa" and isinstance(plain, str):
            flat |= _flat(_parse(plain))
        else:
            flat[key] = (
                plain.item() if isinstance(plain, np.ndarray | np.generic) and plain.ndim == 0 else plain
            )
    return flat


def _parse(text: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise HardwareError(f"the graph's metadata 'neurofdfa' is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise HardwareError("the graph's metadata 'neurofdfa' is not a JSON object")
    return cast(Mapping[str, Any], parsed)


def _one_of(said: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str | None:
    value = said.get(key)
    value = value.decode() if isinstance(value, bytes) else value
    if value is not None and value not in allowed:
        raise HardwareError(
            f"the graph's metadata has {key} = {value!r}: expected one of {', '.join(allowed)}"
        )
    return value


def _binary(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim != 3 or array.dtype.kind not in "bui":
        raise HardwareError(f"golden/{name} must be spikes uint8 [T, B, n]; got {array.dtype} {array.shape}")
    return array.astype(np.uint8)
