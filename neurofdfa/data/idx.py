"""Images and labels in the IDX format of MNIST and Fashion-MNIST, from files or, if asked, the network."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import urllib.error
import urllib.request
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import Encoder
from neurofdfa.data.shift import check_shift, shifted
from neurofdfa.data.split import reduced, stratified_split
from neurofdfa.errors import UserError

IMAGES_MAGIC, LABELS_MAGIC = 0x0000_0803, 0x0000_0801
GZIP, DENSEST_GZIP = b"\x1f\x8b", 1032
"""How gzip begins, and how many bytes one byte of it can stand for at most."""
SPLIT_SEED = 1998
VALIDATION = 10_000
CLASSES = 10

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion": "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
}


def idx_images(
    name: str,
    data_root: Path,
    steps: int,
    encode: Encoder,
    *,
    shift: int = 0,
    train: int = 0,
    validation: int = 0,
    download: bool = False,
) -> Dataset:
    """Load MNIST (`name` "mnist") or Fashion-MNIST ("fashion") from IDX files, plain or gzipped.

    The four files lie in data_root/name or in data_root itself. 10 000 training images (a sixth of a smaller
    set) become the validation split: fixed, stratified. Pixels stay uint8, [N, height · width].
    shift: pixels by which training images move at most, see `neurofdfa.data.shift.shifted`; validation and
    test images stay where they are.
    train, validation: keep so many samples of the split, stratified, always the same ones; 0 for all. The
    test split stays whole.
    download: fetch missing files first; nothing touches the network otherwise.
    Raises UserError for missing, truncated or mismatched files, and for more samples than there are.
    """
    folder = _folder(name, data_root)
    if folder is None:
        if not download:
            raise UserError(
                f"no {name} files in {data_root}: expected {FILES['train'][0]}[.gz] and its three companions "
                f"there or in {data_root / name}; name their folder with --data-root, or allow a download"
            )
        folder = data_root / name
        download_idx(SOURCES[name], folder)
    (train_x, train_y), (test_x, test_y) = _pair(folder, "train"), _pair(folder, "test")
    if train_x.shape[1:] != test_x.shape[1:]:
        raise UserError(f"{folder}: training images are {train_x.shape[1:]}, test images {test_x.shape[1:]}")
    held_out = min(VALIDATION, len(train_y) // 6)
    rest, part = stratified_split(train_y.astype(np.int64), (held_out,), np.random.default_rng(SPLIT_SEED))
    height, width = train_x.shape[1:]
    shape = (1, height, width)
    check_shift(shift, shape)
    return Dataset(
        name=name,
        kind="static",
        n_in=height * width,
        n_out=CLASSES,
        steps=steps,
        train=reduced("train", _split(train_x[rest], train_y[rest]), train),
        validation=reduced("validation", _split(train_x[part], train_y[part]), validation),
        sealed_test=SealedSplit(_split(test_x, test_y)),
        encode=encode,
        shape=shape,
        augment=partial(shifted, shift, shape) if shift else None,
    )


def download_idx(source: str, folder: Path) -> None:
    """Fetch the four gzipped IDX files below `source` into `folder`, each checked and whole or not at all.

    Raises UserError when a file cannot be fetched or is not what it should be; files fetched before stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}") from error
    for images, labels in FILES.values():
        for stem, magic in ((images, IMAGES_MAGIC), (labels, LABELS_MAGIC)):
            target = folder / f"{stem}.gz"
            if not target.exists():
                _fetch(f"{source}{target.name}", target, magic)


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped.

    magic: IMAGES_MAGIC for [N, height, width], LABELS_MAGIC for [N].
    Raises UserError when the file is missing, truncated, too long, or of another type.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as raw:
            packed = raw.read(2) == GZIP
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            return _checked(path, cast(BinaryIO, file), size, magic, packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is truncated or damaged gzip ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _checked(path: Path, file: BinaryIO, size: int, magic: int, packed: bool) -> NDArray[np.uint8]:
    """Read the header first, and of the rest no more than it promises. size: of the file, in bytes."""
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    header = file.read(start)
    if len(header) < 4:
        raise UserError(f"{path} is truncated: {len(header)} bytes are no IDX header; fetch it again")
    found = int(struct.unpack(">I", header[:4])[0])
    if found != magic:
        what = "images" if magic == IMAGES_MAGIC else "labels"
        raise UserError(
            f"{path} is not an IDX file of {what}: its magic number is {found:#010x}, not {magic:#010x}"
        )
    if len(header) < start:
        raise UserError(f"{path} is truncated: its header ends after {len(header)} bytes; fetch it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    expected = int(np.prod(shape, dtype=object))
    possible = DENSEST_GZIP * size if packed else size - start
    content = file.read(expected + 1) if expected <= possible else None
    present = len(content) if packed and content is not None else possible
    if content is None or present != expected:
        state = "is truncated" if present < expected else "has bytes left over"
        holds = f"at most {present}" if packed and content is None else str(present)
        raise UserError(
            f"{path} {state}: its header promises {expected} values, it holds "
            f"{'more' if packed and present > expected else holds}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _find(folder: Path, stem: str) -> Path | None:
    candidates = (folder / stem, folder / f"{stem}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _folder(name: str, data_root: Path) -> Path | None:
    stems = [stem for pair in FILES.values() for stem in pair]
    # All sets use the same file names: never take a folder called after another set for this one.
    folders = [data_root / name] + [data_root] * (data_root.resolve().name not in SOURCES.keys() - {name})
    return next((folder for folder in folders if all(_find(folder, stem) for stem in stems)), None)


def _pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images_path, labels_path = (_find(folder, stem) or folder / stem for stem in FILES[part])
    images, labels = read_idx(images_path, IMAGES_MAGIC), read_idx(labels_path, LABELS_MAGIC)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} has {len(images)} images and {labels_path.name} {len(labels)} labels; "
            "they do not belong together"
        )
    if images.size == 0:
        raise UserError(f"{images_path} holds no images")
    if int(labels.max()) >= CLASSES:
        raise UserError(f"{labels_path} has label {int(labels.max())}; labels must be 0 to {CLASSES - 1}")
    return images, labels


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    return Split(torch.tensor(flat), torch.tensor(labels.astype(np.int64)))


def _fetch(address: str, target: Path, magic: int) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(address, timeout=60) as response:
            while block := response.read(1 << 20):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        read_idx(temporary, magic)
        temporary.replace(target)
    except (OSError, urllib.error.URLError) as error:
        raise UserError(
            f"cannot fetch {address}: {error}; fetch it by hand into {target.parent} and name its folder "
            "with --data-root"
        ) from error
    except UserError as error:
        raise UserError(f"{address} did not give the file expected: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
