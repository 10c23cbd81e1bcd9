"""The raster viewer of a run: panels for sample 0, and the data from which the script draws the others.

Data (JSON): steps, samples, layers, rasters = [{svg, frame, n, spikes: one packed bit array [S, T, n] per
shade}], readout = {svg, frame, k, values}, trace = {svg, frame, membranes: [{raster, n, scale, values}]}.
Bit arrays are little-endian bits, values int16 × scale, both in base64. Frames are (left, top, width, height,
x0, x1, y0, y1) in CSS pixels.
"""

import base64
import io
import math

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing
from PIL import Image

from neurofdfa.report.page import Panel, Viewer
from neurofdfa.report.plot import marks
from neurofdfa.report.plot.style import STAND_IN, Draw, Frame, Margins, frame_of, panel
from neurofdfa.report.plot.svg import to_svg
from neurofdfa.report.raster import Array, Layer, Raster

_DIGITS = ("digits", "mnist")
_IMAGES = (*_DIGITS, "emnist", "fashion-mnist", "kmnist", "idx")
_RASTER = Margins(left=40, right=22)
_MOST_ROWS = 800
_MOST_STEPS = 500
_MOST_SAMPLES = 12
_MOST_VALUES = 250_000  # membranes and readouts, so that two viewers stay well below the page's 3 MB


def viewer(raster: Raster, *, key: str, title: str, v_threshold: float | None, data_name: str) -> Viewer:
    """Build the viewer of a run on the data set `data_name`; images are shown beside their class."""
    images = data_name in _IMAGES
    unit = "digit" if data_name in _DIGITS else "class"
    steps, samples = min(raster.steps, _MOST_STEPS), _samples(raster)
    parts = _Parts(key, steps, samples)
    rasters = [parts.raster("Input", raster.inputs)]
    rasters += [parts.raster(layer.name.replace("layer", "Layer "), layer.spikes) for layer in raster.layers]
    panels = [part[0] for part in rasters]
    data: dict[str, object] = {"steps": steps, "rasters": [part[1] for part in rasters]}
    if raster.readout is not None:
        shown, data["readout"] = parts.readout(raster.readout, raster.labels[0], raster.predictions[0])
        panels.insert(1, shown)
    watched = [(k + 1, layer) for k, layer in enumerate(raster.layers) if layer.membrane is not None]
    trace, neuron, firing = None, 0, ""
    if watched:
        fired = watched[0][1].spikes[0].astype(float).sum(0)[:_MOST_ROWS]
        neuron = int(fired.argmax())
        times = int((watched[0][1].spikes[0, :steps, neuron] > 0).sum())
        firing = f"fires {times} times in {steps} steps"
        trace, data["trace"] = parts.trace(watched, neuron, v_threshold)
        data["picked"] = [0, neuron]
    names = tuple(
        _sample_name(label, guess)
        for label, guess in zip(raster.labels[:samples], raster.predictions, strict=False)
    )
    data["status"] = [
        _status(k, label, guess, unit)
        for k, (label, guess) in enumerate(zip(raster.labels[:samples], raster.predictions, strict=False))
    ]
    data["classes"] = [
        list(pair) for pair in zip(raster.labels[:samples], raster.predictions[:samples], strict=True)
    ]
    return Viewer(
        key=key,
        title=title,
        samples=names,
        pictures=_pictures(raster.inputs[:samples]) if images else (),
        status=str(data["status"][0]),  # type: ignore[index]
        panels=tuple(panels),
        layers=tuple((layer.name.replace("layer", "layer "), _rows(layer.spikes)) for _, layer in watched),
        layer=0,
        neuron=neuron,
        firing=firing,
        trace=trace,
        data=data,
        caption=_caption(raster, steps, v_threshold is not None and trace is not None),
    )


