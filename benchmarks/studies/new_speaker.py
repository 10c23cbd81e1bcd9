"""A network that knows five speakers meets a sixth, and learns this voice on the chip, in integers.

    python benchmarks/studies/new_speaker.py FOLDER [--speakers theo ...] [--seeds 0 ...] [--picture FILE]

FOLDER holds the recordings of the Free Spoken Digit Dataset: ten digits by six speakers, from
https://github.com/Jakobovski/free-spoken-digit-dataset. A network 80-128-10 is trained with FDFA on five of
them, deployed at 8 bits, and hears the sixth for the first time. Then it learns on the simulated chip from 60
of this speaker's utterances, each once, one after the other: error neurons compare output spikes with label
spikes, the feedback B carries the error to the hidden layer, and three-factor rules change the weights.
Beside FDFA, whose B goes along and is refreshed by the host, stand DFA with a random B, a readout that learns
alone, the frozen network, and FDFA in floats. Accuracy is counted on 390 other utterances of the sixth and,
for what is forgotten, on 250 of the five. Settings were chosen on 50 utterances per speaker that are counted
in none of these (docs/studies/new-speaker.md).
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import neurofdfa as nf
import neurofdfa_hardware as chip

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
STEPS = 26  # of 20 ms
RULE = chip.LearningRule(
    period=32, epoch=8, tau=5, impulse=32, rate_hidden=-8, rate_output=-4, shift_hidden=5, shift_output=1,
    label_every=3, refresh_every=10,
)  # fmt: skip
REACH = 0.5  # a hidden membrane this close to its threshold, in thresholds, counts as sensitive
FLOAT_RATE = 1e-3
Found = dict[str, tuple[float, float]]


def main(folder: Path, speaker: str, seed: int = 0, epochs: int = 25, part: str = "test") -> Found:
    """Accuracy on the sixth and on the five for each way to learn; part "validation" chooses settings."""
    data = nf.data.load(
        "fsdd", data_root=folder, speaker=speaker, steps=STEPS,
        bands=80, output="hair-cells", step=0.02, threshold=20.0,
    )  # fmt: skip
    trainer = train(data, seed, epochs)
    # What the chip will see decides its weights' and thresholds' units; what FDFA found goes along.
    program = chip.quantize(graph_of(trainer.network), 8, spikes_of(data.train)[0][:, ::8]).program
    feedback = trainer.rule_state.matrices[-1].double().numpy().copy()
    five = spikes_of(data.validation)
    sixth, labels = spikes_of(data.open_test())
    learn, validation, test = parts(labels, seed)
    asked = test if part == "test" else validation
    stream, names = sixth[:, learn], labels[learn]

    def counted(predict: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        pairs = ((sixth[:, asked], labels[asked]), five)
        new, old = (float((predict(x) == y).mean()) for x, y in pairs)
        return new, old

    found = {}
    for way in ("frozen", "readout only", "dfa", "fdfa"):
        learnt = program if way == "frozen" else on_chip(way, program, feedback, stream, names, seed)
        found[way] = counted(lambda x, learnt=learnt: chip.predict(learnt, chip.simulate(learnt, x)))
    in_floats(trainer, stream, names)
    learnt = graph_of(trainer.network)
    found["fdfa in floats"] = counted(lambda x: chip.float_predict(learnt, chip.float_simulate(learnt, x)))
    return found


def train(data: nf.data.Dataset, seed: int, epochs: int) -> nf.Trainer:
    """A network with the chip's neurons, trained on five speakers, with the feedback that FDFA found."""
    network = nf.Network(
        nf.Linear(data.n_in, 128), nf.LIF(tau_mem=10e-3, surrogate=nf.FastSigmoid(1.0)),
        nf.Linear(128, data.n_out), nf.LIF(tau_mem=10e-3, surrogate=nf.FastSigmoid(3.0)),
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    first, _ = next(data.train.batches(128, seed=seed))
    nf.scale_to_rate(network, first.dense(torch.float32), 0.15)
    trainer = nf.Trainer(
        network,
        nf.FDFA(fraction=0.125),
        torch.optim.Adam(network.parameters(), lr=1e-2),
        rate_regulariser=nf.RateRegulariser(0.12),
        generator=torch.Generator().manual_seed(seed),
    )
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, epochs)
    trainer.fit(data.train, epochs=epochs, batch=32, scheduler=slower, progress=False)
    return trainer


