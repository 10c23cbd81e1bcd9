"""Plots of what a network does and how it learns: matplotlib axes in, axes out.

Every function draws into the axes that it is given, or into a new figure, and returns the axes for whatever
is to be changed or saved. Lines differ in colour and in dashes; the colours are told apart without colour
vision (Okabe & Ito 2008).
"""

# pyright: reportUnknownMemberType=false
# (matplotlib passes its keyword arguments on untyped)
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from neurofdfa.errors import UserError
from neurofdfa.measure.alignment import Alignment
from neurofdfa.measure.energy.ledger import Ledger
from neurofdfa.nn.inputs import as_numbers

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", ":", "-.")


class Epoch(Protocol):
    """What `curves` reads: an entry of `Trainer.fit`'s history, or of a run folder's epochs."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def train_loss(self) -> float | None: ...  # noqa: D102
    @property
    def train_accuracy(self) -> float | None: ...  # noqa: D102
    @property
    def validation_loss(self) -> float | None: ...  # noqa: D102
    @property
    def validation_accuracy(self) -> float | None: ...  # noqa: D102


class Compared(Protocol):
    """What `alignment` reads of an epoch in a run folder."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def alignment(self) -> Sequence[float | None] | None: ...  # noqa: D102


class Stage(Protocol):
    """What `parity` reads of one stage beside the one before it."""

    @property
    def before(self) -> str: ...  # noqa: D102
    @property
    def after(self) -> str: ...  # noqa: D102
    @property
    def agreement(self) -> Mapping[str, float]: ...  # noqa: D102


class Stages(Protocol):
    """What `parity` reads: the stages of a network on its way to the chip, in order."""

    @property
    def comparisons(self) -> Sequence[Stage]: ...  # noqa: D102


def raster(
    spikes: Tensor | Sequence[Tensor],
    ax: Axes | None = None,
    *,
    sample: int = 0,
    names: Sequence[str] | None = None,
) -> Axes:
    """A tick per spike: time to the right, neurons upward.

    spikes: `[T, n]` or `[T, B, n]`, of which `sample` is shown; or several layers of them, as
    `network.run(x).spikes` gives, which are stacked in their colours from bottom to top. names: of these
    layers, "layer 1", "layer 2", … unless given. Raises `UserError` where there are not as many names.
    """
    layers = list(spikes) if isinstance(spikes, list | tuple) else [spikes]
    found, drawn = _axes(ax), [_of(sample, layer) for layer in layers]
    told = [f"layer {number}" for number in range(1, len(drawn) + 1)] if names is None else list(names)
    if len(told) != len(drawn):
        raise UserError(f"{len(drawn)} layers of spikes take as many names, got {len(told)}")
    base, rows = 0, sum(layer.shape[1] for layer in drawn)
    for index, (layer, name) in enumerate(zip(drawn, told, strict=True)):
        steps, neurons = np.nonzero(layer)
        size, colour = 12 if rows < 100 else 4, COLOURS[index % len(COLOURS)]
        found.scatter(steps, neurons + base, s=size, marker="|", color=colour, label=name)
        base += layer.shape[1]
    found.set(xlabel="time step", ylabel="neuron", xlim=(-0.5, max(map(len, drawn)) - 0.5))
    found.set_ylim(-0.5, base - 0.5)
    if len(drawn) > 1 or names is not None:  # above the axes: within them there is no empty place
        found.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(drawn), borderaxespad=0.2,
            handletextpad=0.1, columnspacing=1.0, markerscale=1.5,
        )  # fmt: skip
    return found


