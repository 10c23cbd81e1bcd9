"""What happened over training: learning curves, alignment, firing rates, dead gradients."""

import math
from collections.abc import Callable, Sequence

from neurofdfa.lab.record import Epoch, RunFolder
from neurofdfa.report.page import Block, Figure, Panel
from neurofdfa.report.plot.curves import NAMED, Series, curves, lower_limit
from neurofdfa.report.plot.style import Stroke, layer_stroke, rule_stroke
from neurofdfa.report.plot.svg import draw
from neurofdfa.report.tasks import Task
from neurofdfa.report.words import SPACE, listed
from neurofdfa.rules import EXACT, rule_title

_ACROSS = "epoch"
_HELD_OUT = Stroke(0, width=2.4)


def rule_series(task: Task) -> list[Series]:
    """Validation accuracy in percent over epochs, one line per rule that kept its metrics."""
    rules = [row.rule for row in task.rows]
    return [
        _series(
            rule_title(row.rule), row.run, lambda e: e.validation_accuracy, rule_stroke(row.rule, rules), 100
        )
        for row in task.rows
        if row.run and any(math.isfinite(e.validation_accuracy) for e in row.run.epochs)
    ]


def accuracy_window(series: Sequence[Series]) -> tuple[float, float]:
    """Limits in percent that show where the curves come apart."""
    low = lower_limit(series, 5)
    return max(0.0, low), 100.0 + (0.6 if low >= 80 else 1.5)


def learning_curves(tasks: Sequence[Task]) -> list[Block]:
    """One panel per task, all rules."""
    panels: list[Panel] = []
    for task in tasks:
        if series := rule_series(task):
            plot = curves(series, across=_ACROSS, up="validation accuracy, %", limits=accuracy_window(series))
            svg = draw(
                plot, key=f"learning-{task.name}", label=f"Learning curves, {task.title}", margins=NAMED
            )
            panels.append(Panel(task.title, svg))
    if not panels:
        return []
    caption = (
        "Accuracy on the validation split after each epoch, one seed. The axis starts where the curves "
        "come apart and leaves out the first steep epochs."
    )
    return [Figure(tuple(panels), caption)]


def validation_series(run: RunFolder) -> Series:
    """Validation accuracy of one run in percent."""
    return _series("validation", run, _validation, _HELD_OUT, 100)


def run_curves(run: RunFolder) -> list[Block]:
    """Accuracy and loss of one run, training beside validation."""
    train, held_out = Stroke(4, (4.0, 2.0)), _HELD_OUT
    accuracy = _known(
        validation_series(run),
        _series("training", run, lambda e: e.train_accuracy, train, 100),
    )
    loss = _known(
        _series("validation", run, lambda e: e.validation_loss, held_out),
        _series("training", run, lambda e: e.train_loss, train),
    )
    panels: list[Panel] = []
    if accuracy and not run.regression:
        plot = curves(accuracy, across=_ACROSS, up="accuracy, %", limits=accuracy_window(accuracy))
        panels.append(Panel("Accuracy", draw(plot, key="run-accuracy", label="Accuracy", margins=NAMED)))
    if loss:
        top = max(y for s in loss for y in s.y if y is not None)
        low = min(0.0, *(y for s in loss for y in s.y if y is not None))
        plot = curves(loss, across=_ACROSS, up="loss", limits=(low, max(1.05 * top, low + 1e-9)))
        panels.append(Panel("Loss", draw(plot, key="run-loss", label="Loss", margins=NAMED)))
    caption = "Loss after each epoch." if run.regression else "Accuracy and loss after each epoch."
    return [Figure(tuple(panels), caption)] if panels else []


def alignment(runs: Sequence[tuple[str, RunFolder]]) -> list[Block]:
    """Angle between a rule's update and the exact one, per hidden layer; one panel per titled run."""
    panels: list[Panel] = []
    for place, (title, run) in enumerate(runs):
        series = _angles(run)
        if series:
            top = 180.0 if max(_finite(s.high) for s in series) > 118 else 120.0
            ticks = (0, 45, 90, 135, 180) if top == 180 else (0, 30, 60, 90, 120)
            plot = curves(
                series,
                across=_ACROSS,
                up=f"angle to {EXACT.title}, degrees",
                limits=(0, top),
                rule_at=90,
                ticks=ticks,
            )
            svg = draw(plot, key=f"alignment-{place}", label=f"Alignment, {title}", margins=NAMED)
            panels.append(Panel(title, svg))
    if not panels:
        return []
    caption = (
        f"Angle between the rule's weight update and that of {EXACT.title} at the same weights, mean over "
        "samples; the band is one standard deviation of the cosine. At 90° (dotted) an update says "
        "nothing about the gradient, at 0° it points the same way."
    )
    return [Figure(tuple(panels), caption)]