def on_chip(
    way: str, program: chip.Program, feedback: np.ndarray, spikes: np.ndarray, labels: np.ndarray, seed: int
) -> chip.Program:
    """The program after it has learnt from each of these utterances once."""
    _, into_output = program.connections
    if way == "dfa":
        feedback = np.random.default_rng(seed).normal(size=feedback.shape)
    # The scale of the output's integer weights, which is also where the host's refresh leads.
    feedback = feedback * np.linalg.norm(into_output.weight) / np.linalg.norm(feedback) / RULE.feedback_scale
    if way == "readout only":
        feedback = 0 * feedback
    theta = int(program.populations[0].vth.max()) << 6
    rule = replace(
        RULE,
        window=(int((1 - REACH) * theta), int((1 + REACH) * theta)),
        refresh_every=RULE.refresh_every if way == "fdfa" else 0,
        seed=seed + 1,
    )
    integers = np.clip(np.rint(feedback), -127, 127).astype(np.int64)
    return chip.learn(program, spikes, labels, integers, rule).program


def in_floats(trainer: nf.Trainer, spikes: np.ndarray, labels: np.ndarray) -> None:
    """Let the float network go on learning by FDFA from the same utterances, each once, one by one."""
    learner = nf.Trainer(
        trainer.network,
        trainer.rule,
        torch.optim.Adam(trainer.network.parameters(), lr=FLOAT_RATE),
        generator=torch.Generator().manual_seed(0),
    )
    learner.rule_state = learner.rule_state._replace(matrices=trainer.rule_state.matrices)
    for number in range(len(labels)):
        one = slice(number, number + 1)
        learner.step(torch.from_numpy(spikes[:, one]).float(), torch.from_numpy(labels[one]))


def parts(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per digit 6 utterances to learn from, in an order by seed, 5 that choose settings, and the others."""
    always = np.random.default_rng(0)
    digits = [always.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    learn, validation, test = (
        np.concatenate([digit[first:stop] for digit in digits])
        for first, stop in ((0, 6), (6, 11), (11, None))
    )
    return np.random.default_rng(seed).permutation(learn), validation, test


def graph_of(network: nf.Network) -> chip.Network:
    """The network as the chip's package reads it: through a NIR file."""
    with tempfile.TemporaryDirectory() as folder:
        nf.export_nir(network, f"{folder}/net.nir")
        return chip.load(f"{folder}/net.nir")


def spikes_of(split: nf.data.Split) -> tuple[np.ndarray, np.ndarray]:
    """All samples as uint8 [T, N, 80], and their classes."""
    x, y, _ = split.first(len(split))
    return x.numpy().astype(np.uint8), y.numpy()


def draw(results: dict[str, list[Found]], path: Path) -> None:
    """Accuracy on the sixth speaker before and after, per speaker; a dot is a seed's, a bar their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    ways = list(next(iter(results.values()))[0])
    colours = ("0.75", "0.5", "tab:olive", "tab:blue", "tab:cyan")
    for place, (way, colour) in enumerate(zip(ways, colours, strict=False)):
        for position, found in enumerate(results.values()):
            values = [100 * one[way][0] for one in found]
            at = position + (place - 2) * 0.16
            axes.bar(at, np.mean(values), 0.15, color=colour, label=None if position else way)
            axes.plot([at] * len(values), values, "k.", markersize=3)
    axes.set_xticks(range(len(results)), list(results))
    axes.set_ylabel("accuracy on the sixth speaker, %")
    axes.set_ylim(0, 100)
    axes.legend(ncols=len(ways), loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the recordings")
    parser.add_argument("--speakers", nargs="+", default=SPEAKERS, help="each in turn is the sixth")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="accuracies per speaker as an image")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[Found]] = {}
    print("accuracy in % on the sixth speaker / on the five")
    try:
        for speaker in given.speakers:
            for seed in given.seeds:
                found = main(given.folder, speaker, seed, given.epochs, given.part)
                results.setdefault(speaker, []).append(found)
                line = "  ".join(
                    f"{way} {100 * new:.1f} / {100 * old:.1f}" for way, (new, old) in found.items()
                )
                print(f"{speaker} {seed}:  {line}", flush=True)
    except nf.UserError as error:
        sys.exit(str(error))
    every = [one for found in results.values() for one in found]
    for way in every[0]:
        new, old = 100 * np.array([one[way] for one in every]).T
        print(f"mean of {way}: {new.mean():.1f} ± {new.std():.1f} / {old.mean():.1f} ± {old.std():.1f}")
    if given.picture:
        draw(results, given.picture)
