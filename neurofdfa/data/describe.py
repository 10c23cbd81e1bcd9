# pyright: reportUnknownMemberType=false
"""What a data set holds, counted on its training samples, in numbers and as a picture."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurofdfa.data.dataset import Dataset, Split
from neurofdfa.errors import UserError

BINS = 64
SHOWN = 3


@dataclass(frozen=True)
class Description:
    """What a data set holds.

    samples: of training, validation and test, whose samples stay unseen. classes: [name, training samples],
    empty for regression. channels, shape: of the input. lengths: shortest, median and longest sample, in
    steps. measured: how many training samples what follows was measured on. binary: whether the input is
    spikes. density: share of channels and steps that have a spike (of values: their mean). events: fewest,
    median and most per sample (of values: their sums). silent_channels: channels without any event.
    histogram: mean events per channel and sample, over at most 64 groups of neighbouring channels.
    """

    name: str
    kind: str
    samples: dict[str, int]
    classes: list[tuple[str, int]]
    channels: int
    shape: tuple[int, ...]
    lengths: tuple[int, int, int]
    measured: int
    binary: bool
    density: float
    events: tuple[float, float, float]
    silent_channels: int
    histogram: list[float]

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return asdict(self)


def describe(data: Dataset, most: int = 1000) -> Description:
    """Measure a data set on its first `most` training samples, as they are shown without augmentation."""
    if most < 1:
        raise UserError(f"{most} samples to measure: give at least 1")
    part = data.train.select(slice(0, most))
    events, steps = np.zeros(len(part)), np.zeros(len(part), dtype=np.int64)
    per_channel = np.zeros(data.n_in)
    binary, first = True, 0
    for x, _, *lengths in part.batches(32):
        own = lengths[0] if lengths else torch.full((x.shape[1],), x.shape[0])
        rows = slice(first, first + x.shape[1])
        steps[rows] = own.numpy()
        if isinstance(x, torch.Tensor):
            binary = binary and bool(((x == 0) | (x == 1)).all())
            events[rows] = x.sum((0, 2)).numpy()
            per_channel += x.sum((0, 1)).double().numpy()
        else:
            events[rows] = x.starts[:, -1] - x.starts[:, 0]
            per_channel += np.bincount(x.channels, minlength=data.n_in)
        first = rows.stop
    groups = np.array_split(per_channel / len(part), min(BINS, data.n_in))
    return Description(
        name=data.name,
        kind=data.kind,
        samples={"train": len(data.train), "validation": len(data.validation), "test": data.test_size},
        classes=_class_counts(data),
        channels=data.n_in,
        shape=data.shape,
        lengths=(int(steps.min()), int(np.median(steps)), int(steps.max())),
        measured=len(part),
        binary=binary,
        density=float(events.sum() / (steps.sum() * data.n_in)),
        events=(float(events.min()), float(np.median(events)), float(events.max())),
        silent_channels=int((per_channel == 0).sum()),
        histogram=[float(group.mean()) for group in groups],
    )


def picture(data: Dataset, found: Description) -> bytes:
    """Draw the first training samples of up to three classes, and events per channel, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = _first_of_classes(data.train)
    figure = Figure(figsize=(3.2 * (len(chosen) + 1), 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(chosen) + 1, squeeze=False)[0]
    for axis, number in zip(axes, chosen, strict=False):
        x = next(data.train.select(torch.tensor([number])).batches(1))[0]
        dense = (x if isinstance(x, torch.Tensor) else x.dense())[:, 0].numpy()
        if found.binary:
            step, channel = np.nonzero(dense)
            axis.plot(step, channel, linestyle="none", marker=".", markersize=2, color="black")
        else:
            axis.imshow(dense.T, aspect="auto", origin="lower", interpolation="nearest", cmap="Greys")
        axis.set(xlim=(-0.5, len(dense) - 0.5), ylim=(-0.5, data.n_in - 0.5), xlabel="time step")
        axis.set_title(_title(data, number), fontsize=10)
    axes[0].set_ylabel("channel")
    middle = (np.arange(len(found.histogram)) + 0.5) * data.n_in / len(found.histogram)
    height = data.n_in / len(found.histogram)
    axes[-1].barh(middle, found.histogram, height=height, color="0.5")
    axes[-1].set(ylim=(-0.5, data.n_in - 0.5), xlabel="events per channel and sample")
    axes[-1].set_title(f"{found.measured} samples", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _class_counts(data: Dataset) -> list[tuple[str, int]]:
    if data.task != "classification":
        return []
    counts = np.bincount(data.train.targets.numpy(), minlength=data.n_out)
    names = data.classes or tuple(map(str, range(data.n_out)))
    return list(zip(names, counts.tolist(), strict=True))


def _first_of_classes(split: Split) -> list[int]:
    """The first samples of up to three classes, of regression the first three samples."""
    if split.targets.dim() > 1:
        return list(range(min(SHOWN, len(split))))
    targets: NDArray[np.int64] = split.targets.numpy()
    return [int(np.flatnonzero(targets == label)[0]) for label in np.unique(targets)[:SHOWN]]


def _title(data: Dataset, number: int) -> str:
    if data.task != "classification":
        return f"sample {number}"
    label = int(data.train.targets[number])
    return data.classes[label] if data.classes else f"class {label}"
