"""A run: repeatable from its folder, resumable, whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from neurofdfa.errors import UserError
from neurofdfa.io import read_tensors, write_tensors, write_text, write_whole
from neurofdfa.lab.build import build_data, build_network, build_trainer
from neurofdfa.lab.config import RunConfig, load_config
from neurofdfa.lab.evaluation import evaluate
from neurofdfa.lab.load_run import load_run
from neurofdfa.lab.record import Epoch
from neurofdfa.lab.run import train

SMALL = {
    "network.hidden": (24, 16),
    "data.encoder": "poisson",
    "data.steps": 6,
    "training.epochs": 3,
    "training.batch": 128,
    "training.warmup": 3,
}


def small(**settings: object) -> RunConfig:
    return RunConfig().with_settings(SMALL | settings)


def contents(folder: Path) -> dict[str, bytes]:
    """What must be the same between two equal runs; summary and metrics hold seconds as well."""
    return {
        name: (folder / name).read_bytes()
        for name in ("checkpoint.safetensors", "config.toml", "network.nir")
    }


def learning(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "seconds" not in k} for line in lines]


@pytest.mark.parametrize("rule", ["fdfa", "dkp", "bptt"])
def test_a_run_is_repeatable_from_its_folder(tmp_path: Path, rule: str) -> None:
    first = train(small(**{"rule.name": rule}), tmp_path / "a")
    again = train(load_config(tmp_path / "a" / "config.toml"), tmp_path / "b")
    assert learning(tmp_path / "a") == learning(tmp_path / "b")
    assert (first.test_accuracy, first.firing_rate) == (again.test_accuracy, again.firing_rate)
    for name, tensor in read_tensors(tmp_path / "a" / "checkpoint.safetensors")[0].items():
        assert torch.equal(tensor, read_tensors(tmp_path / "b" / "checkpoint.safetensors")[0][name])


@pytest.mark.parametrize("rule", ["fdfa", "dkp", "dfa", "bptt"])
def test_an_interrupted_run_resumes_to_the_same_end(tmp_path: Path, rule: str) -> None:
    config = small(**{"rule.name": rule, "network.dropout": 0.2})
    train(config, tmp_path / "whole")

    def interrupt(epoch: Epoch, epochs: int) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", progress=interrupt)
    assert not (tmp_path / "cut" / "summary.json").exists()
    train(config, tmp_path / "cut", resume=True)
    assert learning(tmp_path / "cut") == learning(tmp_path / "whole")
    with pytest.raises(UserError, match="finished run"):
        train(config, tmp_path / "cut", resume=True)


def interrupted_after_an_epoch(folder: Path) -> RunConfig:
    def interrupt(epoch: Epoch, epochs: int) -> None:
        raise KeyboardInterrupt

    config = small(**{"training.epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        train(config, folder, progress=interrupt)
    return config


def test_what_a_kill_left_before_the_config_does_not_stop_a_new_run(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / ".config.toml.abc.tmp").write_text("format = ")
    train(small(**{"training.epochs": 1}), folder)
    assert (folder / "summary.json").exists()
    assert not list(folder.glob(".*"))


def test_what_a_kill_left_later_is_removed_when_the_run_goes_on(tmp_path: Path) -> None:
    config = interrupted_after_an_epoch(tmp_path / "r")
    (tmp_path / "r" / ".state.safetensors.abc.tmp").write_text("half")
    train(config, tmp_path / "r", resume=True)
    assert not list((tmp_path / "r").glob(".*"))


@pytest.mark.parametrize("kept", [0, 1])
def test_metrics_that_know_fewer_epochs_than_the_state_are_refused(tmp_path: Path, kept: int) -> None:
    config = interrupted_after_an_epoch(tmp_path / "r")
    tensors, _ = read_tensors(tmp_path / "r" / "state.safetensors")
    write_tensors(tmp_path / "r" / "state.safetensors", tensors, {"epochs": "2"})
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "r" / "metrics.jsonl").write_text("".join(lines[:kept]))
    with pytest.raises(UserError, match=rf"kept after epoch 2, and metrics.jsonl ends with epoch {kept}"):
        train(config, tmp_path / "r", resume=True)


@pytest.mark.parametrize("said", [{}, {"epochs": "-1"}, {"epochs": "many"}, {"epochs": "9" * 5000}])
def test_a_state_that_does_not_say_its_epoch_is_refused(tmp_path: Path, said: dict[str, str]) -> None:
    config = interrupted_after_an_epoch(tmp_path / "r")
    tensors, _ = read_tensors(tmp_path / "r" / "state.safetensors")
    write_tensors(tmp_path / "r" / "state.safetensors", tensors, said)
    with pytest.raises(UserError, match="does not say after which epoch it was kept"):
        train(config, tmp_path / "r", resume=True)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    seen: list[str] = []

    def second(epoch: Epoch, epochs: int) -> None:
        for resume in (False, True):  # another open file is another holder, as another process is
            with pytest.raises(UserError, match="another process trains in") as refused:
                train(config, tmp_path / "r", resume=resume)
            seen.append(str(refused.value))

    config = small(**{"training.epochs": 1})
    train(config, tmp_path / "r", progress=second)
    assert len(seen) == 2
    with pytest.raises(UserError, match="finished run"):
        train(config, tmp_path / "r", resume=True)


def test_a_folder_that_is_deleted_meanwhile_is_told_in_one_line(tmp_path: Path) -> None:
    def delete(epoch: Epoch, epochs: int) -> None:
        shutil.rmtree(tmp_path / "r")

    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: No such file"):
        train(small(), tmp_path / "r", progress=delete)


def test_resuming_with_another_config_is_refused(tmp_path: Path) -> None:
    def interrupt(epoch: Epoch, epochs: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small(), tmp_path / "r", progress=interrupt)
    with pytest.raises(UserError, match="another config"):
        train(small(**{"training.lr": 1e-4}), tmp_path / "r", resume=True)


def test_the_epoch_is_chosen_on_validation_data_and_loads_back(tmp_path: Path) -> None:
    summary = train(small(**{"training.lr": 2e-2}), tmp_path / "r")
    epochs = learning(tmp_path / "r")
    best = min(epochs, key=lambda e: e["validation_loss"])  # type: ignore[arg-type, return-value]
    assert summary.best_epoch == best["epoch"]
    assert summary.validation_accuracy == best["validation_accuracy"]
    _, network = load_run(tmp_path / "r")
    tensors, metadata = read_tensors(tmp_path / "r" / "checkpoint.safetensors")
    assert metadata["epoch"] == str(summary.best_epoch)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[name])


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not an empty folder"):
        train(small(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_folders_that_are_not_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        load_run(tmp_path)
    small().save(tmp_path / "config.toml")
    with pytest.raises(UserError, match="no checkpoint"):
        load_run(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"not one")
    with pytest.raises(UserError, match="damaged"):
        load_run(tmp_path)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    train(small(**{"training.epochs": 1}), tmp_path / "r")
    small(**{"network.hidden": (24, 17)}).save(tmp_path / "r" / "config.toml")
    with pytest.raises(UserError, match=r"shape \[16, 24\].*needs \[17, 24\]"):
        load_run(tmp_path / "r")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "config.toml", "format = 99\n")
    with pytest.raises(UserError, match="newer neurofdfa"):
        load_config(tmp_path / "config.toml")


def test_a_config_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "config.toml", "seed = = 3")
    with pytest.raises(UserError, match="not valid TOML"):
        load_config(tmp_path / "config.toml")


def test_the_config_survives_its_file(tmp_path: Path) -> None:
    config = small(**{"data.options": {"classes": 3}, "network.tau_out": 0.03})
    config.save(tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_text(target, "old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_whole(target, fail)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_tensors_survive_with_their_layout(tmp_path: Path) -> None:
    transposed = torch.arange(6.0).reshape(2, 3).t()
    write_tensors(tmp_path / "t", {"a": transposed}, {"epoch": "3"})
    tensors, metadata = read_tensors(tmp_path / "t")
    assert torch.equal(tensors["a"], transposed)
    assert metadata == {"epoch": "3"}


def test_a_run_can_start_from_the_weights_of_another(tmp_path: Path) -> None:
    first = train(small(**{"training.lr": 2e-2}), tmp_path / "float")
    settings = {
        "network.weight_bits": 4,
        "training.epochs": 1,
        "training.lr": 1e-9,
        "training.start_from": str(tmp_path / "float"),
    }
    tuned = train(small(**settings), tmp_path / "tuned")
    assert first.validation_accuracy > 0.3
    assert tuned.validation_accuracy > first.validation_accuracy - 0.1
    start, end = (read_tensors(tmp_path / name / "checkpoint.safetensors")[0] for name in ("float", "tuned"))
    for name, tensor in start.items():
        torch.testing.assert_close(end[name], tensor, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="no checkpoint"):
        train(small(**{"training.start_from": str(tmp_path / "nowhere")}), tmp_path / "r")


def test_steps_before_the_answer_carry_no_error_and_no_score(tmp_path: Path) -> None:
    settings = {
        "data.name": "cue-accumulation",
        "data.steps": 75,
        "data.options": {"train": 256, "validation": 64, "test": 64, "answer_steps": 15},
        "network.readout": "leaky",
    }
    config = small(**settings)
    data = build_data(config.data, 0)
    network = build_network(config.network, data.n_in, data.n_out, 0)
    learners = [
        build_trainer(config.with_settings({"rule.name": rule}), network, data.answer_from)
        for rule in ("dfa", "bptt")
    ]
    x, target, _ = data.validation.first(64)
    later = torch.cat([torch.zeros_like(x[:60]), x[60:]])
    for learner in learners:
        # the readout learns from spikes before the answer, but only through what it remembers of them
        assert learner.loss.when == data.answer_from == 60
        assert not torch.equal(learner.gradients(x, target)[-1], learner.gradients(later, target)[-1])
    found = evaluate(network, config, data, data.validation)
    y = network.run(x).y[60:]
    assert found.loss == pytest.approx(
        float(torch.stack([torch.nn.functional.cross_entropy(now, target) for now in y]).mean()), rel=1e-5
    )
    assert found.accuracy == float((y.mean(0).argmax(1) == target).float().mean())
    assert torch.equal(learners[1].step(x, target).scores.detach(), y.mean(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_takes_one_thread_unless_asked_and_says_how_many(tmp_path: Path, threads: int) -> None:
    before, seen = torch.get_num_threads(), set[int]()
    config = small(**({} if threads == 1 else {"training.threads": threads}) | {"training.epochs": 1})
    train(config, tmp_path / "r", on_batch=lambda: seen.add(torch.get_num_threads()))
    assert seen == {threads}
    assert torch.get_num_threads() == before
    assert f"threads = {threads}\n" in (tmp_path / "r" / "config.toml").read_text()
