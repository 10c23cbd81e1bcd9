"""Run folders from lists of events, and from samples of unequal lengths."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurofdfa as nf
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.event_lists import EventList, Events
from neurofdfa.data.recordings import EventStore
from neurofdfa.events.trainer import EventEngine
from neurofdfa.lab.deploy import binary_inputs

CLASSES, CHANNELS = 3, 12


def recordings(count: int, seed: int, *, unequal: bool) -> Split:
    """Each class fires on channels of its own, over 10 steps, or over 6 to 14."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    lists: list[EventList] = []
    for label in labels:
        steps = int(draw.integers(6, 15)) if unequal else 10
        x = draw.random((steps, CHANNELS)) < 0.05
        own = slice(4 * label, 4 * label + 4)
        x[:, own] |= draw.random((steps, 4)) < 0.5
        lists.append(EventList.of_dense(x))
    return Split(EventStore.of(lists, CHANNELS).recordings(), torch.as_tensor(labels))


def data_set(*, unequal: bool) -> Dataset:
    train, validation, test = (recordings(30, seed, unequal=unequal) for seed in range(3))
    return Dataset("events", "spikes", CHANNELS, CLASSES, 10, train, validation, SealedSplit(test))


def network() -> nf.Network:
    torch.manual_seed(0)
    return nf.Network(nf.Linear(CHANNELS, 16), nf.LIF(), nf.Linear(16, CLASSES), nf.LI())


def test_lists_reach_the_event_engine_as_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    learn = EventEngine.train

    def spy(engine: EventEngine, x: Any, *others: Any) -> Any:
        if x.shape[2] == CHANNELS:  # not the batch that warms the engine up
            seen.append(type(x))
        return learn(engine, x, *others)

    monkeypatch.setattr(EventEngine, "train", spy)
    run = nf.fit(
        network(), data_set(unequal=False), nf.FDFA(), epochs=8, batch=10, out=tmp_path / "run", rate=0.1,
        schedule="constant", progress=False,
    )  # fmt: skip
    assert set(seen) == {Events}
    assert run.summary is not None
    assert run.summary.test_accuracy > 0.7
    assert run.history[-1].rates[0] > 0


@pytest.mark.parametrize("rule", [nf.DFA(), nf.BPTT()])
def test_every_sample_ends_where_it_ends(tmp_path: Path, rule: nf.Rule) -> None:
    data = data_set(unequal=True)
    net, alone = network(), network()
    run = nf.fit(
        net, data, rule, epochs=1, batch=30, out=tmp_path / "run", alignment_samples=4, progress=False,
        rate_regulariser=nf.RateRegulariser(strength=0.0),
    )  # fmt: skip
    # the same single batch by a trainer of the user's own
    trainer = nf.Trainer(alone, rule, engine="reference", generator=torch.Generator().manual_seed(1))
    order = torch.Generator().manual_seed(2)
    ((x, target, lengths),) = data.train.batches(30, generator=order)
    stats = trainer.step(x, target, lengths)
    assert run.history[0].train_loss == pytest.approx(float(stats.loss), rel=1e-5)
    found = run.evaluate()
    again = [
        float(net.decode(net.run(values.dense(torch.float32)[:, None]).y).argmax(1) == label)
        for values, label in (data.validation[k] for k in range(30))
    ]
    assert found.accuracy == pytest.approx(float(np.mean(again)))
    assert (tmp_path / "run" / "raster.npz").is_file()
    with pytest.raises(nf.UserError, match="lengths of their own"):
        binary_inputs(data, data.validation)
