"""The small things below the page: numbers in words, ticks, spreading labels, intervals, the picture."""

from __future__ import annotations

import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neurofdfa import report
from neurofdfa.report import words
from neurofdfa.report.plot import marks
from neurofdfa.report.plot.style import Frame, rule_stroke, spread
from tests.report.synthetic import demo_folder, run_folder

finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))


@given(finite, finite)
def test_limits_hold_the_values_with_a_few_ticks(a: float, b: float) -> None:
    low, high, step = marks.nice_limits(min(a, b), max(a, b))
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert low <= min(a, b) + slack
    assert high >= max(a, b) - slack
    assert high > low
    number = math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1
    assert 1 <= number <= 7


@given(st.lists(st.floats(0, 150), min_size=1, max_size=8))
def test_labels_are_apart_and_stay_in_order(wanted: list[float]) -> None:
    placed = spread(wanted, 13.5, 0, 150)
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    gaps = [placed[b] - placed[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 13.5 - 1e-9 for gap in gaps)
    assert max(placed) <= 150 + 1e-9


def test_labels_that_are_apart_already_stay() -> None:
    assert spread([100.0, 20.0, 60.0], 13.5, 0, 150) == [100.0, 20.0, 60.0]


@pytest.mark.parametrize(
    ("share", "samples", "low", "high"),
    # Wilson's interval by hand: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96
    [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775), (1.0, 360, 0.9894, 1.0)],
)
def test_wilson(share: float, samples: int, low: float, high: float) -> None:
    interval = words.wilson(share, samples)
    assert interval == pytest.approx((low, high), abs=1e-4)
    assert words.wilson(share, None) is None
    assert words.wilson(None, samples) is None


def test_numbers_in_words() -> None:
    space = words.SPACE
    assert words.percent(0.97498) == f"97.5{space}%"
    assert words.points(-0.0101) == f"1.0{space}point"
    assert words.seconds(8.06) == f"8.1{space}s"
    assert words.seconds(185) == f"3{space}min 05{space}s"
    assert words.count(1234567) == f"1{space}234{space}567"
    assert words.mebibytes(1443.2) == f"1{space}443{space}MiB"
    assert words.figures(0.000012) == "1.20e-05"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.percent(None) == words.seconds(None) == words.count(None) == words.DASH


def test_marks_lie_where_time_and_neuron_say() -> None:
    frame = Frame(40, 24, 300, 100, (0, 10), (-0.5, 4.5), 352)
    spikes = np.zeros((10, 5), bool)
    spikes[0, 0] = spikes[9, 4] = True
    # Steps are 30 px wide, rows 20 px high, marks 16 px; neuron 0 lies at the bottom.
    assert marks.spike_path(spikes, frame) == "M55.0 106.0v16.0M325.0 26.0v16.0"
    assert marks.line_path(np.array([-0.5, 4.5]), frame) == "M55.0 124.0L85.0 24.0"


def test_shades_tell_spikes_from_analog_input() -> None:
    assert len(marks.shades(np.array([0, 1, 1]))) == 1
    shades = marks.shades(np.array([0.0, 0.2, -0.9, 0.5, 1.0]))
    assert [list(np.flatnonzero(shade)) for shade in shades] == [[1], [3], [], [2, 4]]


def test_rules_by_others_get_colours_of_their_own() -> None:
    rules = ["fdfa", "mine", "yours", "bptt"]
    assert len({rule_stroke(rule, rules).colour for rule in rules}) == 4
    assert rule_stroke("fdfa", ["fdfa"]) == rule_stroke("fdfa", rules)


@pytest.mark.parametrize("make", [demo_folder, run_folder])
def test_the_picture_is_a_png_with_something_on_it(tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = make(tmp_path / "folder")
    image = Image.open(io.BytesIO(report.figure(folder)))
    assert image.format == "PNG"
    assert image.size == (2361, 826)
    pixels = np.asarray(image.convert("RGB")).reshape(image.height, image.width, 3)
    blue = (np.abs(pixels.astype(int) - [0x1B, 0x5F, 0xC1]) < 12).all(-1)
    assert blue.sum() > 500  # the curve of FDFA
    # Nothing is cut at the rim.
    rim = np.concatenate(
        [pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3), pixels[:, -4:].reshape(-1, 3)]
    )
    assert (rim == 255).all()


def test_the_picture_of_a_demo_without_rasters_or_stages(tmp_path: Path) -> None:
    folder = demo_folder(tmp_path / "demo")
    (folder / "timing-fdfa" / "raster.npz").unlink()
    values = json.loads((folder / "demo.json").read_text())
    (folder / "demo.json").write_text(json.dumps({**values, "stages": []}))
    assert report.figure(folder).startswith(b"\x89PNG")
