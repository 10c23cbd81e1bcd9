"""How far the chip's update is from the rule's own, all approximations together: what `lower` says of it."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from neurofdfa.data.load import load
from neurofdfa.lab.deploy import deploy
from neurofdfa.rules import DFA
from neurofdfa.rules.base import Feedback
from neurofdfa.train.trainer import Trainer
from neurofdfa_hardware.learning import lower
from neurofdfa_hardware.learning.plasticity import feedback_of, score_shift
from tests.hardware.lava import learning_oracle as oracle

EXAMPLE = Path(__file__).parents[3] / "examples" / "learn_on_chip.py"


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_chips_update_points_along_the_rules_own() -> None:
    example = runpy.run_path(str(EXAMPLE))
    data, samples = load("digits", steps=16, encoder="poisson", max_rate=0.5), 100
    network, feedback = example["train"](data, 0, 4)
    program = deploy(network, data).program
    calibration = example["spikes_of"](data.train.select(slice(0, 256)))
    rule = replace(example["FAST"], score_shift=score_shift(program, calibration), refresh_every=0)
    rest = tuple(np.zeros(64, np.int64) for _ in range(2))
    matrices = feedback_of(program, [feedback])

    spikes = example["spikes_of"](data.train, turned=True)[:, :samples]
    labels = data.train.targets[:samples]

    def on_chip(n: int) -> np.ndarray:
        one = slice(n, n + 1)
        return oracle.learn(program, spikes[:, one], labels[one].numpy(), matrices, rest, rule).updates[0]

    chip = [on_chip(n) for n in range(samples)]
    learner = Trainer(network, DFA(), torch.optim.Adam(network.parameters(), lr=1e-3), engine="reference")
    learner.rule_state = Feedback((torch.from_numpy(feedback).float(),))
    inputs = torch.from_numpy(spikes).float()

    def own(one: slice) -> np.ndarray:
        return -learner.gradients(inputs[:, one], labels[one])[0].numpy()

    single = [cosine(chip[n], own(slice(n, n + 1))) for n in range(30) if chip[n].any()]
    assert 0.7 < np.mean(single) < 0.95
    assert 0.7 < cosine(np.sum(chip, axis=0), own(slice(0, samples))) < 0.99
    assert any("cosine 0.96" in (term.error or "") for term in lower("dfa").terms)
