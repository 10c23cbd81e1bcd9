"""What the page says, for whole, partial, hostile and broken folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from neurofdfa import report
from neurofdfa.errors import UserError
from tests.report.html_check import Page
from tests.report.synthetic import demo_folder, run_folder, write_config, write_raster

SECTIONS = [
    "From float to chip",
    "The rules side by side",
    "Learning curves",
    "Alignment with BPTT",
    "Inside the network",
    "Firing and memory",
    "Lava, spike for spike",
    "How it was made",
]
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>$x_{\"&\x00\ud800🧠"


def read(path: Path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    page.check()
    return page


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_demo_page_has_every_section_with_numbered_captions(demo_page: Path) -> None:
    page = read(demo_page)
    assert [text for tag, text in page.texts if tag == "h2"] == SECTIONS
    captions = [text for tag, text in page.texts if tag == "b"]
    assert [text for text in captions if "Figure" in text] == [f"Figure {k}." for k in range(1, 9)]
    assert [text for text in captions if "Table" in text] == [f"Table {k}." for k in range(1, 7)]
    assert demo_page.stat().st_size < 3_000_000
    assert demo_page.name == "report.html"


def test_the_headline_holds_the_measured_numbers(demo_page: Path) -> None:
    headline = read(demo_page).text("h1").replace("\u2011", "-")
    assert "97.5 % of unseen handwritten digits" in headline
    assert "0.3 points below BPTT" in headline
    assert "in 8-bit integers it reads 97.2 %" in headline
    assert "on Lava every spike is the same" in headline


def test_nothing_outside_the_file_is_named(demo_page: Path) -> None:
    html = demo_page.read_text()
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'\s)]+", html)) <= namespaces
    assert "@import" not in html
    assert "@font-face" not in html


def test_plots_take_their_colours_from_the_page(demo_page: Path) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", demo_page.read_text(), flags=re.DOTALL))
    assert len(plots) > 10_000
    assert not re.findall(r"(?:fill|stroke)[:=]\"?\s*(?:#|rgb|black|white)", plots)
    assert "DejaVu" not in plots


def test_the_same_folder_gives_the_same_bytes(demo_page: Path) -> None:
    before = demo_page.read_bytes()
    report.write(demo_page.parent)
    assert demo_page.read_bytes() == before


def test_a_difference_on_lava_is_said_and_marked(demo: Path) -> None:
    rows = json.loads((demo / "demo.json").read_text())["parity"]
    rows[1]["differences"] = 3
    edit(demo / "demo.json", parity=rows)
    page = read(report.write(demo))
    said = page.text("p")
    assert "differ in 3 places" in said
    assert "layer2.neuron" in said
    assert "Every spike is equal" not in page.text()
    assert "some spikes differ" in page.text("h1")
    assert ("td", {"class": "number bad", "data-value": "3"}) in page.tags


def test_without_lava_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    page = read(report.write(demo_folder(tmp_path / "demo", lava=False, rasters=False)))
    lines = [text for tag, text in page.texts if tag == "p" and "Lava did not run" in text]
    assert len(lines) == 1
    assert "neurofdfa lava setup" in lines[0]
    assert "Every spike" not in page.text()
    assert "Lava every spike" not in page.text("h1")


def test_a_remedy_in_lavas_own_message_is_not_repeated(tmp_path: Path) -> None:
    folder = demo_folder(tmp_path / "demo", lava=False, rasters=False)
    edit(folder / "demo.json", lava={"ok": False, "message": "not set up: run `neurofdfa lava setup`."})
    assert report.write(folder).read_text().count("lava setup") == 1


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        (["stages"], ["From float to chip"]),
        (["parity", "lava", "quantisation"], ["Lava, spike for spike"]),
        (["digits", "timing"], SECTIONS[1:6]),
        (["timing"], []),
        (["command", "versions", "quantisation"], []),
        (
            ["stages", "parity", "lava", "quantisation", "digits", "timing", "command", "versions"],
            SECTIONS,
        ),
    ],
)
def test_missing_parts_of_a_demo_are_left_out(demo: Path, missing: list[str], gone: list[str]) -> None:
    values = json.loads((demo / "demo.json").read_text())
    (demo / "demo.json").write_text(json.dumps({k: v for k, v in values.items() if k not in missing}))
    page = read(report.write(demo))
    assert [text for tag, text in page.texts if tag == "h2"] == [s for s in SECTIONS if s not in gone]
    assert page.text("h1")


def test_a_demo_without_its_run_folders_keeps_its_tables(demo: Path, tmp_path: Path) -> None:
    for row in json.loads((demo / "demo.json").read_text())["digits"]:
        (demo / row["folder"]).rename(tmp_path / row["folder"])
    page = read(report.write(demo))
    assert "95.83 %" in page.text("td")
    assert page.text("h2").count("Learning curves") == 1  # those of the timing task


def test_a_run_page(tmp_path: Path) -> None:
    page = read(report.write(run_folder(tmp_path / "run")))
    assert page.text("h1") == "FDFA reaches 97.50 % test accuracy on digits in 8.1 s."
    titles = [text for tag, text in page.texts if tag == "h2"]
    assert titles == [
        "Learning curves",
        "Which classes are confused",
        "Alignment with BPTT",
        "Inside the network",
        "Firing",
        "How it was made",
    ]
    assert 'encoder = "direct"' in page.text("code")
    assert "neurofdfa train --data digits --rule fdfa" in page.text("span")


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "raster.npz"])
def test_missing_files_of_a_run_are_left_out(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / name).unlink()
    page = read(report.write(folder))
    titles = page.text("h2")
    assert ("Learning curves" in titles) == (name != "metrics.jsonl")
    assert ("Inside the network" in titles) == (name != "raster.npz")
    assert ("not finished, 30 epochs so far" in page.text("h1")) == (name == "summary.json")


def test_a_bare_config_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    write_config(tmp_path, "dkp", "randman")
    page = read(report.write(tmp_path))
    assert page.text("h1") == "DKP on randman: not finished, 0 epochs so far"


def test_an_interrupted_last_line_is_left_out_and_nan_is_a_gap(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines[4] = re.sub(r'"train_loss": [^,]+', '"train_loss": NaN', lines[4])
    lines[5] = re.sub(r'"alignment": [^]]+\]', '"alignment": null', lines[5])
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"epoch": 31, "valid')
    (folder / "summary.json").unlink()
    assert "30 epochs so far" in read(report.write(folder)).text("h1")


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_runs(tmp_path: Path, count: int) -> None:
    folder = run_folder(tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:count]) + "\n")
    read(report.write(folder))


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    folder = hostile_demo(tmp_path / "demo")
    page = read(report.write(folder))
    assert [values for tag, values in page.tags if tag == "img"] == []
    runnable = [values for tag, values in page.tags if tag == "script" and "type" not in values]
    assert len(runnable) == 1
    assert "window.hacked=1" in page.text("td")
    assert "window.hacked=1" in page.text("span")


def hostile_demo(folder: Path) -> Path:
    """Strings that want out of their place, wherever a string can be."""
    demo_folder(folder)
    values = json.loads((folder / "demo.json").read_text())
    values["command"] = HOSTILE
    values["versions"] = {HOSTILE: HOSTILE}
    for task in ("digits", "timing"):
        values[task][0]["rule"] = HOSTILE
    values["stages"][0]["stage"] = HOSTILE
    values["parity"][0]["population"] = HOSTILE
    values["quantisation"][0]["layer"] = HOSTILE
    values["lava"] = {"ok": False, "message": HOSTILE, "seconds": None}
    (folder / "demo.json").write_text(json.dumps(values))
    for task in ("digits", "timing"):
        config = folder / f"{task}-fdfa" / "config.toml"
        quoted = json.dumps(HOSTILE.replace("\ud800", ""), ensure_ascii=False).replace("\\u0000", "\\u0001")
        config.write_text(config.read_text().replace(f'name = "{task}"', f"name = {quoted}"))
    return folder


@pytest.mark.parametrize(
    "shape",
    [
        {"steps": 1, "n_in": 1, "hidden": (1,), "classes": 1, "samples": 1},
        {"steps": 3, "n_in": 5, "hidden": (2, 3, 4, 5), "classes": 2, "samples": 2},
        {"steps": 100, "n_in": 784, "hidden": (1024, 1024), "classes": 20, "samples": 20},
        {"steps": 700, "n_in": 30, "hidden": (40,), "classes": 3, "samples": 15},
    ],
)
def test_rasters_of_any_size_fit(tmp_path: Path, rng: np.random.Generator, shape: dict[str, int]) -> None:
    write_config(tmp_path, "fdfa", "randman")
    write_raster(tmp_path, rng, **shape)
    path = report.write(tmp_path)
    read(path)
    assert path.stat().st_size < 3_000_000


def test_one_sample_without_axis_silent_and_without_membranes(tmp_path: Path) -> None:
    write_config(tmp_path, "fdfa", "randman")
    np.savez(
        tmp_path / "raster.npz",
        input=np.zeros((7, 4), np.uint8),
        layer1=np.zeros((7, 3), np.uint8),
        readout=np.zeros((7, 2), np.float32),
        label=1,
        prediction=0,
    )
    page = read(report.write(tmp_path))
    assert "wrongly read as 0" in page.text("p")
    assert not [tag for tag, _ in page.tags if tag == "select"]


def damage_json(folder: Path) -> None:
    (folder / "demo.json").write_text('{"digits": [')


def damage_types(folder: Path) -> None:
    edit(folder / "demo.json", digits=[{"rule": 3}])


def damage_share(folder: Path) -> None:
    edit(folder / "demo.json", stages=[{"stage": "PyTorch float", "accuracy": 97.5, "samples": 360}])


def damage_config(folder: Path) -> None:
    (folder / "digits-dfa" / "config.toml").write_text("[rule")


def damage_metrics(folder: Path) -> None:
    path = folder / "digits-dfa" / "metrics.jsonl"
    path.write_text("{broken}\n" + path.read_text())


def damage_raster(folder: Path) -> None:
    path = folder / "digits-fdfa" / "raster.npz"
    path.write_bytes(path.read_bytes()[:1000])


def damage_shapes(folder: Path) -> None:
    path = folder / "digits-fdfa" / "raster.npz"
    np.savez(path, input=np.zeros((7, 4)), layer1=np.zeros((6, 4)))


def damage_objects(folder: Path) -> None:
    path = folder / "digits-fdfa" / "raster.npz"
    np.savez(path, input=np.array([[{"a": 1}]], dtype=object))


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_json, damage_types, damage_share, damage_config, damage_metrics),
        *(damage_raster, damage_shapes, damage_objects),
    ],
)
def test_a_damaged_folder_is_refused_and_the_old_report_stays(demo: Path, damage: object) -> None:
    (demo / "report.html").write_text("the old one")
    assert callable(damage)
    damage(demo)
    with pytest.raises(UserError) as caught:
        report.write(demo)
    assert str(demo) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (demo / "report.html").read_text() == "the old one"
    assert not list(demo.glob(".*")) + list(demo.glob("*.tmp"))


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "report.html").mkdir()
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=r"report\.html"):
        report.write(folder)
    assert sorted(folder.iterdir()) == before


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither a run .* nor a demo"):
        report.write(tmp_path)
    with pytest.raises(UserError, match="not a folder"):
        report.figure(tmp_path / "absent")
