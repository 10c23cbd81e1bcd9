"""A network, samples and a rule of the user's own: a run folder, and everything works on it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import neurofdfa as nf
from neurofdfa.cli import run as command
from neurofdfa.data.dataset import Dataset, SealedSplit, Split
from neurofdfa.data.encode import encoder_named
from neurofdfa.io import read_tensors, write_tensors
from neurofdfa.lab.config import load_config
from neurofdfa.lab.describe import describe_rule
from neurofdfa.lab.kept_data import describe_data
from neurofdfa.nn.layer_spec import describe
from neurofdfa.nn.network import feed_forward


def samples(steps: int = 6, name: str = "stripes") -> Dataset:
    """Images of 6 x 6 with a bright row (class 0) or column (class 1)."""
    rng = np.random.default_rng(5)
    images, labels = rng.random((96, 6, 6)).astype(np.float32) * 0.2, np.arange(96) % 2
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(6)
        (image if label == 0 else image.T)[place] = 1.0

    def part(start: int, stop: int) -> Split:
        flat = torch.tensor(images[start:stop].reshape(-1, 36))
        return Split(flat, torch.tensor(labels[start:stop]))

    return Dataset(
        name=name, kind="static", n_in=36, n_out=2, steps=steps, train=part(0, 48), validation=part(48, 72),
        sealed_test=SealedSplit(part(72, 96)), encode=encoder_named("poisson"), shape=(1, 6, 6),
    )  # fmt: skip


def own_network() -> nf.Network:
    return nf.Network(
        nf.Conv2d(1, 3, 3, padding=1), nf.LIF(tau_mem=5e-3), nf.SumPool2d(2), nf.Flatten(),
        nf.Linear(27, 8, bias=True), nf.CubaLIF(surrogate=nf.Triangular()), nf.Linear(8, 2), nf.LI(),
        input_shape=(1, 6, 6),
    )  # fmt: skip


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_network_of_the_users_own_becomes_a_folder_that_every_command_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, folder = own_network(), str(tmp_path / "mine")
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3, betas=(0.8, 0.99))
    rule = nf.DFA(trace=nf.PerSynapse())
    run = nf.fit(
        net,
        samples(),
        rule,
        epochs=2,
        optimizer=optimizer,
        out=folder,
        rate=0.1,
        engine="reference",
        progress=False,
    )
    assert len(run.history) == len(run.epochs) == 2
    assert run.summary is not None
    assert "36-108-8-2 with dfa on stripes, 48/24/24 samples, 2 epochs, test" in repr(run)
    back = nf.load(folder)
    assert same_weights(back.network, net)
    assert back.rule == rule
    assert back.evaluate() == run.evaluate()
    assert back.evaluate().accuracy == run.summary.validation_accuracy
    capsys.readouterr()
    results: dict[str, dict[str, object]] = {}
    for words in (
        ["evaluate", folder, "--backend", "fixed-point"],
        ["evaluate", folder, "--backend", "torch"],
        ["parity", folder, "--limit", "4"],
        ["energy", folder],
        ["audit", folder, "--samples", "2", "--steps", "3"],
        ["map", folder, "--chip", "loihi1"],
        ["export", folder, "--to", "nir", "--out", str(tmp_path / "net.nir")],
        ["report", folder],
    ):
        assert command([*words, "--json", "--quiet"]) == 0, words
        results[" ".join(words[:1] + words[2:4])] = last_line(capsys)
    assert results["evaluate --backend torch"]["accuracy"] == run.summary.test_accuracy
    assert results["evaluate --backend fixed-point"]["samples"] == 24
    assert results["audit --samples 2"]["local"] is True
    assert "stripes" in (tmp_path / "mine" / "report.html").read_text()


def test_a_finished_run_goes_on_alike_in_memory_from_its_folder_and_by_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("memory", "folder", "command")]
    nets = [nf.Network(nf.Linear(36, 8), nf.LIF(), nf.Linear(8, 2), nf.LI()) for _ in folders]
    runs = [
        nf.fit(net, samples(), nf.FDFA(), epochs=1, out=folder, rate=0.1, engine="reference", progress=False)
        for net, folder in zip(nets, folders, strict=True)
    ]
    runs[0].fit(epochs=2, progress=False)
    again = nf.load(folders[1]).fit(epochs=2, progress=False)
    assert command(["train", "--out", str(folders[2]), "--resume", "--epochs", "3", "--quiet"]) == 0
    by_command = nf.load(folders[2])
    for other in (again, by_command):
        assert same_weights(runs[0].network, other.network)
        assert [e.train_loss for e in other.epochs] == [e.train_loss for e in runs[0].epochs]
        assert other.summary is not None
        assert other.summary.test_openings == 2
    assert load_config(folders[2] / "config.toml").training.extended == (1,)
    assert command(["train", "--out", str(folders[2]), "--resume", "--quiet"]) == 2
    assert "finished run of 3 epochs: nothing to resume; --epochs 6 would go on" in capsys.readouterr().err


def test_a_training_that_diverges_fails_and_keeps_what_was_good(tmp_path: Path) -> None:
    net = nf.Network(nf.Linear(36, 8), nf.LIF(), nf.Linear(8, 2), nf.LI())

    def break_it(trainer: nf.Trainer, epoch: object) -> None:
        trainer.network.readout.synapse.weight.data[0, 0] = float("nan")

    where = "diverged in epoch 2: the gradient of hidden layer 1 is NaN or infinite"
    with pytest.raises(nf.Diverged, match=where):
        nf.fit(
            net,
            samples(),
            nf.DFA(),
            epochs=3,
            out=tmp_path / "r",
            callbacks=[break_it],
            engine="reference",
            progress=False,
        )
    assert not (tmp_path / "r" / "summary.json").exists()
    assert "diverged in epoch 2" in (tmp_path / "r" / "failure.txt").read_text()
    kept = nf.load(tmp_path / "r")
    assert "not finished" in repr(kept)
    assert same_weights(kept.network, net)  # its one good epoch, in memory too
    assert "failed after 1 epoch" in kept.report().read_text()
    assert kept.fit(progress=False).summary is not None


def regression(broken: int | slice) -> Dataset:
    """Spikes and values to fit; some training targets are too large for a float32's square."""
    draw = np.random.default_rng(3)
    targets = draw.normal(size=(60, 6, 2)).astype(np.float32)
    targets[broken] = 3e38
    spikes = torch.tensor(draw.random((60, 6, 5)) < 0.4).float()

    def part(start: int, stop: int) -> Split:
        return Split(spikes[start:stop], torch.tensor(targets[start:stop]))

    return Dataset(
        name="values", kind="sequence", n_in=5, n_out=2, steps=6, train=part(0, 40), validation=part(40, 50),
        sealed_test=SealedSplit(part(50, 60)),
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["events", "reference"])
def test_a_batch_whose_numbers_are_not_finite_may_be_left_out(tmp_path: Path, engine: Any) -> None:
    def learn(folder: Path, **more: object) -> nf.Run:
        torch.manual_seed(2)
        net = nf.Network(nf.Linear(5, 6), nf.LIF(), nf.Linear(6, 2), nf.LI())
        return nf.fit(
            net, regression(broken=4), nf.DFA(), loss=nf.MeanSquaredError(), epochs=2, batch=8, out=folder,
            engine=engine, progress=False, **more,
        )  # fmt: skip

    with pytest.raises(nf.Diverged, match="in epoch 1: the loss at the readout is inf"):
        learn(tmp_path / "stop")
    run = learn(tmp_path / "skip", diverged="skip")
    assert [epoch.skipped for epoch in run.epochs] == [1, 1]
    assert all(np.isfinite(epoch.train_loss) for epoch in run.epochs)
    assert nf.load(run.folder).config.training.diverged == "skip"


