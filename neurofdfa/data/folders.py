"""Folders of recordings: a folder per class, or flat names that begin with the label."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, Kind, SealedSplit, Split
from neurofdfa.data.recordings import Recordings
from neurofdfa.data.series_files import in_class_order
from neurofdfa.data.split import Index, stratified_split
from neurofdfa.errors import UserError

SPLIT_SEED = 1998
HELD_OUT = 0.2
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Listing:
    """Recordings in the order of their names: where each lies, its class, who made it.

    labels: class numbers [N]. classes: their names. speakers: of every recording, where the names tell it.
    parts: indices of what the folder itself calls train, validation and test; train alone where it does not.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    speakers: tuple[str, ...]
    parts: dict[str, Index]


def list_recordings(folder: Path, suffixes: Collection[str]) -> Listing:
    """List the files of `suffixes` (".wav") below `folder`.

    Either folder/<class>/…, or flat files `{label}_{speaker}_{index}.wav`, or both below folder/train,
    folder/validation and folder/test. Names that begin with a dot or an underscore are passed over.
    Raises `UserError` for folders without such files, and for classes that the training part does not have.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}")
    named = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
    found: dict[str, Path | None] = {
        part: next((named[name] for name in names if name in named), None) for part, names in PARTS.items()
    }
    roots = {part: root for part, root in found.items() if root is not None}
    if "train" not in roots:
        roots = {"train": folder}
    paths: list[Path] = []
    words: list[str] = []
    speakers: list[str] = []
    parts: dict[str, Index] = {}
    for part, root in roots.items():
        begun = len(paths)
        for path, word, speaker in _labelled(root, suffixes):
            paths.append(path)
            words.append(word)
            speakers.append(speaker)
        parts[part] = np.arange(begun, len(paths), dtype=np.int64)
    classes = in_class_order(words[int(i)] for i in parts["train"])
    rank: dict[str, int] = {word: number for number, word in enumerate(classes)}
    for path, word in zip(paths, words, strict=True):
        if word not in rank:
            raise UserError(f"{path} is of class '{word}', which no training recording has")
    labels = np.array([rank[word] for word in words], dtype=np.int64)
    return Listing(tuple(paths), labels, classes, tuple(speakers) if all(speakers) else (), parts)


def _labelled(root: Path, suffixes: Collection[str]) -> list[tuple[Path, str, str]]:
    """(path, label, speaker) of every recording, in the order of the names."""
    children = sorted(child for child in root.iterdir() if not child.name.startswith((".", "_")))
    folders = [child for child in children if child.is_dir()]
    found: list[tuple[Path, str, str]] = []
    for folder in folders:
        files = [path for path in sorted(folder.rglob("*")) if _wanted(path, suffixes)]
        if not files:
            raise UserError(
                f"{folder} holds no {' or '.join(sorted(suffixes))} file: fill it, or take the folder away"
            )
        found += [(path, folder.name, _speaker(path)) for path in files]
    for path in (child for child in children if child.is_file() and _wanted(child, suffixes)):
        label, underscore, _ = path.stem.partition("_")
        if folders or not underscore or not label:
            raise UserError(
                f"{path} has no class: put it into a folder named after its class, or name it "
                f"label_speaker_index{path.suffix}"
            )
        found.append((path, label, _speaker(path)))
    if not found:
        raise UserError(f"{root} holds no {' or '.join(sorted(suffixes))} file")
    return found


def _wanted(path: Path, suffixes: Collection[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith((".", "_"))


def _speaker(path: Path) -> str:
    """The word in the middle of label_speaker_index, or nothing."""
    words = path.stem.split("_")
    return words[1] if len(words) == 3 else ""


def split_listing(listing: Listing, source: Path, speaker: str = "") -> tuple[Index, Index, Index]:
    """Indices of training, validation and test recordings: the folder's own parts, or fifths, stratified.

    speaker: take all that this one made for the test instead, and nothing of it for training.
    Raises `UserError` for a speaker who is not there, and for too few recordings.
    """
    train = listing.parts["train"]
    validation, test = listing.parts.get("validation"), listing.parts.get("test")
    if speaker:
        who = np.array(listing.speakers)
        if speaker not in listing.speakers:
            known = ", ".join(sorted(set(listing.speakers))) or "names of files that tell nobody"
            raise UserError(f"{source} has nothing by speaker '{speaker}'; it has {known}")
        test, train = np.flatnonzero(who == speaker), np.flatnonzero(who != speaker)
        validation = None
    missing = (validation is None) + (test is None)
    if missing:
        size = int(len(train) * HELD_OUT)
        if size < 1:
            raise UserError(f"{source} has {len(train)} recordings: too few to split; add recordings")
        drawn = stratified_split(listing.labels[train], [size] * missing, np.random.default_rng(SPLIT_SEED))
        train, *held = (train[index] for index in drawn)
        validation = held.pop(0) if validation is None else validation
        test = held.pop(0) if test is None else test
    assert validation is not None
    assert test is not None
    return train, validation, test


def recorded_dataset(
    name: str,
    recordings: Recordings,
    labels: NDArray[np.int64],
    parts: Sequence[Index],
    *,
    steps: int,
    classes: Sequence[str],
    shape: tuple[int, ...],
    kind: Kind = "spikes",
) -> Dataset:
    """Make a data set of recordings and the indices of its three parts."""
    if len(classes) < 2:
        raise UserError(f"{name} has one class only; give at least two")
    targets = torch.as_tensor(labels)
    indices = (torch.as_tensor(part) for part in parts)
    train, validation, test = (Split(recordings.select(i), targets[i]) for i in indices)
    return Dataset(
        name=name,
        kind=kind,
        n_in=recordings.n,
        n_out=len(classes),
        steps=steps,
        train=train,
        validation=validation,
        sealed_test=SealedSplit(test),
        shape=shape,
        classes=tuple(classes),
    )
