"""Live charts: what TensorBoard itself reads back is what the run's own file says."""

from pathlib import Path
from typing import Any

import pytest
import torch

import neurofdfa as nf
from neurofdfa.cli import run
from neurofdfa.lab.record import Epoch, read_epochs


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_every_epoch_of_a_run_is_an_event(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    line = (
        "train --hidden 12 9 --steps 4 --epochs 2 --batch 256 --encoder poisson --quiet --tensorboard "
        f"--set training.alignment_samples=4 --out {tmp_path / 'r'}"
    )
    assert run(line.split()) == 0
    found = scalars(tmp_path / "r" / "tensorboard")
    epochs = read_epochs(tmp_path / "r")
    assert [step for step, _ in found["accuracy/validation"]] == [1, 2]
    for (_, accuracy), (_, rate), (_, aligned), epoch in zip(
        found["accuracy/validation"], found["rate/layer2"], found["alignment/layer1"], epochs, strict=True
    ):
        assert accuracy == pytest.approx(epoch.validation_accuracy, rel=1e-6)
        assert rate == pytest.approx(epoch.rates[1], rel=1e-6)
        assert epoch.alignment is not None
        assert aligned == pytest.approx(epoch.alignment[0], rel=1e-5)
    assert set(found) == {
        *(f"{measure}/{of}" for measure in ("loss", "accuracy") for of in ("train", "validation")),
        *(f"{measure}/layer{index}" for measure in ("rate", "dead", "alignment") for index in (1, 2)),
        "learning_rate",
        "seconds",
    }


def test_a_resumed_run_goes_on_in_the_same_charts(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    network = nf.Network(nf.Linear(3, 4), nf.LIF(), nf.Linear(4, 2), nf.LI())
    trainer = nf.Trainer(network, nf.DFA(), torch.optim.SGD(network.parameters(), lr=0.1))
    for epochs in ((1, 2, 3), (3, 4)):  # the third epoch was not kept when the run was interrupted
        log = nf.TensorBoardLog(tmp_path / "charts")
        for k in epochs:
            kept = Epoch(
                epoch=k, seconds=1.0, train_loss=2.0, train_accuracy=0.5, validation_loss=float("nan"),
                validation_accuracy=0.1 * k, rates=[0.1], psi_zero=[0.0],
            )  # fmt: skip
            log(trainer, kept.stats(learning_rate=0.1))
    found = scalars(tmp_path / "charts")["accuracy/validation"]
    assert [step for step, _ in found] == [1, 2, 3, 4]
