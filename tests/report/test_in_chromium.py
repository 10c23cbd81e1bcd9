"""The page in a real browser: quiet, offline, readable at every width and in the dark, alive when clicked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from neurofdfa import report
from neurofdfa.report.plot import marks
from neurofdfa.report.plot.style import Frame
from neurofdfa.report.raster import Raster, read_raster
from tests.report.browser import Browser
from tests.report.synthetic import run_folder
from tests.report.test_write import hostile_demo

pytestmark = pytest.mark.xdist_group("chromium")

WIDTHS = [1280, 768, 390, 320]
DIGITS = "#viewer-digits"


def column(browser: Browser, table: int, place: int) -> list[str]:
    rows = f"[...document.querySelectorAll('table')[{table}].tBodies[0].rows]"
    return browser.run(f"{rows}.map(row => row.cells[{place}].innerText)")


def every(selector: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})]"


def paths(browser: Browser, selector: str) -> list[str]:
    return browser.run(f"{every(selector)}.map(path => path.getAttribute('d'))")


def raster_of(page: Path, task: str = "digits") -> Raster:
    raster = read_raster(page.parent / f"{task}-fdfa")
    assert raster is not None
    return raster


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_quiet_offline_and_never_wider_than_the_screen(
    browser: Browser, demo_page: Path, width: int, dark: bool
) -> None:
    browser.open(demo_page, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert browser.requests() == [demo_page.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_of_plots_are_legible_and_never_on_each_other(
    browser: Browser, demo_page: Path, width: int
) -> None:
    browser.open(demo_page, width=width)
    labels = browser.run(
        """[...document.querySelectorAll('svg.plot')].map(svg => [...svg.querySelectorAll('text')].map(t => {
            const r = t.getBoundingClientRect();
            return [t.textContent, r.left, r.top, r.right, r.bottom];
        }))"""
    )
    assert sum(len(plot) for plot in labels) > 100
    for plot in labels:
        for k, (text, left, top, right, bottom) in enumerate(plot):
            assert left >= 0, text
            assert right <= width, text
            # Height of a line of type; on the narrowest phones plots shrink a little.
            assert bottom - top >= (9 if width < 390 else 11), text
            for other, left2, top2, right2, bottom2 in plot[k + 1 :]:
                apart = right <= left2 + 1 or right2 <= left + 1 or bottom <= top2 + 4 or bottom2 <= top + 4
                assert apart, (text, other)


@pytest.mark.parametrize("dark", [False, True])
def test_everything_written_stands_out_from_the_paper(browser: Browser, demo_page: Path, dark: bool) -> None:
    browser.open(demo_page, dark=dark)
    colours = browser.run(
        """(() => {
            const paint = (e, name) => getComputedStyle(e)[name];
            const seen = new Map();
            const html = 'p, h1, h2, h3, td, th button, figcaption, a, dt, dd, summary, label';
            for (const e of document.querySelectorAll(html)) seen.set(paint(e, 'color'), e.outerHTML);
            for (const e of document.querySelectorAll('svg text')) seen.set(paint(e, 'fill'), e.textContent);
            return [[paint(document.body, 'backgroundColor'), ''], ...seen];
        })()"""
    )
    paper = luminance(colours[0][0])
    assert (paper < 0.05) == dark
    assert len(colours) >= 6
    for colour, where in colours[1:]:
        light, deep = sorted([luminance(colour), paper], reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5, (colour, where[:99])


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2.2."""
    channels = np.array([float(c) for c in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_click_on_a_title_sorts_both_ways(browser: Browser, demo_page: Path) -> None:
    browser.open(demo_page)
    assert column(browser, 1, 0) == ["readout only", "DFA", "DKP", "FDFA", "BPTT"]
    browser.click("th button", 3 + 3)  # table 2, training time
    assert (
        browser.run("document.querySelectorAll('table')[1].querySelectorAll('th')[3].ariaSort")
        == "descending"
    )
    times = [float(text.split("\u00a0")[0]) for text in column(browser, 1, 3)]
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]
    browser.click("th button", 3 + 3)
    assert [float(text.split("\u00a0")[0]) for text in column(browser, 1, 3)] == sorted(times)
    browser.click("th button", 3)
    assert column(browser, 1, 0) == ["BPTT", "DFA", "DKP", "FDFA", "readout only"]
    assert browser.run("document.querySelectorAll('table')[1].querySelectorAll('th[aria-sort]').length") == 1
    assert column(browser, 2, 0)[0] == "readout only"  # the other table stays as it was


def test_what_was_not_measured_is_sorted_last(browser: Browser, demo: Path) -> None:
    values = json.loads((demo / "demo.json").read_text())
    for row in (0, 2):
        values["digits"][row]["peak_mib"] = None
    (demo / "demo.json").write_text(json.dumps(values))
    browser.open(report.write(demo))
    for _ in range(2):
        browser.click("th button", 3 + 4)
        assert [text == "–" for text in column(browser, 1, 4)] == [False, False, False, True, True]


def test_another_sample_shows_its_own_spikes(browser: Browser, demo_page: Path) -> None:
    raster = raster_of(demo_page)
    browser.open(demo_page)
    before = paths(browser, f"{DIGITS} path.marks, {DIGITS} path.class, {DIGITS} .trace")
    browser.click(f"{DIGITS} .chips button", 2)
    label, guess = raster.labels[2], raster.predictions[2]
    assert browser.run(f"document.querySelector('{DIGITS} .status').innerText") == (
        f"Test sample 3: digit {label}, wrongly read as {guess}."
    )
    assert browser.run(
        f"[...document.querySelectorAll('{DIGITS} .chips button')].map(b => b.ariaPressed)"
    ) == ["true" if k == 2 else "false" for k in range(6)]
    for layer in raster.layers:
        [drawn] = paths(browser, f"#viewer-digits-{layer.name} path.marks")
        assert drawn == marks.spike_path(layer.spikes[2] > 0, layer_frame(browser, DIGITS, layer.name))
    assert browser.run(
        f"[...document.querySelectorAll('{DIGITS} path.class')].map(p => p.classList.value)"
    ) == [" ".join(["class", *["label"] * (c == label), *["wrong"] * (c == guess)]) for c in range(10)]
    # Drawn by the script or by Python, sample 1 is the same.
    browser.click(f"{DIGITS} .chips button", 0)
    after = paths(browser, f"{DIGITS} path.marks, {DIGITS} path.class, {DIGITS} .trace")
    assert len(before) == len(after)
    for left, right in zip(before, after, strict=True):
        assert numbers(left) == pytest.approx(numbers(right), abs=0.11)
    assert browser.complaints() == []


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


def layer_frame(browser: Browser, viewer: str, name: str) -> Frame:
    data = browser.run(f"document.querySelector('{viewer} script').textContent")
    [part] = [r for r in json.loads(data)["rasters"] if r["svg"].endswith(name)]
    left, top, width, height, x0, x1, y0, y1 = part["frame"]
    return Frame(left, top, width, height, (x0, x1), (y0, y1), left + width)


@pytest.mark.parametrize("width", [1280, 390])
def test_another_neuron_shows_its_own_membrane(browser: Browser, demo_page: Path, width: int) -> None:
    raster = raster_of(demo_page, "timing")
    viewer = "#viewer-timing"
    browser.open(demo_page, width=width)
    [before] = paths(browser, f"{viewer} .trace")
    # A touch on a row of the second layer picks that neuron.
    frame = layer_frame(browser, viewer, "layer2")
    svg_height = browser.run("document.querySelector('#viewer-timing-layer2').viewBox.baseVal.height")
    browser.click("#viewer-timing-layer2", at=(0.5, frame.down(13) / svg_height))
    state = (
        f"[document.querySelector('{viewer} select').value, document.querySelector('{viewer} input').value]"
    )
    assert browser.run(state) == ["1", "13"]
    check_trace(browser, viewer, raster, layer=1, neuron=13)
    [after] = paths(browser, f"{viewer} .trace")
    assert after != before
    assert [bool(d) for d in paths(browser, f"{viewer} .picked")] == [False, False, True]
    # The same by keyboard, out of range on purpose.
    browser.run(
        f"(() => {{ const i = document.querySelector('{viewer} input'); i.value = '999';"
        "i.dispatchEvent(new Event('change')); })()"
    )
    assert browser.run(state) == ["1", "63"]
    check_trace(browser, viewer, raster, layer=1, neuron=63)
    assert browser.complaints() == []


def check_trace(browser: Browser, viewer: str, raster: Raster, *, layer: int, neuron: int) -> None:
    """The drawn line is the recorded membrane: ticks say which pixel is which value."""
    membrane = raster.layers[layer].membrane
    assert membrane is not None
    ticks = every(f"{viewer}-trace .ticks text")
    texts = browser.run(f"{ticks}.map(tick => [tick.textContent, tick.getAttribute('y')])")
    values = [float(text.replace("−", "-")) for text, _ in texts]
    pixels = [float(y) for _, y in texts]
    slope, offset = np.polyfit(pixels, values, 1)
    [line] = paths(browser, f"{viewer} .trace")
    drawn = np.array(numbers(line)[1::2]) * slope + offset
    np.testing.assert_allclose(drawn, membrane[0, :, neuron], atol=0.01 * (max(values) - min(values)))
    [fired] = paths(browser, f"{viewer} .fired")
    spikes = int(raster.layers[layer].spikes[0, :, neuron].sum())
    assert fired.count("M") == spikes
    assert (
        browser.run(f"document.querySelector('{viewer} .firing').innerText")
        == f"fires {spikes} times in 50 steps"
    )


def test_hostile_strings_do_nothing(browser: Browser, tmp_path: Path) -> None:
    page = report.write(hostile_demo(tmp_path / "demo"))
    browser.open(page)
    browser.click("#viewer-timing .chips button", 1)
    browser.click("th button", 0)
    assert browser.run("typeof window.hacked") == "undefined"
    assert browser.run("document.querySelectorAll('main img, main script:not([type])').length") == 0
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def test_the_browser_refuses_any_other_script_and_any_request(browser: Browser, demo: Path) -> None:
    page = report.write(demo)
    html = page.read_text()
    extra = "<script>window.hacked = 1</script><img src='http://192.0.2.1/pixel.png'>"
    page.write_text(html.replace("<main>", f"<main>{extra}"))
    browser.open(page)
    assert browser.run("typeof window.hacked") == "undefined"
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())


def test_paper_is_light_and_shows_what_was_folded(browser: Browser, demo_page: Path) -> None:
    browser.open(demo_page, dark=True)
    browser.call(
        "Emulation.setEmulatedMedia",
        media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    assert luminance(browser.run("getComputedStyle(document.body).backgroundColor")) > 0.95
    assert browser.run("[...document.querySelectorAll('details')].some(d => d.open)") is False
    assert browser.pdf().startswith(b"%PDF")
    assert browser.run("[...document.querySelectorAll('details')].every(d => d.open)") is True


def test_a_run_page_lives_too(browser: Browser, tmp_path: Path) -> None:
    browser.open(report.write(run_folder(tmp_path / "run", data="timing")), width=390, dark=True)
    browser.click("#viewer .chips button", 1)
    assert browser.run("document.querySelector('#viewer .status').innerText").startswith(
        "Test sample 2: class"
    )
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.complaints() == []