def test_where_no_batch_is_left_the_training_fails(tmp_path: Path) -> None:
    data = regression(broken=slice(0, 40))
    net = nf.Network(nf.Linear(5, 6), nf.LIF(), nf.Linear(6, 2), nf.LI())
    with pytest.raises(nf.Diverged, match=r"none of the \d+ batches could be learnt from: the loss"):
        nf.fit(
            net, data, nf.DFA(), loss=nf.MeanSquaredError(), out=tmp_path / "r", diverged="skip",
            progress=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Fragile(nf.CrossEntropy):
    """Overflows while the optimizer's learning rate is above a limit."""

    optimizer: torch.optim.Optimizer | None = None
    limit: float = 1.0

    def value(self, y: Tensor, target: Tensor) -> Tensor:
        assert self.optimizer is not None
        broken = self.optimizer.param_groups[0]["lr"] > self.limit
        return super().value(y, target) * (float("inf") if broken else 1.0)


def test_an_epoch_is_learnt_again_with_half_the_learning_rate(tmp_path: Path) -> None:
    def learn(folder: Path, lr: float, limit: float, **more: object) -> nf.Run:
        torch.manual_seed(2)
        net = nf.Network(nf.Linear(36, 8), nf.LIF(), nf.Linear(8, 2), nf.LI())
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        return nf.fit(
            net, samples(), nf.DFA(), loss=Fragile(optimizer=optimizer, limit=limit), optimizer=optimizer,
            epochs=3, out=folder, engine="reference", schedule="constant", progress=False, **more,
        )  # fmt: skip

    halved = learn(tmp_path / "halved", 0.4, 0.11, diverged="halve")
    assert [epoch.halved for epoch in halved.epochs] == [2, 0, 0]
    whole = learn(tmp_path / "whole", 0.1, 1.0)
    assert same_weights(halved.network, whole.network)  # as if it had been asked for
    with pytest.raises(nf.Diverged, match="in epoch 1"):
        learn(tmp_path / "never", 0.4, 0.001, diverged="halve")


def test_a_run_that_was_killed_before_its_first_state_begins_anew(tmp_path: Path) -> None:
    net = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.LI())
    run = nf.fit(net, samples(), nf.DFA(), epochs=1, out=tmp_path / "r", engine="reference", progress=False)
    for path in run.folder.iterdir():
        if path.name not in ("config.toml", "data.npz"):
            path.unlink()
    (run.folder / ".state.safetensors.x.tmp").write_text("half")
    again = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.LI())
    nf.fit(again, samples(), nf.DFA(), epochs=1, out=tmp_path / "r", engine="reference", progress=False)
    assert (tmp_path / "r" / "summary.json").exists()
    with pytest.raises(nf.UserError, match="not an empty folder"):
        nf.fit(again, samples(), nf.DFA(), epochs=1, out=tmp_path / "r", progress=False)


