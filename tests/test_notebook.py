"""Networks, data sets, trainers and runs show a table in a notebook; nothing in it is taken for markup."""

from xml.etree import ElementTree

import numpy as np
import pytest

import neurofdfa as nf
import neurofdfa_hardware as chip


@pytest.fixture
def data() -> nf.data.Dataset:
    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    labels = np.where(np.arange(40) % 2, "<b>yes</b>", "no")
    return nf.data.Dataset.from_arrays(x, labels, kind="images", name="tiny & small", steps=4)


def texts(shown: object) -> list[str]:
    html: str = shown._repr_html_()  # type: ignore[attr-defined]
    return [text for text in ElementTree.fromstring(html).itertext() if text.strip()]


def test_they_show_themselves(data, tmp_path):
    net = nf.Network(nf.Linear(6, 5), nf.LIF(), nf.Linear(5, 2), nf.I())
    assert "data set tiny & small" in texts(data)
    assert any("<b>yes</b>" in text for text in texts(data))
    assert "network of 6 inputs and 2 outputs, 40 parameters" in texts(net)
    assert "30" in texts(net)
    assert "6-5-2" in texts(nf.Trainer(net, nf.FDFA(), engine="reference"))
    run = nf.fit(net, data, nf.FDFA(), epochs=1, out=tmp_path / "run", engine="reference", progress=False)
    shown = texts(run)
    assert shown[0] == "run"
    assert str(tmp_path / "run") in shown
    assert "test accuracy" in shown
    found = nf.Trainer(run.network, nf.FDFA(), engine="reference").evaluate(data.validation)
    assert texts(found)[:3] == ["evaluation", "accuracy", f"{found.accuracy:.1%}"]


def test_what_a_chip_returns_says_how_much_there_is():
    spikes = np.zeros((4, 3, 5), np.uint8)
    spikes[0, 0, :2] = 1
    record = chip.Record({"layer1": spikes}, np.zeros((4, 3, 2), np.int32), {}, {})
    assert repr(record) == "Record(3 samples, 4 steps, no states: layer1 2 spikes of 5 neurons)"
