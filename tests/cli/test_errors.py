"""Bad input: one line on stderr, exit status 2, nothing written."""

from pathlib import Path

import pytest

from neurofdfa.cli import run

TRAIN = "train --out {new} --epochs 1"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "No such command"),
        ("trian --out {new}", "Did you mean 'train'"),
        ("train --resume", "--resume needs --out"),
        (TRAIN + " --epoch 3", "--epochs"),
        (TRAIN + " --rule fdfaa", "did you mean fdfa"),
        (TRAIN + " --data digitss", "did you mean digits"),
        (TRAIN + " --set training.epoch=3", "did you mean training.epochs?"),
        (TRAIN + " --set seed.x=1", "no setting 'seed.x'"),
        (TRAIN + " --set dfa:training.lr=1", "one run has one rule"),
        (TRAIN + " --seed 99999999999999999999", "seed"),
        (TRAIN + " --set network.tau_mem=" + "9" * 5000, "tau_mem"),
        (TRAIN + " --set data.options=" + "[" * 3000, "data.options"),
        (f"train --epochs 1 --out {{new}}{'x' * 300}", "too long"),
        ("report {missing}\x1b[31m", "not a folder"),
        (TRAIN + " --data nope", "unknown data set 'nope'"),
        (TRAIN + " --rule nope", "unknown rule 'nope'"),
        (TRAIN + " --set rule.options.nope=1", "does not take"),
        (TRAIN + " --hidden 0", "network.hidden: a layer has 1 neuron or more, got 0"),
        (TRAIN + " --hidden 8 -2", "network.hidden: a layer has 1 neuron or more, got -2"),
        (TRAIN + " --hidden many", "Input should be a valid integer"),
        (TRAIN + " --hidden 8 --set network.hidden=[1.5]", "write numbers of neurons"),
        (TRAIN + " --hidden 8 --set network.hidden=['conv_1']", "write numbers of neurons"),
        (TRAIN + " --set network.layers=['conv_1']", "entry 1: 'conv_1' is no layer"),
        (TRAIN + " --set network.layers=[{{conv2d=3}}]", "entry 1: conv2d needs kernel_size"),
        (TRAIN + " --set network.tau_mem=nan", "tau_mem"),
        (TRAIN + " --set network.tau_mem=inf", "tau_mem"),
        (TRAIN + " --set network.tau_syn=-0.001", "tau_syn"),
        (TRAIN + " --set network.nope=1", "network.nope"),
        (TRAIN + " --set nonsense", "key=value"),
        (TRAIN + " --epochs 0", "epochs"),
        (TRAIN + " --encoder nope", "encoder"),
        (TRAIN + " --data {missing}.npz", "missing"),
        (TRAIN + " --data mnist", "--data-root"),
        (TRAIN + " --config {missing}", "cannot read"),
        ("train --out {full}", "not an empty folder"),
        ("train --out {file}", "not an empty folder"),
        ("train --out {new} --resume", "leave out --resume"),
        ("train --out /proc/nowhere --epochs 1", "cannot create"),
        ("evaluate {missing}", "not a run folder"),
        ("evaluate {full}", "not a run folder"),
        ("evaluate {full} --backend nope", "unknown backend 'nope'"),
        ("export {full} --out {new}", "not a run folder"),
        ("export {full} --out {new} --to nope", "unknown format 'nope'"),
    ],
)
def test_one_line_and_exit_2(
    line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    names = {name: tmp_path / name for name in ("new", "full", "file", "missing")}
    assert run([word.format(**names) for word in line.split()]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("neurofdfa: ")
    assert says in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert "\x1b" not in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full"]
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "train", "evaluate", "compare", "ablate", "audit", "energy", "map", "parity", "lower"),
        *("export", "import", "report", "doctor", "lava setup", "lava check"),
    ],
)
def test_every_command_takes_json_seed_and_quiet(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--json", "--seed", "--quiet"))
