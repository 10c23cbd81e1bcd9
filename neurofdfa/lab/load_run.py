"""Reading a run folder back."""

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path

from neurofdfa.data.dataset import Dataset
from neurofdfa.errors import UserError
from neurofdfa.io import load_weights, read_tensors
from neurofdfa.lab.build import build_data, build_network
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.nn.network import Network


def load_run(folder: Path) -> tuple[RunConfig, Network]:
    """The config and the trained network of a run folder; raises `UserError` when it is not one."""
    if not (folder / "config.toml").is_file():
        raise UserError(f"{folder} is not a run folder (no config.toml): name the --out of a `train` command")
    config = load_config(folder / "config.toml")
    tensors, metadata = read_tensors(folder / "checkpoint.safetensors")
    weights = {int(n.split(".")[1]): t for n, t in tensors.items() if re.fullmatch(r"layers\.\d+\.weight", n)}
    if not weights or "input" not in metadata:
        raise UserError(f"{folder}/checkpoint.safetensors holds no network")
    shape = tuple(int(n) for n in metadata["input"].split("x"))
    n_out = weights[max(weights)].shape[0]  # of the last one, which leads to the readout
    network = build_network(config.network, prod(shape), n_out, config.seed, shape)
    load_weights(network, tensors, folder / "checkpoint.safetensors")
    return config, network


def open_run(folder: Path) -> tuple[RunConfig, Network, Dataset]:
    """As `load_run`, with the data set that it was trained on."""
    config, network = load_run(folder)
    return config, network, build_data(config.data, config.seed)


def versions() -> dict[str, str]:
    """What this was made with."""
    found = {"python": platform.python_version()}
    for name in ("neurofdfa", "torch", "numpy", "nir", "scikit-learn", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