class _Parts:
    """Panels with what lies on them, in the frame they share."""

    def __init__(self, key: str, steps: int, samples: int) -> None:
        self.key, self.steps, self.samples = key, steps, samples

    def raster(self, name: str, values: Array) -> tuple[Panel, dict[str, object]]:
        shown = values[: self.samples, : self.steps, : _rows(values)]
        n, key = shown.shape[2], f"{self.key}-{name.lower().replace(' ', '')}"
        shades = marks.shades(shown)
        up = "channel" if name == "Input" else "neuron"
        svg, frame = _plot(marks.empty(self.steps, (-0.5, n - 0.5), up=up), 200)
        wide = marks.mark_width(frame, cells=len(shades) > 1)
        overlay = [
            Markup('<path class="marks" stroke-width="{}" stroke-opacity="{}" d="{}"/>').format(
                wide, f"{(k + 1) / len(shades):.2f}", marks.spike_path(shade[0], frame)
            )
            for k, shade in enumerate(shades)
        ]
        overlay.append(Markup('<path class="picked" d=""/>'))
        title = f"{name}: {values.shape[2]} {up}s"
        if n < values.shape[2]:
            title += f", the first {n} shown"
        part: dict[str, object] = {
            "svg": key,
            "frame": _numbers(frame),
            "n": n,
            "spikes": [_bits(shade) for shade in shades],
        }
        return Panel(title, to_svg(svg, key=key, label=f"Spike raster, {title}", overlay=overlay)), part

    def readout(self, values: Array, label: int, guess: int) -> tuple[Panel, dict[str, object]]:
        shown, key = values[: self.samples, : self.steps], f"{self.key}-readout"
        low, high, step = marks.nice_limits(float(shown.min()), float(shown.max()))
        svg, frame = _plot(
            marks.empty(self.steps, (low, high), up="membrane of the readout", row_ticks=False), 200
        )
        overlay = [marks.ticks(frame, step)]
        overlay += [
            Markup('<path class="{}" d="{}"/>').format(
                " ".join(["class", *["label"] * (c == label), *["wrong"] * (c == guess != label)]),
                marks.line_path(shown[0, :, c], frame),
            )
            for c in range(shown.shape[2])
        ]
        coded, scale = _int16(shown)
        part: dict[str, object] = {
            "svg": key,
            "frame": _numbers(frame),
            "k": shown.shape[2],
            "scale": scale,
            "values": coded,
        }
        title = f"Readout: {shown.shape[2]} classes"
        return Panel(title, to_svg(svg, key=key, label=title, overlay=overlay)), part

    def trace(
        self, watched: list[tuple[int, Layer]], neuron: int, v_threshold: float | None
    ) -> tuple[Panel, dict[str, object]]:
        key = f"{self.key}-trace"
        first = np.asarray(watched[0][1].membrane)[0, : self.steps, neuron]
        reach = [float(first.min()), float(first.max()), 0.0, *([v_threshold] if v_threshold else [])]
        low, high, step = marks.nice_limits(min(reach), max(reach))
        svg, frame = _plot(marks.empty(self.steps, (low, high), up="membrane", row_ticks=False), 190)
        spikes = watched[0][1].spikes[0, : self.steps, neuron] > 0
        level = (
            ""
            if v_threshold is None
            else f"M{frame.left:.1f} {frame.down(v_threshold):.1f}h{frame.width:.1f}"
        )
        overlay = [
            marks.ticks(frame, step),
            Markup('<path class="threshold" d="{}"/>').format(level),
            Markup('<path class="trace" d="{}"/>').format(marks.line_path(first, frame)),
            Markup('<path class="fired" d="{}"/>').format(
                "".join(
                    f"M{frame.across(t + 0.5):.1f} {frame.top - 4:.1f}v8.0" for t in np.flatnonzero(spikes)
                )
            ),
        ]
        membranes: list[dict[str, object]] = []
        for place, layer in watched:
            values = np.asarray(layer.membrane)[: self.samples, : self.steps, : _rows(layer.spikes)]
            coded, scale = _int16(values)
            membranes.append({"raster": place, "n": values.shape[2], "scale": scale, "values": coded})
        part: dict[str, object] = {
            "svg": key,
            "frame": _numbers(frame),
            "threshold": v_threshold,
            "membranes": membranes,
        }
        label = "Membrane of the chosen neuron over time"
        return Panel("", to_svg(svg, key=key, label=label, overlay=overlay)), part


def _plot(draw: Draw, height: float) -> tuple[Drawing, Frame]:
    figure, axes = panel(height, _RASTER)
    draw(axes, STAND_IN)
    return figure, frame_of(axes)


def _samples(raster: Raster) -> int:
    per_sample = min(raster.steps, _MOST_STEPS) * sum(
        _rows(layer.spikes) for layer in raster.layers if layer.membrane is not None
    )
    return max(1, min(raster.samples, _MOST_SAMPLES, _MOST_VALUES // max(1, per_sample)))


def _rows(values: Array) -> int:
    return min(int(values.shape[2]), _MOST_ROWS)


def _pictures(inputs: Array) -> tuple[str, ...]:
    """Square images as PNG in base64, opaque where the input is large on average over time."""
    side = math.isqrt(inputs.shape[2])
    if side * side != inputs.shape[2]:
        return ()
    means = np.abs(inputs.astype(float).mean(1)).reshape(-1, side, side)
    return tuple(_png(image / (image.max() or 1.0)) for image in means)


def _png(opacity: Array) -> str:
    black = Image.new("L", opacity.shape[::-1])
    black.putalpha(Image.fromarray(np.rint(255 * opacity).astype(np.uint8)))
    buffer = io.BytesIO()
    black.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _numbers(frame: Frame) -> list[float]:
    return [round(v, 3) for v in (frame.left, frame.top, frame.width, frame.height, *frame.x, *frame.y)]


def _bits(values: Array) -> str:
    return base64.b64encode(np.packbits(values.reshape(-1), bitorder="little").tobytes()).decode()


def _int16(values: Array) -> tuple[str, float]:
    scale = float(np.abs(values).max()) / 32767 or 1.0
    return base64.b64encode(np.rint(values / scale).astype("<i2").tobytes()).decode(), scale


def _sample_name(label: int, guess: int) -> str:
    if label < 0:
        return "sample"
    return f"{label}" if guess in (label, -1) else f"{label} → {guess}"


def _status(place: int, label: int, guess: int, unit: str) -> str:
    if label < 0:
        return f"Test sample {place + 1}."
    if guess < 0:
        return f"Test sample {place + 1}: {unit} {label}."
    verdict = f"rightly read as {guess}" if guess == label else f"wrongly read as {guess}"
    return f"Test sample {place + 1}: {unit} {label}, {verdict}."


def _caption(raster: Raster, steps: int, threshold: bool) -> str:
    parts = ["Each mark is one spike; time runs to the right, one row is one neuron."]
    if len(marks.shades(raster.inputs)) > 1:
        parts.append("The input is an analog current: the stronger the mark, the larger.")
    if raster.readout is not None:
        parts.append(
            "The readout shows one line per class, the right one in blue; where the network errs, "
            "the class it chose in red."
        )
    if any(layer.membrane is not None for layer in raster.layers):
        parts.append("The last plot follows the membrane of one neuron, its spikes as marks on top.")
    if threshold:
        parts.append("The dashed line is the firing threshold.")
    if steps < raster.steps:
        parts.append(f"The first {steps} of {raster.steps} steps are shown.")
    return " ".join(parts)