def membranes(
    u: Tensor,
    ax: Axes | None = None,
    *,
    neurons: Sequence[int] | None = None,
    threshold: float | None = None,
    sample: int = 0,
) -> Axes:
    """Membranes over time, a line per neuron.

    u: `[T, n]` or `[T, B, n]`, of which `sample` is shown. neurons: which ones, the first five unless given;
    threshold: drawn as a thin line where it is given.
    """
    values, found = _of(sample, u), _axes(ax)
    shown = range(min(5, values.shape[1])) if neurons is None else neurons
    for (dash, colour), n in zip(_styles(len(shown)), shown, strict=True):
        found.plot(values[:, n], dash, color=colour, label=f"neuron {n}")
    if threshold is not None:
        found.axhline(threshold, color="0.4", linewidth=0.8, label="threshold")
    found.set(xlabel="time step", ylabel="membrane")
    return _told(found)


def curves(
    epochs: Sequence[Epoch], ax: Axes | None = None, *, what: Literal["accuracy", "loss"] = "accuracy"
) -> Axes:
    """Accuracy or loss over epochs, of training and, where it was measured, of validation.

    epochs: the history that `Trainer.fit` returns, or a run's epochs. Raises `UserError` without any.
    """
    if not epochs:
        raise UserError("there are no epochs to draw: train first")
    if what not in ("accuracy", "loss"):
        raise UserError(f"curves are of accuracy or loss, not of '{what}'")
    found, at = _axes(ax), [epoch.epoch for epoch in epochs]
    for part, dash, colour in (("train", "--", COLOURS[1]), ("validation", "-", COLOURS[0])):
        values = _numbers([getattr(epoch, f"{part}_{what}") for epoch in epochs])
        if not np.isnan(values).all():
            found.plot(at, values, dash, color=colour, label=part)
    return _told(_by_epoch(found, what))


def alignment(measured: Alignment | Sequence[Compared], ax: Axes | None = None) -> Axes:
    """The cosine between a rule's update and the exact gradient, per hidden layer; 1 is the exact direction.

    measured: what `nf.alignment` returns, drawn as points with their standard deviation over samples; or a
    run's epochs, drawn as a line per layer. Raises `UserError` for epochs without a measured alignment.
    """
    found = _axes(ax)
    if isinstance(measured, Alignment):
        at = range(1, len(measured.mean) + 1)
        found.errorbar(at, measured.mean, measured.std, fmt="o", color=COLOURS[0], capsize=3)
        found.set(xlabel="hidden layer", xticks=list(at))
    else:
        rows = [(epoch.epoch, epoch.alignment) for epoch in measured if epoch.alignment]
        if not rows:
            raise UserError("no epoch has an alignment: train with training.alignment_samples above 0")
        layers = np.stack([_numbers(row) for _, row in rows], 1)
        for index, (dash, colour) in enumerate(_styles(len(layers))):
            found.plot([at for at, _ in rows], layers[index], dash, color=colour, label=f"layer {index + 1}")
        _told(_by_epoch(found, ""))
    found.axhline(0.0, color="0.4", linewidth=0.8)
    found.set(ylabel="cosine with the exact gradient", ylim=(min(-0.1, found.get_ylim()[0]), 1.05))
    return found


def confusion(
    target: Tensor | Sequence[int],
    predicted: Tensor | Sequence[int],
    ax: Axes | None = None,
    *,
    classes: Sequence[str] = (),
) -> Axes:
    """How often samples of each class, a row, were taken for each class, a column; the diagonal is right.

    target: class numbers `[N]`. predicted: class numbers `[N]`, or scores `[N, k]` as `Trainer.predict` gives
    them. classes: names in place of numbers, such as a data set's `classes`. Every field shows its count and
    is the darker, the larger its share of the row. Raises `UserError` where the two do not fit together.
    """
    true, taken = (np.asarray(torch.as_tensor(values).detach().cpu()) for values in (target, predicted))
    scores = taken.shape[1] if taken.ndim == 2 else 0
    taken = taken.argmax(1) if scores else taken
    if true.ndim != 1 or true.shape != taken.shape or not len(true):
        raise UserError(f"one class and one prediction per sample, got {true.shape} and {taken.shape}")
    count = max(int(true.max()) + 1, int(taken.max()) + 1, scores, len(classes))
    if min(int(true.min()), int(taken.min())) < 0 or (classes and len(classes) < count):
        raise UserError(f"classes are numbers from 0 with a name each, or no names; got {len(classes)} names")
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (true.astype(np.int64), taken.astype(np.int64)), 1)
    found, share = _axes(ax), table / np.maximum(table.sum(1, keepdims=True), 1)
    found.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(table):
        if number:
            colour = "white" if share[row, column] > 0.6 else "black"
            found.text(column, row, str(number), ha="center", va="center", color=colour, fontsize=8)
    names = list(classes) or [str(number) for number in range(count)]
    found.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0)
    found.set_yticks(range(count), names)
    found.set(xlabel="predicted", ylabel="class")
    return found


