"""Samples of the user's own, kept in the run's folder so that everything works on the folder alone.

data.npz holds inputs and targets of the three splits as they are; how they become input stands in the config.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import DIRECT, LATENCY, POISSON, direct, encoder_named, latency, poisson
from neurofdfa.data.npz import read_npz
from neurofdfa.errors import UserError
from neurofdfa.io import write_whole
from neurofdfa.lab.config import DataConfig

NAME = "data.npz"
KEPT_MIB = 256
"""Samples of more than so many MiB are not copied into a folder."""
_PARTS = ("train", "validation", "test")


def describe_data(data: Dataset) -> DataConfig:
    """What the config says of a data set that was handed over."""
    about = {
        "kind": data.kind,
        "task": data.task,
        "n_in": data.n_in,
        "n_out": data.n_out,
        "shape": list(data.shape),
        "answer_from": data.answer_from,
        "classes": list(data.classes),
        "samples": [len(data.train), len(data.validation), data.test_size],
    }
    encoding = _encoding(data)
    kept = encoding is not None and _keepable(data)
    return DataConfig(
        name=data.name,
        steps=data.steps or None,
        own="kept" if kept else "given",
        options=about,
        **({} if encoding is None else encoding),
    )


def keep(folder: Path, data: Dataset) -> None:
    """Write the samples of a data set whose description says that they are kept."""
    splits: list[Split] = [data.train, data.validation]
    data.sealed_test.changed(lambda test: (splits.append(test), test)[1])
    arrays = {
        f"{part}_{what}": getattr(split, what).cpu().numpy()
        for part, split in zip(_PARTS, splits, strict=True)
        for what in ("inputs", "targets")
    }

    def write(file: Path) -> None:
        with open(file, "wb") as handle:
            np.savez_compressed(handle, **arrays)

    write_whole(folder / NAME, write)


def read_kept(config: DataConfig, folder: Path | None) -> Dataset:
    """The data set of a folder. Raises `UserError` where the samples are not in it, or are damaged."""
    if config.own == "given":
        raise UserError(
            f"the samples of '{config.name}' are not in the run's folder (more than {KEPT_MIB} MiB, or read "
            "and changed by code of your own): hand them over in Python, neurofdfa.load(folder, data=…)"
        )
    if folder is None or not (folder / NAME).is_file():
        raise UserError(
            f"the samples of '{config.name}' are kept in the {NAME} of the run that learnt from them: go on "
            "there with --out and --resume, or copy the file"
        )
    path = folder / NAME
    file = read_npz(path)
    try:
        splits = [
            Split(torch.as_tensor(file[f"{part}_inputs"]), torch.as_tensor(file[f"{part}_targets"]))
            for part in _PARTS
        ]
        about = config.options
        made = Dataset(
            name=config.name,
            kind=about["kind"],
            n_in=about["n_in"],
            n_out=about["n_out"],
            steps=config.steps or 0,
            train=splits[0],
            validation=splits[1],
            sealed_test=SealedSplit(splits[2]),
            encode=_encode(config) if about["kind"] == "static" else None,
            task=about["task"],
            shape=tuple(about["shape"]),
            answer_from=about["answer_from"],
            classes=tuple(about["classes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged, or not the data of this run ({error})") from error
    check_same(config, made, str(path))
    return made


def check_same(config: DataConfig, data: Dataset, where: str) -> None:
    """Raise `UserError` unless a data set is as large as the one that the config describes."""
    found = describe_data(data).options
    for name in ("n_in", "n_out", "samples", "kind", "task"):
        if name in config.options and config.options[name] != found[name]:
            raise UserError(
                f"{where}: not the data of this run, whose {name} is {config.options[name]}, and here "
                f"{found[name]}"
            )


def pristine(data: Dataset) -> Dataset:
    """The same samples with a seal of their own, for a run that goes on and ends a second time."""
    opened: list[Split] = []
    data.sealed_test.changed(lambda test: (opened.append(test), test)[1])
    return replace(data, sealed_test=SealedSplit(opened[0]))


def _keepable(data: Dataset) -> bool:
    parts = [data.train, data.validation]
    data.sealed_test.changed(lambda test: (parts.append(test), test)[1])
    tensors: list[Any] = [t for split in parts for t in (split.inputs, split.targets)]
    if data.augment is not None or not all(isinstance(t, torch.Tensor) for t in tensors):
        return False
    return sum(t.numel() * t.element_size() for t in tensors) <= KEPT_MIB << 20


def _encoding(data: Dataset) -> dict[str, Any] | None:
    """The settings that make its encoder, None where that is code of the user's own."""
    made: Any = data.encode
    if made is None:
        return {}
    if made is latency:
        return {"encoder": LATENCY}
    if isinstance(made, partial) and not made.args:
        if made.func is poisson and set(made.keywords) == {"max_rate"}:
            return {"encoder": POISSON, **made.keywords}
        if made.func is direct and set(made.keywords) == {"gain"}:
            return {"encoder": DIRECT, **made.keywords}
    return None


def _encode(config: DataConfig) -> Any:
    return encoder_named(config.encoder, max_rate=config.max_rate, gain=config.gain)
