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
from neurofdfa_hardware.chip.program import Program
from neurofdfa_hardware.learning import lower
from neurofdfa_hardware.learning.plasticity import LearningRule
from tests.hardware.lava.learning_oracle import Neuron, Synapses

EXAMPLE = Path(__file__).parents[3] / "examples" / "learn_on_chip.py"


def chip_update(
    program: Program, spikes: np.ndarray, label: int, feedback: np.ndarray, rule: LearningRule
) -> np.ndarray:
    """y · x1 of the hidden synapses at the end of one sample `[T, n_in]`, before it is rounded to weights."""
    hidden = Neuron(program.populations[0], rule.shift_hidden, rule.window)
    output = Neuron(program.populations[1], rule.shift_output, None)
    first = Synapses(program.connections[0], rule, rule.rate_hidden)
    second = Synapses(program.connections[1], rule, rule.rate_output)
    weights = first.weight.copy(), second.weight.copy()
    pending = error = np.zeros(output.p.size, np.int64)
    third = np.zeros(hidden.p.size, np.int64)
    for time in range(1, rule.period + 1):
        playing = time <= len(spikes)
        frame = spikes[time - 1].astype(bool) if playing else np.zeros(spikes.shape[1], bool)
        wanted = np.zeros(output.p.size, np.int64)
        wanted[label] = playing and (time - 1) % rule.label_every == 0
        inputs = first.held, second.held
        hidden_spikes, output_spikes = hidden.step(inputs[0], third), output.step(inputs[1], error)
        error, pending = np.sign(pending), wanted - output_spikes.astype(np.int64)
        third = feedback @ error
        first.hear(frame, hidden, time)
        second.hear(hidden_spikes, output, time)
        first.learn(time)
        second.learn(time)
        first.weight, second.weight = (w.copy() for w in weights)
    return np.outer(hidden.y2 - hidden.y3, first.x1)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_chips_update_points_along_the_rules_own() -> None:
    example = runpy.run_path(str(EXAMPLE))
    data, samples = load("digits", steps=16, encoder="poisson", max_rate=0.5), 100
    network, feedback = example["train"](data, 0, 4)
    program = deploy(network, data).program
    rule = replace(example["FAST"], window=(0, 2 * int(program.populations[0].vth.max()) << 6))
    _, into_output = program.connections
    scale = np.linalg.norm(into_output.weight) / np.linalg.norm(feedback) / rule.feedback_scale
    integers = np.clip(np.rint(feedback * scale), -127, 127).astype(np.int64)

    spikes = example["spikes_of"](data.train, turned=True)[:, :samples]
    labels = data.train.targets[:samples]
    chip = [chip_update(program, spikes[:, n], int(labels[n]), integers, rule) for n in range(samples)]
    learner = Trainer(network, DFA(), torch.optim.Adam(network.parameters(), lr=1e-3), engine="reference")
    learner.rule_state = Feedback((torch.from_numpy(feedback).float(),))
    inputs = torch.from_numpy(spikes).float()

    def own(one: slice) -> np.ndarray:
        return -learner.gradients(inputs[:, one], labels[one])[0].numpy()

    single = [cosine(chip[n], own(slice(n, n + 1))) for n in range(30) if chip[n].any()]
    assert 0.4 < np.mean(single) < 0.7
    assert 0.6 < cosine(np.sum(chip, axis=0), own(slice(0, samples))) < 0.9
    assert any("cosine 0.69 to 0.77" in (term.error or "") for term in lower("dfa").terms)
