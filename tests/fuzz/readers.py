"""Every format that the project reads: how to write a good file of it, and what reads it."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurofdfa as nf
import neurofdfa_hardware as chip
from neurofdfa.lab.config import load_config
from neurofdfa.lab.energy import read_energy
from neurofdfa.lab.ledger import Ledger, Trial
from neurofdfa.lab.study_file import read_study
from neurofdfa_hardware.files import open_network, read_inputs

ALLOWED = (nf.UserError, chip.HardwareError)
"""What a reader may raise; everything else is a defect."""


@dataclass(frozen=True)
class Reader:
    """name: of the format. write: makes a folder's good files, in it. damaged: which of them is changed, by
    its path in the folder. read: of the folder.
    """

    name: str
    write: Callable[[Path], None]
    damaged: str
    read: Callable[[Path], Any]

    @property
    def suffix(self) -> str:
        return Path(self.damaged).suffix


def _draw() -> np.random.Generator:
    return np.random.default_rng(0)


def _labels(count: int = 15) -> np.ndarray:
    return np.arange(count) % 3


def _npz_spikes(folder: Path) -> None:
    spikes = (_draw().random((15, 8, 5)) < 0.3).astype(np.uint8)
    np.savez(folder / "a.npz", spikes=spikes, labels=_labels(), lengths=_draw().integers(4, 9, 15))


def _npz_images(folder: Path) -> None:
    np.savez(folder / "a.npz", images=_draw().integers(0, 255, (15, 6, 6)).astype(np.uint8), labels=_labels())


def _npz_series(folder: Path) -> None:
    np.savez(
        folder / "a.npz", sequences=_draw().normal(size=(15, 12, 2)).astype(np.float32), labels=_labels()
    )


def _csv_file(folder: Path) -> None:
    with open(folder / "a.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "label", "x", "y"])
        for series in range(15):
            for _ in range(6):
                writer.writerow([series, "abc"[series % 3], *_draw().normal(size=2).round(3)])


def _folder_of(name: str, write: Callable[[Path, int], None]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for label in ("no", "yes"):
            (folder / "set" / label).mkdir(parents=True)
            for k in range(5):
                write(folder / "set" / label / f"{k}{name}", k)

    return make


def _csv_recording(path: Path, k: int) -> None:
    np.savetxt(path, _draw().normal(size=(20, 3)), delimiter=",", header="a,b,c", comments="")


def _sound(path: Path, k: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((np.sin(np.arange(1600) * 0.1 * (k + 1)) * 9000).astype("<i2").tobytes())


def _camera(path: Path, k: int) -> None:
    draw = np.random.default_rng(k)
    events = np.zeros((60, 5), np.uint8)
    events[:, :2] = draw.integers(0, 34, (60, 2))
    stamp = np.sort(draw.integers(0, 300_000, 60))
    events[:, 2] = (draw.integers(0, 2, 60) << 7) | (stamp >> 16)
    events[:, 3], events[:, 4] = stamp >> 8 & 255, stamp & 255
    path.write_bytes(events.tobytes())


def _camera_array(path: Path, k: int) -> None:
    draw = np.random.default_rng(k)
    kind = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8)])
    events = np.zeros(60, kind)
    events["t"] = np.sort(draw.integers(0, 300_000, 60))
    events["x"], events["y"] = draw.integers(0, 34, 60), draw.integers(0, 34, 60)
    np.save(path, events)


def _camera_npz(path: Path, k: int) -> None:
    draw = np.random.default_rng(k)
    t, x, y = np.sort(draw.integers(0, 300_000, 60)), draw.integers(0, 34, 60), draw.integers(0, 34, 60)
    with open(path, "wb") as file:
        np.savez(file, t=t, x=x, y=y, p=x % 2)


def _camera_h5(path: Path, k: int) -> None:
    import h5py

    draw = np.random.default_rng(k)
    with h5py.File(path, "w") as file:
        file["t"] = np.sort(draw.integers(0, 300_000, 60))
        file["x"], file["y"] = draw.integers(0, 34, 60), draw.integers(0, 34, 60)
        file["p"] = draw.integers(0, 2, 60)


def _idx(folder: Path) -> None:
    where = folder / "mnist"
    where.mkdir()
    for name, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = _draw().integers(0, 255, (count, 4, 4)).astype(np.uint8)
        head = np.array([0x803, count, 4, 4], ">i4").tobytes()
        (where / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (where / f"{name}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, count], ">i4").tobytes() + labels.tobytes()
        )


def _cifar(folder: Path) -> None:
    where = folder / "cifar10"
    where.mkdir()
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        rows = _draw().integers(0, 255, (20, 3073)).astype(np.uint8)
        rows[:, 0] = np.arange(20) % 10
        (where / name).write_bytes(rows.tobytes())


def _of_data(name: str, **options: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        data = nf.data.load(str(folder / name), **options)
        next(data.train.batches(4, seed=0))
        return next(data.validation.batches(4))

    return read


def _named(name: str, **options: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        data = nf.data.load(name, data_root=folder, **options)
        return next(data.train.batches(4, seed=0))

    return read


@cache
def _made_once() -> Path:
    """A run folder, a graph and a study, made by the program itself."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="neurofdfa-fuzz-"))
    torch.manual_seed(0)
    spikes = (torch.rand(8, 15, 5) < 0.4).float()
    data = nf.data.Dataset.from_arrays(spikes.transpose(0, 1).to(torch.uint8).numpy(), _labels())
    net = nf.Network(nf.Linear(5, 6), nf.LIF(), nf.Linear(6, 3), nf.LI())
    nf.fit(
        net,
        data,
        nf.FDFA(),
        epochs=2,
        batch=5,
        out=folder / "run",
        engine="reference",
        progress=False,
        rate=0.2,
    )
    nf.export_nir(net, folder / "a.nir", spikes[:, :2])
    network = chip.load(folder / "a.nir")
    program = chip.quantize(network, 8, spikes.to(torch.uint8).numpy(), target="netx").program
    chip.netx.save(program, folder / "a.net")
    return folder


