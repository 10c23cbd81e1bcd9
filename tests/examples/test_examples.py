"""Every example runs as a reader would run it, and learns."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.programs import finished

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples write their pictures into the folder in which they run."""
    monkeypatch.chdir(tmp_path)


def output(name: str, *arguments: str) -> str:
    done = finished(EXAMPLES / name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_picture(name: str) -> bool:
    """Whether the example has written a picture of some size that is not of one colour."""
    with Image.open(Path("runs") / name) as picture:
        return min(picture.size) > 400 and len(picture.convert("L").getcolors() or []) > 10


def accuracies(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"test accuracy (\d+\.\d+)%", text)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_in_one_reading(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 120


def test_fdfa_on_digits() -> None:
    text = output("digits_fdfa.py", "5")
    assert accuracies(text)[0] > 88
    assert float(re.findall(r"transpose: (\S+)", text)[0]) > 0.9
    assert is_picture("digits_fdfa.png")


def test_fdfa_through_convolutions() -> None:
    text = output("digits_conv.py", "3")
    assert accuracies(text)[0] > 80
    cosines = [float(found) for found in re.findall(r"layer \d: (\S+)", text)]
    assert len(cosines) == 2
    assert min(cosines) > 0.1
    assert is_picture("digits_conv.png")


def write_idx(folder: Path, part: str, samples: int) -> None:
    """Images of 4 x 40 pixels: noise, and for every label another bright stripe, wider than a shift."""
    labels = np.arange(samples) % 10
    images = np.random.default_rng(samples).integers(0, 80, (samples, 4, 10, 4))
    images[np.arange(samples), :, labels] = 255
    for name, array in (("images-idx3", images.reshape(-1, 4, 40)), ("labels-idx1", labels)):
        header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
        (folder / f"{part}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())


def test_fdfa_on_images_in_idx_files(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", 3000)
    write_idx(tmp_path, "t10k", 500)
    text = output("mnist_fdfa.py", str(tmp_path), "--epochs", "2")
    assert len(re.findall(r"epoch +\d  validation \d", text)) == 2
    assert accuracies(text)[0] > 80


def test_mnist_files_that_are_missing(tmp_path: Path) -> None:
    done = finished(EXAMPLES / "mnist_fdfa.py", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "no mnist files in" in done.stderr
    assert "--download" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("peer", ["snntorch", "norse"])
def test_the_same_network_in_a_peer(peer: str) -> None:
    text = output(f"digits_{peer}.py", "4")
    assert float(re.findall(r"outputs differ by (\S+)", text)[0]) < 1e-4
    theirs, ours = accuracies(text)
    assert theirs > 80
    assert ours > 80
    assert is_picture(f"digits_{peer}.png")


def test_a_recurrent_timing_task_in_both_peers() -> None:
    """Chance is 5 %, and an epoch of 24 updates is enough to leave it; BPTT keeps 25 steps, FDFA one."""
    text = output("timing_recurrent.py", "1")
    found = re.findall(r"(\w+), (BPTT|FDFA), (soft|hard) +test accuracy (\S+)%.* (\S+) MiB", text)
    assert [(peer, reset) for peer, _, reset, *_ in found] == [
        ("snnTorch", "soft"), ("neurofdfa", "soft"), ("Norse", "hard"), ("neurofdfa", "hard"),
    ]  # fmt: skip
    assert min(float(accuracy) for *_, accuracy, _ in found) > 15
