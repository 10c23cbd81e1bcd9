"""What is drawn is what was given, in axes that were given or in new ones."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import neurofdfa as nf
from neurofdfa.measure.alignment import Alignment
from neurofdfa.measure.energy.ledger import ledger


@pytest.fixture
def ax():
    return Figure().add_subplot()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_raster_has_a_tick_per_spike(ax):
    spikes = torch.zeros(10, 2, 4)
    spikes[3, 1, 2] = spikes[9, 1, 0] = spikes[0, 0, 3] = 1
    assert nf.plot.raster(spikes, ax, sample=1) is ax
    (ticks,) = ax.collections
    assert sorted(map(tuple, ticks.get_offsets().data)) == [(3, 2), (9, 0)]
    assert ax.get_legend() is None
    assert nf.plot.raster(spikes.bool().numpy(), ax, sample=1) is ax
    assert (ax.collections[1].get_offsets().data == ticks.get_offsets().data).all()


def test_layers_are_stacked_in_colours_of_their_own(ax):
    net = nf.Network(nf.Linear(3, 5), nf.LIF(), nf.Linear(5, 4), nf.LIF(), nf.Linear(4, 2), nf.I())
    nf.scale_to_rate(net, torch.ones(6, 2, 3), 0.4)
    spikes = net.run(torch.ones(6, 2, 3)).spikes
    nf.plot.raster(spikes, ax)
    assert legend(ax) == ["layer 1", "layer 2"]
    assert [len(ticks.get_offsets()) for ticks in ax.collections] == [int(s[:, 0].sum()) for s in spikes]
    assert ax.collections[1].get_offsets()[:, 1].min() >= 5
    assert len({to_hex(ticks.get_edgecolor()[0]) for ticks in ax.collections}) == 2


def test_membranes_are_lines_with_their_threshold(ax):
    u = torch.arange(24.0).view(6, 4)
    nf.plot.membranes(u, ax, neurons=[1, 3], threshold=20.0)
    assert legend(ax) == ["neuron 1", "neuron 3", "threshold"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), u[:, 3])
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert len(nf.plot.membranes(torch.zeros(6, 9), Figure().add_subplot()).lines) == 5


def test_curves_of_a_history(ax):
    x, y = torch.rand(4, 8, 3), torch.randint(0, 2, (8,))
    net = nf.Network(nf.Linear(3, 5), nf.LIF(), nf.Linear(5, 2), nf.I())
    trainer = nf.Trainer(net, nf.DFA(), engine="reference")
    history = trainer.fit([(x, y)], [(x, y)], epochs=3, progress=False)
    nf.plot.curves(history, ax, what="loss")
    assert legend(ax) == ["train", "validation"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [e.epoch for e in history])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [e.validation_loss for e in history])
    alone = trainer.fit([(x, y)], epochs=1, progress=False)
    assert legend(nf.plot.curves(alone, Figure().add_subplot())) == ["train"]


def test_alignment_of_a_network_and_of_a_run(ax):
    nf.plot.alignment(Alignment((0.9, 0.4), (0.1, 0.2), (1.0, 1.0), (0, 0)), ax)
    assert list(ax.get_xticks()) == [1, 2]
    assert ax.get_ylim()[1] > 1.0
    epochs = [SimpleNamespace(epoch=n, alignment=[0.1 * n, None]) for n in (1, 2)]
    lines = nf.plot.alignment(epochs, Figure().add_subplot()).lines
    np.testing.assert_allclose(lines[0].get_ydata(), [0.1, 0.2])
    assert np.isnan(lines[1].get_ydata()).all()


def test_a_new_figure_where_no_axes_are_given(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    ax = nf.plot.raster(torch.eye(3))
    assert ax.figure.number in plt.get_fignums()
    plt.close(ax.figure)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: nf.plot.raster(torch.zeros(3)), r"sample 0 of \[T, n\] or \[T, B, n\] is drawn, got \[3\]"),
        (lambda: nf.plot.raster(torch.zeros(3, 2, 4), sample=2), "sample 2 of"),
        (lambda: nf.plot.raster([torch.zeros(3, 2)], names=["a", "b"]), "1 layers of spikes take as many"),
        (lambda: nf.plot.curves([]), "no epochs to draw"),
        (lambda: nf.plot.curves([SimpleNamespace()], what="speed"), "accuracy or loss, not of 'speed'"),
        (lambda: nf.plot.alignment([SimpleNamespace(epoch=1, alignment=None)]), "alignment_samples above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(draw, message):
    with pytest.raises(nf.UserError, match=message):
        draw()


def test_a_confusion_matrix_counts_every_sample(ax):
    target, scores = torch.tensor([0, 0, 1, 2]), torch.eye(3)[[0, 1, 1, 2]]
    assert nf.plot.confusion(target, scores, ax, classes=("no", "yes", "maybe")) is ax
    shown = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}
    assert shown == {(0, 0): "1", (1, 0): "1", (1, 1): "1", (2, 2): "1"}  # (predicted, class)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no", "yes", "maybe"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])


def test_a_confusion_matrix_of_what_does_not_fit_is_refused(ax):
    with pytest.raises(nf.UserError, match="one prediction per sample"):
        nf.plot.confusion([0, 1], [0], ax)
    with pytest.raises(nf.UserError, match="a name each"):
        nf.plot.confusion([0, 2], [0, 1], ax, classes=("no", "yes"))


def test_energy_is_that_of_the_ledger(ax):
    net = nf.Network(nf.Linear(3, 5), nf.LIF(), nf.Linear(5, 2), nf.I())
    x = (torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    found = ledger(net, x, nf.CrossEntropy(), nf.FDFA())
    nf.plot.energy(found, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["inference", "learn, fdfa", "learn, bptt"]
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[0] == pytest.approx(
        1e6 * (found.inference.cmos["arithmetic"] + found.inference.cmos["sram"])
    )
    assert heights[4] == pytest.approx(1e6 * found.learning["fdfa"].loihi1)
    assert np.isnan(heights[5])  # the chip cannot do BPTT


def test_parity_is_a_bar_per_layer_and_stage(ax):
    stages = [
        SimpleNamespace(before="float", after="integers", agreement={"layer1": 0.98, "readout": 1.0}),
        SimpleNamespace(before="integers", after="lava", agreement={"layer1": 1.0, "readout": 1.0}),
    ]
    nf.plot.parity(SimpleNamespace(comparisons=stages), ax)
    assert [bar.get_height() for bar in ax.patches] == [98.0, 100.0, 100.0, 100.0]
    assert legend(ax) == ["layer1", "readout"]
    with pytest.raises(nf.UserError, match="no stages"):
        nf.plot.parity(SimpleNamespace(comparisons=()), ax)