def layer_activity(run: RunFolder) -> list[Block]:
    """Firing rate and share of dead pseudo-derivatives of one run, per hidden layer."""
    panels = _layer_panels(
        [("Firing rate", run)], "rates", lambda e: e.rates, "spikes per neuron and step, %"
    )
    caption = "How often a neuron fires, mean over each hidden layer."
    dead = _layer_panels(
        [("Dead pseudo-derivatives", run)], "psi", lambda e: e.psi_zero, "pseudo-derivatives at zero, %"
    )
    if dead:
        caption += (
            " Where the surrogate derivative is zero a weight cannot learn, whatever the learning signal: "
            "the share of such neurons and steps."
        )
    return [Figure((*panels, *dead), caption)] if panels or dead else []


def firing_rates(runs: Sequence[tuple[str, RunFolder]]) -> list[Block]:
    """Firing rate per hidden layer over training; one panel per titled run."""
    panels = _layer_panels(runs, "rates", lambda e: e.rates, "spikes per neuron and step, %")
    caption = "How often a neuron fires, in percent of the time steps, mean over each hidden layer."
    return [Figure(tuple(panels), caption)] if panels else []


def last_angles(run: RunFolder) -> str:
    """The angles at the end of training, "69° in layer 1 and 46° in layer 2"; empty without a measurement."""
    ends = [(s.name, s.last) for s in _angles(run)]
    return listed([f"{last[1]:.0f}° in {name}" for name, last in ends if last is not None])


def _layer_panels(
    runs: Sequence[tuple[str, RunFolder]], key: str, pick: Callable[[Epoch], Sequence[float]], up: str
) -> list[Panel]:
    panels: list[Panel] = []
    for place, (title, run) in enumerate(runs):
        series = _layers(run, pick, 100)
        if series:
            top = max(_finite(s.y) for s in series)
            plot = curves(series, across=_ACROSS, up=up, limits=(0, max(1.15 * top, 1.0)))
            svg = draw(plot, key=f"{key}-{place}", label=f"{up}, {title}", margins=NAMED)
            panels.append(Panel(title, svg))
    return panels


def _angles(run: RunFolder) -> list[Series]:
    means, spreads = _layers(run, lambda e: e.alignment or ()), _layers(run, lambda e: e.alignment_std or ())
    band = {s.name: s for s in spreads}
    series: list[Series] = []
    for s in means:
        # A measurement every few epochs leaves gaps, which the line crosses.
        known = [(k, x, y) for k, (x, y) in enumerate(zip(s.x, s.y, strict=True)) if y is not None]
        std = band[s.name].y if s.name in band else (None,) * len(s.y)
        widths = [std[k] or 0.0 for k, _, _ in known]
        series.append(
            Series(
                s.name,
                tuple(x for _, x, _ in known),
                tuple(_degrees(y) for _, _, y in known),
                s.stroke,
                tuple(_degrees(y + w) for (_, _, y), w in zip(known, widths, strict=True)),
                tuple(_degrees(y - w) for (_, _, y), w in zip(known, widths, strict=True)),
            )
        )
    return series


def _degrees(cosine: float) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _layers(run: RunFolder, pick: Callable[[Epoch], Sequence[float]], factor: float = 1.0) -> list[Series]:
    depth = max((len(pick(e)) for e in run.epochs), default=0)
    return _known(
        *(
            _series(f"layer{SPACE}{k + 1}", run, lambda e, k=k: _nth(pick(e), k), layer_stroke(k), factor)
            for k in range(depth)
        )
    )


def _validation(epoch: Epoch) -> float:
    return epoch.validation_accuracy


def _nth(values: Sequence[float], k: int) -> float | None:
    return values[k] if k < len(values) else None


def _series(
    name: str, run: RunFolder, pick: Callable[[Epoch], float | None], stroke: Stroke, factor: float = 1.0
) -> Series:
    values = [pick(e) for e in run.epochs]
    scaled = tuple(None if v is None or not math.isfinite(v) else factor * v for v in values)
    return Series(name, tuple(e.epoch for e in run.epochs), scaled, stroke)


def _known(*series: Series) -> list[Series]:
    return [s for s in series if s.last is not None]


def _finite(values: Sequence[float | None]) -> float:
    return max((v for v in values if v is not None), default=0.0)