def energy(ledger: Ledger, ax: Axes | None = None) -> Axes:
    """Energy per sample of inference and of learning, on a logarithmic axis, by published figures.

    Two estimates stand side by side: 45 nm CMOS, with arithmetic and words from a small memory, and Loihi 1,
    which is a simulated lower bound and is left out where the chip could not do it. ledger: of
    `neurofdfa.measure.energy.ledger.ledger`.
    """
    found = _axes(ax)
    entries = {"inference": ledger.inference} | {f"learn, {n}": e for n, e in ledger.learning.items()}
    at = np.arange(len(entries))
    cmos = [1e6 * (entry.cmos["arithmetic"] + entry.cmos["sram"]) for entry in entries.values()]
    loihi = [np.nan if entry.loihi1 is None else 1e6 * entry.loihi1 for entry in entries.values()]
    found.bar(at - 0.2, cmos, 0.38, color=COLOURS[0], label="45 nm CMOS, small memory")
    found.bar(at + 0.2, loihi, 0.38, color=COLOURS[4], hatch="//", label="Loihi 1, lower bound")
    found.set_xticks(at, list(entries))
    found.set(ylabel="µJ per sample", yscale="log")
    return _told(found)


def parity(report: Stages, ax: Axes | None = None) -> Axes:
    """The share of spikes that are equal from one stage to the next, per layer: float, integers, Lava.

    report: of `neurofdfa_hardware.parity`. Raises `UserError` where no stages were compared.
    """
    if not report.comparisons:
        raise UserError("the report compares no stages: hand it a network, its program and spikes")
    found, layers = _axes(ax), list(report.comparisons[0].agreement)
    width = 0.8 / len(layers)
    for index, layer in enumerate(layers):
        at = np.arange(len(report.comparisons)) + (index - (len(layers) - 1) / 2) * width
        shares = [100 * comparison.agreement.get(layer, np.nan) for comparison in report.comparisons]
        found.bar(at, shares, 0.9 * width, color=COLOURS[index % len(COLOURS)], label=layer)
    names = [f"{c.before} →\n{c.after}" for c in report.comparisons]
    found.set_xticks(range(len(names)), names)
    lowest = min(min(c.agreement.values()) for c in report.comparisons)
    found.set(ylabel="equal spikes, %", ylim=(min(99.0, 100 * lowest - 1), 100.2))
    return _told(found)


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only where a figure is wanted: it chooses a window system

    return plt.subplots()[1]


def _of(sample: int, given: Any) -> NDArray[Any]:
    values = as_numbers("what is drawn", given)
    if values.dim() not in (2, 3) or (values.dim() == 3 and not -values.shape[1] <= sample < values.shape[1]):
        raise UserError(f"sample {sample} of [T, n] or [T, B, n] is drawn, got {list(values.shape)}")
    return (values if values.dim() == 2 else values[:, sample]).detach().cpu().numpy()


def _styles(count: int) -> list[tuple[str, str]]:
    """Dash and colour of so many lines: neighbours differ in both."""
    return [(DASHES[index % len(DASHES)], COLOURS[index % len(COLOURS)]) for index in range(count)]


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _by_epoch(ax: Axes, what: str) -> Axes:
    ax.set(xlabel="epoch", ylabel=what)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _told(ax: Axes) -> Axes:
    ax.legend(frameon=False)
    return ax
