"""What later commands found about a run, in its report: energy, parity with its divergence, placements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neurofdfa import report
from neurofdfa.errors import UserError
from neurofdfa.lab.chip import keep_parity, keep_placement, keep_refusal
from neurofdfa.lab.energy import keep, learning_joules
from neurofdfa.measure.energy.ledger import ledger
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.loss import CrossEntropy
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import rule_named
from neurofdfa_hardware.chip.mapping import place
from neurofdfa_hardware.quantization.parity import Comparison, Divergence, ParityReport
from tests.hardware.test_mapping import network as program
from tests.report.browser import Browser
from tests.report.html_check import Page
from tests.report.synthetic import run_folder

DIVERGENCE = Divergence(
    sample=3, step=7, layer="layer2.neuron", neuron=19, spike_before=1, spike_after=0,
    steps=(4, 5, 6, 7, 8), before=(0.2, 0.5, 0.8, 1.004, 0.1), after=(0.2, 0.5, 0.8, 0.998, 1.3),
    threshold_before=1.0, threshold_after=1.0,
)  # fmt: skip


def comparison(before: str, after: str, different: int, first: Divergence | None) -> Comparison:
    layers = {"layer1.neuron": 1.0, "layer2.neuron": 1 - different / 1000}
    return Comparison(before, after, 2000, 2000 - different, layers, 8, 7 if first else 8, 0.1, 1.0, first)


def with_findings(folder: Path) -> Path:
    """A run with an energy ledger, a parity that diverges once, a placement, and a refusal."""
    run_folder(folder)
    net = feed_forward(
        64,
        [128, 128],
        10,
        generator=torch.Generator().manual_seed(0),
        neuron=LIF(reset="soft", decay_bits=None),
    )
    net.initialise(torch.Generator().manual_seed(0), gain=2.0)
    x = (torch.rand(16, 4, 64, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    keep(folder, ledger(net, x, CrossEntropy(), rule_named("fdfa")))
    stages = (
        comparison("float", "quantised", 12, DIVERGENCE),
        comparison("quantised", "integer", 0, None),
        comparison("integer", "lava", 0, None),
    )
    predictions = dict.fromkeys(("float", "quantised", "integer", "lava"), (0, 1, 2, 3, 4, 5, 6, 9))
    keep_parity(folder, ParityReport(stages, predictions), np.arange(8), 8, "neurofdfa parity RUN")
    keep_placement(folder, place(program(784, 1500, 10)), 8, "neurofdfa map RUN")
    keep_refusal(folder, "loihi2", "layer 'l1' does not fit loihi2: too wide", 8, "neurofdfa map RUN")
    return report.write(folder)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_findings(tmp_path_factory.mktemp("findings") / "run")


def test_every_finding_has_its_section(page: Path) -> None:
    read = Page(page.read_text())
    read.check()
    titles = [text for tag, text in read.texts if tag == "h2"]
    assert titles[5:8] == ["Energy and operations", "From float to chip", "On the cores of a chip"]
    said = read.text("p").replace("\u00a0", " ")
    assert "float → quantised: 12 of 2 000 neuron-steps differ, the first at sample 3, step 7" in said
    assert "layer2.neuron, neuron 19, where only float fired" in said
    assert "integer reference → Lava: no divergence. All 2 000 neuron-steps of 8 samples are equal." in said
    assert "Loihi 2, 8-bit weights: layer 'l1' does not fit loihi2: too wide." in said
    cores = len(place(program(784, 1500, 10)).cores)
    assert f"Loihi 1: the network with 8-bit weights takes {cores} of 128 cores." in said
    assert "87.50 %" in read.text("td").replace("\u00a0", " ")
    [divergence] = [
        values for tag, values in read.tags if tag == "svg" and str(values["id"])[:10] == "divergence"
    ]
    assert divergence["aria-label"] == "float → quantised: layer2.neuron, neuron 19, sample 3"


def test_the_energy_shown_is_the_ledgers(page: Path) -> None:
    document = json.loads((page.parent / "energy.json").read_text())
    joules = document["learning"]["fdfa"]["joules"]["cmos_45nm"]
    total = learning_joules(page.parent)
    assert total == joules["arithmetic"] + joules["sram"]
    assert f"{1e6 * total:.3g}\u00a0µJ" in page.read_text()
    cells = Page(page.read_text()).text("td").replace("\u00a0", " ")
    for name, count in document["learning"]["fdfa"]["counts"].items():
        if count:
            assert name.replace("_", " ") in cells
            assert f"{count:,.0f}".replace(",", " ") in cells


def test_integers_that_differ_from_integers_are_marked_as_wrong(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", raster=False)
    stages = (comparison("integer", "lava", 3, DIVERGENCE),)
    keep_parity(
        folder, ParityReport(stages, {"integer": (1,), "lava": (1,)}), None, 4, "neurofdfa parity RUN"
    )
    html = report.write(folder).read_text()
    assert 'class="statement bad">integer reference → Lava: 3 of' in html


def test_a_run_whose_rule_was_never_counted_has_no_energy(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", raster=False)
    assert learning_joules(folder) is None
    assert "Energy and operations" not in report.write(folder).read_text()


def test_the_confusion_matrix_names_what_is_taken_for_what(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", raster=False)
    kept = {"counts": [[5, 0, 2], [0, 7, 0], [1, 0, 6]], "classes": ["up", "<b>", "down"]}
    (folder / "confusion.json").write_text(json.dumps(kept))
    html = report.write(folder).read_text()
    assert "Which classes are confused" in html
    rows = [line for line in html.splitlines() if "2 of 7" in line or "1 of 7" in line]
    assert [[name for name in ("up", "down") if f">{name}<" in row] for row in rows] == [["up", "down"]] * 2
    assert rows[0].index(">up<") < rows[0].index(">down<")
    assert "<b>" not in html.split("Which classes are confused", 2)[2].split("</svg>")[0]
    kept["counts"] = [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    (folder / "confusion.json").write_text(json.dumps(kept))
    assert "No test sample was taken for another class." in report.write(folder).read_text()


@pytest.mark.parametrize(
    "damage", [{"counts": [[1, 2]]}, {"counts": [[1, -2], [0, 1]]}, {"counts": [[1]], "classes": ["a", "b"]}]
)
def test_a_damaged_confusion_matrix_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    folder = run_folder(tmp_path / "run", raster=False)
    (folder / "confusion.json").write_text(json.dumps(damage))
    with pytest.raises(UserError, match=r"confusion.json: .*counts"):
        report.write(folder)


@pytest.mark.parametrize("name", ["energy.json", "parity.json", "mapping-loihi1.json", "confusion.json"])
def test_damaged_findings_are_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path / "run", raster=False)
    (folder / name).write_text("[]")
    with pytest.raises(UserError, match=name):
        report.write(folder)


@pytest.mark.xdist_group("chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_plots_fit_and_their_labels_keep_apart(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width, dark=width == 390)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    labels = browser.run(
        """[...document.querySelectorAll('svg.plot')].map(svg => [...svg.querySelectorAll('text')].map(t => {
            const r = t.getBoundingClientRect();
            return [t.textContent, r.left, r.top, r.right, r.bottom];
        }))"""
    )
    for plot in labels:
        for k, (text, left, top, right, bottom) in enumerate(plot):
            assert left >= 0, text
            assert right <= width, text
            for other, left2, top2, right2, bottom2 in plot[k + 1 :]:
                apart = right <= left2 + 1 or right2 <= left + 1 or bottom <= top2 + 4 or bottom2 <= top + 4
                assert apart, (text, other)
    assert browser.run("document.querySelectorAll('svg[id^=cores]').length") == 1
