"""Reading a trained network back from its run folder."""

import re
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from neurofdfa.data.dataset import Dataset
from neurofdfa.errors import UserError
from neurofdfa.io import load_weights, read_tensors
from neurofdfa.lab.build import build_data, build_network, build_trainer
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.record import CONFIG, is_run
from neurofdfa.nn.network import Network
from neurofdfa.train.trainer import Trainer


def load_run(folder: str | Path, network: Network | None = None) -> tuple[RunConfig, Network]:
    """The config and the trained network of a run folder; raises `UserError` when it is not one.

    network: to take in place of the one that the config describes; it gets the folder's weights.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise UserError(f"{folder} is not a run folder (no {CONFIG}): name the --out of a `train` command")
    config = load_config(folder / CONFIG)
    tensors, metadata = read_tensors(folder / "checkpoint.safetensors")
    if network is not None:
        load_weights(network, tensors, folder / "checkpoint.safetensors")
        return config, network
    weights = {int(n.split(".")[1]): t for n, t in tensors.items() if re.fullmatch(r"layers\.\d+\.weight", n)}
    if not weights or "input" not in metadata:
        raise UserError(f"{folder}/checkpoint.safetensors holds no network")
    shape = _shape(metadata["input"], weights[min(weights)], folder)
    n_out = weights[max(weights)].shape[0]  # of the last one, which leads to the readout
    network = build_network(config.network, prod(shape), n_out, config.seed, shape)
    load_weights(network, tensors, folder / "checkpoint.safetensors")
    return config, network


def trained_learner(folder: str | Path, config: RunConfig, network: Network, data: Dataset) -> Trainer | None:
    """The trainer as it was at the end of a run's last epoch, with the rule's feedback, around `network`,
    which gets its weights of then; None where the folder keeps no such state.
    """
    state = Path(folder) / "state.safetensors"
    if not state.is_file():
        return None
    learner = build_trainer(config, network, data.answer_from)
    learner.load_state_dict(read_tensors(state)[0], {"data": torch.Generator()})
    return learner


def open_run(folder: str | Path) -> tuple[RunConfig, Network, Dataset]:
    """As `load_run`, with the data set that it was trained on."""
    config, network = load_run(folder)
    return config, network, build_data(config.data, config.seed, Path(folder))


def _shape(text: str, first: Tensor, folder: Path) -> tuple[int, ...]:
    """The input's shape, e.g. 1x28x28, held against the first weights before anything of its size is made."""
    sizes = text.split("x")
    if all(size.isascii() and size.isdigit() and len(size) < 8 for size in sizes):
        shape = tuple(int(size) for size in sizes)
        if prod(shape) == first.shape[1] or (len(shape) == 3 and max(shape) < 10_000):
            return shape
    raise UserError(
        f"{folder}/checkpoint.safetensors: an input of shape '{text[:40]}' does not fit its weights"
    )