def test_the_command_fails_with_status_1_when_a_training_diverges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.I())
    nf.fit(net, samples(), nf.DFA(), epochs=1, out=tmp_path / "r", engine="reference", progress=False)
    tensors, metadata = read_tensors(tmp_path / "r" / "state.safetensors")
    tensors["weights.layers.2.weight"][0, 0] = float("inf")
    write_tensors(tmp_path / "r" / "state.safetensors", tensors, metadata)
    assert command(["train", "--out", str(tmp_path / "r"), "--resume", "--epochs", "2", "--quiet"]) == 1
    assert "the training diverged in epoch 2" in capsys.readouterr().err


def test_a_callback_may_end_the_training(tmp_path: Path) -> None:
    net = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.I())
    log = nf.CSVLog(tmp_path / "log.csv")
    run = nf.fit(
        net, samples(), nf.DFA(), epochs=5, out=tmp_path / "r",
        callbacks=[log, lambda trainer, epoch: epoch.epoch == 2], engine="reference", progress=False,
    )  # fmt: skip
    assert len(run.epochs) == 2
    assert run.summary is not None
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "modules",
    [
        (nf.Linear(6, 5), nf.ALIF(adaptation=0.3, tau_adapt=0.1), nf.Linear(5, 2), nf.I()),
        (nf.Linear(6, 5), nf.IF(), nf.Dropout(0.2), nf.Linear(5, 2), nf.LI()),
        (nf.Linear(6, 5), nf.LIF(), nf.Linear(5, 4), nf.LIF(reset="soft"), nf.Linear(4, 2), nf.I()),
        (nf.Dropout(0.1), nf.Linear(6, 5), nf.LIF(recurrent=True), nf.Linear(5, 2), nf.LIF()),
        (nf.Linear(6, 5), nf.LIF(), nf.Delay((0, 3)), nf.Linear(5, 2), nf.LIF()),
        (nf.Linear(6, 5), nf.LIF(recurrent=nf.Linear(5, 5, bias=True)), nf.Delay(2), nf.Linear(5, 2), nf.I()),
        (nf.Linear(6, 5, weight_bits=4), nf.LIF(decay_bits=None), nf.Linear(5, 2), nf.LI(decay_bits=None)),
        (nf.Linear(6, 5), nf.LIF(tau_mem=torch.linspace(0.003, 0.03, 5)), nf.Linear(5, 2), nf.I()),
        (nf.Linear(6, 5), nf.LIF(tau_mem_spread=0.4, learn_tau=True), nf.Linear(5, 2), nf.I()),
        (nf.Linear(6, 5), nf.CubaLIF(surrogate=nf.ArcTan(0.3, 0.7)), nf.Linear(5, 2), nf.LI(0.01)),
    ],
)  # fmt: skip
def test_every_module_and_its_settings_come_back(modules: tuple[torch.nn.Module, ...]) -> None:
    net = nf.Network(*modules)
    back = feed_forward(6, describe(list(net.layers)), 2, readout="written")
    assert repr(back.layers).replace("IF(n=", "") == repr(net.layers).replace("IF(n=", "")
    back.load_state_dict(net.state_dict())
    assert describe(list(back.layers)) == describe(list(net.layers))
    x = torch.rand(8, 3, 6, generator=torch.Generator().manual_seed(1)) * 3
    torch.testing.assert_close(back.run(x).y, net.run(x).y, rtol=0, atol=0)


