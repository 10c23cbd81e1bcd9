"""raster.npz: what every neuron did on some test samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofdfa.data.npz import read_npz
from neurofdfa.errors import UserError

Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """A hidden layer: spikes uint8 [S, T, n], membrane float32 [S, T, n] or None."""

    name: str
    spikes: Array
    membrane: Array | None


@dataclass(frozen=True)
class Raster:
    """S recorded samples. inputs [S, T, n_in], readout [S, T, k] or None, labels and predictions [S]."""

    inputs: Array
    layers: tuple[Layer, ...]
    readout: Array | None
    labels: tuple[int, ...]
    predictions: tuple[int, ...]

    @property
    def samples(self) -> int:
        """S."""
        return int(self.inputs.shape[0])

    @property
    def steps(self) -> int:
        """T."""
        return int(self.inputs.shape[1])


def read_raster(folder: Path) -> Raster | None:
    """The raster of a run folder, None when it has none. Raises UserError when it is damaged."""
    path = folder / "raster.npz"
    if not path.is_file():
        return None
    arrays: dict[str, Array] = dict(read_npz(path))
    if "input" not in arrays:
        raise UserError(f"{path}: has no array `input`; the file was not written by this version")
    arrays = {name: _batched(name, array, path) for name, array in arrays.items()}
    inputs = arrays["input"]
    for name, array in arrays.items():
        wanted = inputs.shape[:1] if array.ndim == 1 else inputs.shape[:2]
        if array.shape[: len(wanted)] != wanted or array.size == 0:
            raise UserError(
                f"{path}: `{name}` has shape {array.shape}, `input` {inputs.shape}: they disagree"
            )
    return Raster(
        inputs, _layers(arrays, path), _finite(arrays.get("readout")), *_classes(arrays, len(inputs))
    )


def _batched(name: str, array: Array, path: Path) -> Array:
    plain = 0 if name in ("label", "prediction") else 2
    if array.ndim == plain:
        array = array[np.newaxis]
    if array.ndim != plain + 1 or array.dtype.kind not in "biuf":
        raise UserError(f"{path}: `{name}` is {array.dtype} of shape {array.shape}, which is no recording")
    return array


def _layers(arrays: dict[str, Array], path: Path) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    while (name := f"layer{len(layers) + 1}") in arrays:
        membrane = _finite(arrays.get(f"membrane{len(layers) + 1}"))
        if membrane is not None and membrane.shape != arrays[name].shape:
            raise UserError(f"{path}: membrane and spikes of {name} have different shapes")
        layers.append(Layer(name, arrays[name], membrane))
    return tuple(layers)


def _finite(array: Array | None) -> Array | None:
    return None if array is None else np.nan_to_num(np.asarray(array, dtype=np.float64), posinf=0, neginf=0)


def _classes(arrays: dict[str, Array], samples: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    nobody = np.full(samples, -1)
    labels, predictions = arrays.get("label", nobody), arrays.get("prediction", nobody)
    return tuple(int(c) for c in labels), tuple(int(c) for c in predictions)
