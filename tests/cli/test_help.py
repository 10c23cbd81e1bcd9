"""What help, version and completion say, and that they say it without loading torch."""

import re
import subprocess
import sys

import pytest

from neurofdfa import __version__
from neurofdfa.cli import run
from neurofdfa.cli.options import rule_names
from neurofdfa.lab.config import RunConfig
from neurofdfa.rules import RULES


def text_of(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(line.split()) == 0
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert text_of("--version", capsys) == f"neurofdfa {__version__}"


@pytest.mark.parametrize("line", ["-h", "train -h", "bench -h", "bench train -h", "lava check -h"])
def test_short_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Usage: neurofdfa" in text_of(line, capsys)


def test_train_shows_rules_and_the_defaults_of_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(rule_names()) >= set(RULES)
    text = text_of("train --help", capsys)
    for rule in RULES:
        assert rule in text.replace("- ", "-")
    plain = RunConfig()
    values = (
        plain.data.name, plain.data.encoder, plain.rule.name, plain.training.epochs, plain.training.batch,
        plain.training.lr, plain.seed,
    )  # fmt: skip
    for value in values:
        assert f"[default: ({value})]" in text


def test_help_waits_for_no_library_that_it_does_not_need() -> None:
    code = (
        "import sys; from neurofdfa.cli import run; run(['train', '--help']); "
        "print(sorted({'torch', 'numpy', 'numba', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