class Quadratic(nf.Neuron):
    states = ("v",)

    def step(self, drive: Tensor, state: object) -> tuple[Tensor, tuple[Tensor, ...]]:
        v = state.v * (1 - state.s.detach())  # type: ignore[attr-defined]
        v = v + 0.1 * v * (v - 1) + drive
        return self.spike(v - 1.5), (v,)


def test_a_neuron_of_the_users_own_is_handed_over_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def network() -> nf.Network:
        return nf.Network(nf.Linear(36, 6), Quadratic(), nf.Linear(6, 2), nf.I())

    net = network()
    rule = nf.DFA(trace=nf.PerSynapse())
    run = nf.fit(net, samples(), rule, epochs=1, out=tmp_path / "r", engine="reference", progress=False)
    with pytest.raises(nf.UserError, match=r"Quadratic is a class of your own.*load\(folder, network=…\)"):
        nf.load(tmp_path / "r")
    assert command(["evaluate", str(tmp_path / "r"), "--quiet"]) == 2
    assert "Quadratic" in capsys.readouterr().err
    back = nf.load(tmp_path / "r", network=network())
    assert same_weights(back.network, net)
    assert back.evaluate() == run.evaluate()
    assert run.report().exists()


def test_samples_that_the_folder_does_not_keep_are_handed_over_again(tmp_path: Path) -> None:
    own = replace(samples(), encode=lambda x, steps, generator: x.expand(steps, *x.shape))
    net = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.I())
    nf.fit(net, own, nf.DFA(), epochs=1, out=tmp_path / "r", engine="reference", progress=False)
    assert not (tmp_path / "r" / "data.npz").exists()
    with pytest.raises(nf.UserError, match=r"hand them over in Python, neurofdfa.load\(folder, data=…\)"):
        nf.load(tmp_path / "r")
    assert same_weights(nf.load(tmp_path / "r", data=own).network, net)
    fewer = replace(own, train=own.train.select(slice(0, 9)))
    with pytest.raises(nf.UserError, match="not the data of this run, whose samples"):
        nf.load(tmp_path / "r", data=fewer)
    assert describe_data(samples()).own == "kept"


@dataclass(frozen=True)
class Mine(nf.DFA):
    name = "mine"  # type: ignore[misc]


def test_rules_are_described_where_that_is_possible() -> None:
    for rule in (
        nf.FDFA(momentum=0.1),
        nf.DFA(trace=nf.PerSynapse(filtered=False)),
        nf.BPTT(window=3),
        nf.SLTT(),
    ):
        found = describe_rule(rule)
        assert not found.own, rule
    assert describe_rule(Mine()).own


def test_data_whose_test_split_was_seen_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    data = samples()
    data.open_test()
    net = nf.Network(nf.Linear(36, 4), nf.LIF(), nf.Linear(4, 2), nf.I())
    with pytest.raises(nf.UserError, match="opened already: load them again"):
        nf.fit(net, data, nf.DFA(), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