def _copied(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        source = _made_once() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)

    return make


def _config(folder: Path) -> None:
    shutil.copy(_made_once() / "run" / "config.toml", folder / "a.toml")


def _study(folder: Path) -> None:
    (folder / "a.toml").write_text(
        'name = "fuzz"\nseeds = [0, 1, 2]\n\n[base]\n"data.name" = "digits"\n"training.epochs" = 2\n\n'
        '[grid]\n"rule.name" = ["fdfa", "dfa"]\n"training.lr" = [0.01, 0.003]\n'
    )


def _ledger(folder: Path) -> None:
    measured = {"rule.name": "fdfa", "training.lr": 0.01}
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.expect(
            [
                Trial(number=k, hash=f"{k:04d}", point=k, seed=0, settings=measured, folder=f"trials/{k}")
                for k in range(4)
            ]
        )
        ledger.fail("0001", "as it happens")


def _read_ledger(folder: Path) -> Any:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.trials()


def _reopened(folder: Path) -> Any:
    run = nf.load(folder / "run")
    return run.summary, run.epochs, run.evaluate()


def _report(folder: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return nf.load(folder / "run").report()


def _resumed(folder: Path) -> Any:
    return nf.load(folder / "run").fit(epochs=1, progress=False)


def _inputs_npz(folder: Path) -> None:
    np.savez(
        folder / "a.npz", spikes=(_draw().random((8, 4, 5)) < 0.3).astype(np.uint8), labels=np.arange(4) % 3
    )


def _inputs_csv(folder: Path) -> None:
    rows = [[t, t % 5, k] for k in range(3) for t in range(8)]
    np.savetxt(folder / "a.csv", rows, delimiter=",", header="t,neuron,sample", comments="", fmt="%d")


def _inputs(name: str) -> Callable[[Path], Any]:
    return lambda folder: read_inputs(folder / name, 5)


def _energy(folder: Path) -> Any:
    return read_energy(folder / "run")


def readers() -> Iterator[Reader]:
    """All of them."""
    yield Reader("npz of spikes", _npz_spikes, "a.npz", _of_data("a.npz"))
    yield Reader("npz of images", _npz_images, "a.npz", _of_data("a.npz"))
    yield Reader("npz of sequences", _npz_series, "a.npz", _of_data("a.npz"))
    yield Reader("one CSV file", _csv_file, "a.csv", _of_data("a.csv"))
    yield Reader("CSV recordings", _folder_of(".csv", _csv_recording), "set/no/0.csv", _of_data("set"))
    yield Reader("WAV", _folder_of(".wav", _sound), "set/no/0.wav", _of_data("set", bands=8))
    camera: dict[str, Any] = {"steps": 20, "width": 34, "height": 34, "window": 0.3}
    yield Reader("bin events", _folder_of(".bin", _camera), "set/no/0.bin", _of_data("set", **camera))
    yield Reader("npy events", _folder_of(".npy", _camera_array), "set/no/0.npy", _of_data("set", **camera))
    yield Reader("npz events", _folder_of(".npz", _camera_npz), "set/no/0.npz", _of_data("set", **camera))
    yield Reader("h5 events", _folder_of(".h5", _camera_h5), "set/no/0.h5", _of_data("set", **camera))
    yield Reader("IDX images", _idx, "mnist/train-images-idx3-ubyte", _named("mnist"))
    yield Reader("IDX labels", _idx, "mnist/train-labels-idx1-ubyte", _named("mnist"))
    yield Reader("CIFAR-10", _cifar, "cifar10/data_batch_1.bin", _named("cifar10"))
    yield Reader("config", _config, "a.toml", lambda folder: load_config(folder / "a.toml"))
    yield Reader("study", _study, "a.toml", lambda folder: read_study(folder / "a.toml"))
    yield Reader("ledger", _ledger, "ledger.sqlite", _read_ledger)
    for name in ("config.toml", "checkpoint.safetensors", "metrics.jsonl", "summary.json", "data.npz"):
        yield Reader(f"run: {name}", _copied("run"), f"run/{name}", _reopened)
    yield Reader("run: state.safetensors", _copied("run"), "run/state.safetensors", _resumed)
    yield Reader("run: energy.json", _copied("run"), "run/energy.json", _energy)
    for name in ("raster.npz", "metrics.jsonl", "energy.json", "confusion.json"):
        yield Reader(f"report: {name}", _copied("run"), f"run/{name}", _report)
    yield Reader("NIR", _copied("a.nir"), "a.nir", lambda folder: open_network(folder / "a.nir"))
    yield Reader("netx", _copied("a.net"), "a.net", lambda folder: open_network(folder / "a.net"))
    yield Reader("chip inputs npz", _inputs_npz, "a.npz", _inputs("a.npz"))
    yield Reader("chip inputs csv", _inputs_csv, "a.csv", _inputs("a.csv"))


READERS = {reader.name: reader for reader in readers()}
