"""`Trainer.fit`: epochs, callbacks, schedulers, and loaders of either order."""

import csv
import math

import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import neurofdfa as nf
from neurofdfa.data.dataset import Dataset
from neurofdfa.errors import UserError
from neurofdfa.nn.lif import LIF
from neurofdfa.nn.network import feed_forward
from neurofdfa.rules import DFA, DKP, FDFA
from neurofdfa.train.trainer import Trainer

HOW = pytest.mark.parametrize(
    ("rule", "engine"),
    [(FDFA(), "events"), (FDFA(), "reference"), (nf.BPTT(), "auto")],
    ids=["events", "reference", "bptt"],
)
SAMPLES, STEPS = 20, 7


@pytest.fixture(scope="module")
def data():
    """Two classes that fire on different channels: x [samples, T, n], labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % 2
    chance = torch.full((SAMPLES, STEPS, 6), 0.1)
    chance[labels == 0, :, :3] = 0.9
    chance[labels == 1, :, 3:] = 0.9
    return (torch.rand(chance.shape, generator=generator) < chance).float(), labels


def trainer_of(rule, engine="auto", *, lr=2e-2, make=torch.optim.Adam, **more):
    generator = torch.Generator().manual_seed(0)
    network = feed_forward(6, [8], 2, neuron=LIF(decay_bits=None), generator=generator)
    return Trainer(
        network, rule, make(network.parameters(), lr=lr), engine=engine, generator=generator, **more
    )


def loader(data, batch=8, **more):
    return DataLoader(TensorDataset(*data), batch_size=batch, **more)


def time_major(samples):
    x, labels = zip(*samples, strict=True)
    return torch.stack(x, 1), torch.stack(labels)


@HOW
def test_a_loader_is_learnt_in_either_order(data, rule, engine):
    first = trainer_of(rule, engine, batch_first=True)
    second = trainer_of(rule, engine, batch_first=False)
    found = first.fit(loader(data), loader(data), 5, progress=False)
    other = loader(data, collate_fn=time_major)
    again = second.fit(other, other, 5, progress=False)
    assert [epoch.epoch for epoch in found] == [1, 2, 3, 4, 5]
    assert found[-1].validation_accuracy > 0.9
    assert found[-1].train_loss < found[0].train_loss
    assert all(0 < rate < 1 for epoch in found for rate in epoch.rates)
    assert all(0 <= share < 1 for epoch in found for share in epoch.psi_zero)
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(found, again, strict=True):
        assert (a.train_loss, a.validation_loss, a.rates) == (b.train_loss, b.validation_loss, b.rates)


@HOW
def test_batch_first_is_refused_where_nobody_said_so(data, rule, engine):
    with pytest.raises(UserError, match="batch_first=True"):
        trainer_of(rule, engine).fit(loader(data), progress=False)


def test_measures_are_means_over_samples_not_batches(data):
    """20 samples in batches of 8: the last batch has 4. Without learning, the epoch is the evaluation."""
    still = trainer_of(DFA(), make=torch.optim.SGD, lr=0.0, batch_first=True)
    (found,) = still.fit(loader(data), loader(data), progress=False)
    assert found.train_loss == pytest.approx(found.validation_loss, rel=1e-6)
    assert found.train_accuracy == found.validation_accuracy
    assert found.rates == pytest.approx(still.evaluate(loader(data)).rates, rel=1e-6)


def test_targets_that_are_values_have_no_accuracy(data):
    x, labels = data
    squared = trainer_of(DFA(), batch_first=True, loss=nf.MeanSquaredError())
    values = torch.nn.functional.one_hot(labels, 2).float()
    found = squared.fit(loader((x, values)), loader((x, values)), 2, progress=False)
    assert all(math.isnan(epoch.train_accuracy) for epoch in found)
    assert found[1].train_loss < found[0].train_loss


def test_callbacks_hear_of_every_epoch_and_true_ends(data):
    heard = []

    def own(trainer, epoch):
        heard.append((trainer.epochs, epoch.epoch))
        return epoch.epoch == 3

    class Counting:
        count = 0

        def __call__(self, trainer, epoch):
            self.count += 1
            return 1  # true, but not True: a callback that happens to return something ends nothing

    other, trainer = Counting(), trainer_of(DFA(), batch_first=True)
    found = trainer.fit(loader(data), None, 10, callbacks=[own, other], progress=False)
    assert heard == [(1, 1), (2, 2), (3, 3)]
    assert other.count == len(found) == trainer.epochs == 3
    assert all(epoch.validation_loss is None for epoch in found)
    more = trainer.fit(loader(data), None, 2, progress=False)
    assert [epoch.epoch for epoch in more] == [4, 5]


def test_a_table_and_charts_are_written_beside_each_other(data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = trainer_of(FDFA(), batch_first=True)
    logs = [nf.CSVLog(tmp_path / "log.csv"), nf.TensorBoardLog(tmp_path / "charts")]
    assert list(tmp_path.iterdir()) == []
    found = trainer.fit(loader(data), loader(data), 2, callbacks=logs, progress=False)
    found += trainer.fit(loader(data), loader(data), 1, callbacks=logs, progress=False)
    with open(tmp_path / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    charts = EventAccumulator(str(tmp_path / "charts"))
    charts.Reload()
    losses = charts.Scalars("loss/validation")
    assert [int(row["epoch"]) for row in rows] == [event.step for event in losses] == [1, 2, 3]
    for row, event, epoch in zip(rows, losses, found, strict=True):
        assert float(row["validation_loss"]) == epoch.validation_loss
        assert float(row["rate_layer1"]) == epoch.rates[0]
        assert event.value == pytest.approx(epoch.validation_loss, rel=1e-6)


def test_a_table_without_validation_data_goes_on_where_a_run_was_left(data, tmp_path):
    trainer = trainer_of(DFA(), batch_first=True)
    for _ in range(2):
        trainer.fit(loader(data), None, 1, callbacks=[nf.CSVLog(tmp_path / "log.csv")], progress=False)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]
    fresh = trainer_of(DFA(), batch_first=True)
    fresh.fit(loader(data), None, 1, callbacks=[nf.CSVLog(tmp_path / "log.csv")], progress=False)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2  # another training, another table


@HOW
def test_schedulers_of_torch_act_by_epoch_and_by_batch(data, rule, engine):
    trainer = trainer_of(rule, engine, lr=0.1, batch_first=True)
    halving = lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
    found = trainer.fit(loader(data), None, 3, scheduler=halving, progress=False)
    assert [epoch.learning_rate for epoch in found] == [0.1, 0.05, 0.025]
    trainer = trainer_of(rule, engine, lr=0.1, batch_first=True)
    halving = lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
    found = trainer.fit(loader(data), None, 2, scheduler=halving, schedule="batch", progress=False)
    assert [epoch.learning_rate for epoch in found] == [0.1 / 8, 0.1 / 64]  # 3 batches an epoch
    trainer = trainer_of(rule, engine, lr=0.1, batch_first=True)
    cycle = lr_scheduler.OneCycleLR(trainer.optimizer, max_lr=0.1, total_steps=7)
    trainer.fit(loader(data), None, 2, scheduler=cycle, schedule="batch", progress=False)
    assert trainer.optimizer.param_groups[0]["lr"] < 1e-4


def test_a_plateau_is_of_the_validation_loss_or_else_of_training(data):
    for validation in (loader(data), None):
        trainer = trainer_of(DFA(), make=torch.optim.SGD, lr=0.0, batch_first=True)
        for group in trainer.optimizer.param_groups:
            group["lr"] = 1e-12  # nothing gets better
        waiting = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, factor=0.1, patience=1, min_lr=0, eps=0)
        trainer.fit(loader(data), validation, 4, scheduler=waiting, progress=False)
        assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-13)


@pytest.mark.parametrize("engine", ["events", "reference"])
def test_learnt_feedback_follows_the_schedule_where_its_rule_says_so(data, engine):
    trainer = trainer_of(DKP(), engine, lr=0.1, batch_first=True)
    halving = lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
    trainer.fit(loader(data), None, 3, scheduler=halving, progress=False)
    assert trainer.feedback_optimizer is not None
    assert trainer.feedback_optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("train", "settings", "message"),
    [
        (iter(()), {}, "there is nothing to learn from"),
        (3, {}, "batches come from"),
        ([torch.zeros(2, 3, 6)], {}, r"a batch is \(x, target\)"),
        (None, {"epochs": 0}, "at least 1 epoch"),
        (None, {"schedule": "step"}, "by epoch or by batch"),
    ],
)
def test_what_is_no_data_or_no_plan(data, train, settings, message):
    trainer = trainer_of(DFA(), batch_first=True)
    before = [p.detach().clone() for p in trainer.network.parameters()]
    with pytest.raises(UserError, match=message):
        trainer.fit(loader(data) if train is None else train, progress=False, **settings)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert trainer.epochs == 0


def test_one_split_of_a_data_set_goes_either_way(data):
    """A split hands out time-major batches, and a Trainer that is told batch-first takes it all the same."""
    split = Dataset.from_arrays(*data, name="two").train
    trainers = [trainer_of(DFA(), batch_first=order) for order in (True, False)]
    for trainer in trainers:
        trainer.fit(split, split, 2, batch=6, progress=False)
    for a, b in zip(*(trainer.network.parameters() for trainer in trainers), strict=True):
        assert torch.equal(a, b)
