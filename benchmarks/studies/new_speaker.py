"""A network that knows five speakers meets a sixth, and learns this voice on the chip, in integers.

    python benchmarks/studies/new_speaker.py FOLDER [--choose] [--speakers theo ...] [--picture FILE]

FOLDER holds the recordings of the Free Spoken Digit Dataset: ten digits by six speakers, from
https://github.com/Jakobovski/free-spoken-digit-dataset. A network is trained with FDFA on five of them,
deployed at 8 bits, and hears the sixth for the first time. Then it learns on the simulated chip from 60 of
this speaker's utterances, each once, one after the other: an embedded processor reads the readout's membranes
after an utterance and broadcasts the error, and three-factor rules change the weights. Ways to learn: the
readout alone; DFA, with a random feedback; FDFA, whose feedback comes from training and is refreshed by the
host; DKP, whose feedback learns on the chip; FDFA in a network of two hidden layers. Beside them stand the
frozen networks and the same learning in floats, with BPTT, too. Accuracy is counted on 390 other utterances
of the sixth and, for what is forgotten, on 250 of the five.

--choose prints how SETTINGS were found: networks are trained without two neighbouring speakers and learn each
of them; a sixth speaker gets the setting that is best for the two who were left out with him, in networks
that heard neither. --networks FOLDER keeps trained networks, and takes those that are there.
"""

import argparse
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurofdfa as nf
import neurofdfa_hardware as chip
from neurofdfa.data.folders import list_recordings

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
STEPS = 70  # of 10 ms
BATCH = 64
RULE = chip.LearningRule(period=80, epoch=20, rate_output=-7, rate_hidden=-5, shift_hidden=16, impulse=24)
OCTAVES = 16
WAYS: dict[str, dict[str, Any]] = {
    "readout only": {},
    "dfa": {},
    "fdfa": {"refresh_every": 10},
    "dkp": {"rate_feedback": -7, "decay": -7},
}
CHOICES = tuple(product((16, 24), (16, 17)))  # impulse and shift_hidden
SETTINGS = dict.fromkeys(WAYS, (24, 16))
FLOATS = {"readout only": nf.ReadoutOnly, "fdfa": nf.FDFA, "bptt": nf.BPTT}
FLOAT_RATES = (1e-3, 3e-3)
Found = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Base:
    """A trained network, its integers, and samples: of the held-out speakers by name, and of the others."""

    trainer: nf.Trainer
    program: chip.Program
    held: dict[str, tuple[np.ndarray, np.ndarray]]
    known: tuple[np.ndarray, np.ndarray]
    calibration: np.ndarray


def base(
    folder: Path, held: tuple[str, ...], hidden: tuple[int, ...], epochs: int, kept: Path | None = None
) -> Base:
    """Train on all speakers but `held`, and deploy at 8 bits."""
    settings = {"data_root": folder, "steps": STEPS, "bands": 40, "delta": 6.0}
    data = nf.data.load("fsdd", speaker=held[0], **settings)
    parts = [data.train, data.validation]
    if len(held) > 1:
        listing = list_recordings(place(folder), (".wav",))
        speakers = np.array(listing.speakers)
        others = speakers[speakers != held[0]]
        # As `load` divides: 0 to 4 of every digit and speaker validate, the others are learnt.
        number = [int(path.stem.rpartition("_")[2]) for path in listing.paths]
        early = np.array(number)[speakers != held[0]] < 5
        for index, chosen in enumerate((others[~early], others[early])):
            parts[index] = parts[index].select(torch.as_tensor(np.flatnonzero(~np.isin(chosen, held))))
    name = "-".join([*held, *map(str, hidden)])
    trainer = train(parts[0], data, hidden, epochs, None if kept is None else kept / f"{name}.pt")
    calibration = spikes_of(parts[0].select(slice(0, None, 8)))[0]
    program = chip.quantize(graph_of(trainer.network), 8, calibration).program
    held_samples = {one: spikes_of(nf.data.load("fsdd", speaker=one, **settings).open_test()) for one in held}
    return Base(trainer, program, held_samples, spikes_of(parts[1]), calibration)


def place(folder: Path) -> Path:
    """Where the recordings lie, as `nf.data.load` looks for them."""
    return next(p for p in (folder / "fsdd" / "recordings", folder / "recordings", folder) if p.is_dir())


def train(
    split: nf.data.Split, data: nf.data.Dataset, hidden: tuple[int, ...], epochs: int, file: Path | None
) -> nf.Trainer:
    """A network as in studies/spoken-digits-speakers.toml, with the feedback that FDFA found."""
    network = nf.feed_forward(
        data.n_in, hidden, data.n_out, neuron=nf.LIF(tau_mem=0.01, tau_syn=0.005), readout="leaky",
        tau_out=0.03, dropout=0.1, tau_mem_spread=1.0, tau_syn_spread=1.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    trainer = nf.Trainer(
        network, nf.FDFA(), torch.optim.Adam(network.parameters(), lr=5e-3),
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    if file is not None and file.exists():
        found = torch.load(file, weights_only=True)
        network.load_state_dict(found["network"])
        trainer.rule_state = trainer.rule_state._replace(matrices=tuple(found["feedback"]))
        return trainer
    nf.scale_to_rate(network, split.first(128)[0], 0.06)
    updates = epochs * -(-len(split) // BATCH)
    warm = max(1, min(50, updates // 4))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        trainer.optimizer,
        lambda done: min(
            (done + 1) / warm, 0.5 + 0.5 * np.cos(np.pi * max(0, done - warm) / max(1, updates - warm))
        ),
    )
    trainer.fit(split, epochs=epochs, batch=BATCH, scheduler=schedule, schedule="batch", progress=False)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"network": network.state_dict(), "feedback": list(trainer.rule_state.matrices)}, file)
    return trainer


def on_chip(
    known: Base, way: str, setting: tuple[int, int], samples: tuple[np.ndarray, np.ndarray], seed: int = 0
) -> chip.Program:
    """The program after it has learnt from each of these utterances once."""
    program = known.program
    rule = replace(RULE, impulse=setting[0], shift_hidden=setting[1], seed=seed + 1, **WAYS[way])
    rule = replace(rule, score_shift=chip.score_shift(program, known.calibration, OCTAVES))
    # What all utterances have in common is kept out of the readout's updates; inputs are taken as they are.
    first, *rest = chip.mean_traces(program, known.calibration, rule)
    feedback = chip.feedback_of(program, [m.double().numpy() for m in known.trainer.rule_state.matrices])
    if way in ("dfa", "dkp"):
        feedback = chip.random_feedback(program, np.random.default_rng(seed))
    if way == "readout only":
        feedback = tuple(0 * matrix for matrix in feedback)
    return chip.learn(program, *samples, feedback, rule, rest=(0 * first, *rest)).program


def in_floats(
    known: Base, rule: str, rate: float, samples: tuple[np.ndarray, np.ndarray], passes: int = 1
) -> chip.Network:
    """The float network after it has learnt from the same utterances, one by one."""
    network = deepcopy(known.trainer.network)
    learner = nf.Trainer(
        network, FLOATS[rule](), torch.optim.Adam(network.parameters(), lr=rate),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    if rule == "fdfa":
        learner.rule_state = learner.rule_state._replace(matrices=known.trainer.rule_state.matrices)
    spikes, labels = samples
    for number in [*range(len(labels))] * passes:
        one = slice(number, number + 1)
        learner.step(torch.from_numpy(spikes[:, one]).float(), torch.from_numpy(labels[one]))
    return graph_of(network)


def parts(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Per digit 6 utterances to learn from, in an order by seed, and those that are counted."""
    always = np.random.default_rng(0)
    digits = [always.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    learn, test = (np.concatenate([d[first:stop] for d in digits]) for first, stop in ((0, 6), (11, None)))
    return np.random.default_rng(seed).permutation(learn), test


def right(learnt: chip.Program | chip.Network, samples: tuple[np.ndarray, np.ndarray]) -> float:
    """The share of right answers."""
    spikes, labels = samples
    if isinstance(learnt, chip.Program):
        found = chip.predict(learnt, chip.simulate(learnt, spikes))
    else:
        found = chip.float_predict(learnt, chip.float_simulate(learnt, spikes))
    return float((found == labels).mean())


def sixth(known: Base, deep: Base | None, speaker: str, order: int, floats: bool) -> Found:
    """Accuracy on the sixth and on the five for each way to learn."""
    spikes, labels = known.held[speaker]
    learn, test = parts(labels, order)
    stream, asked = ((spikes[:, index], labels[index]) for index in (learn, test))

    def counted(learnt: chip.Program | chip.Network) -> tuple[float, float]:
        return right(learnt, asked), right(learnt, known.known)

    found = {"frozen": counted(known.program)}
    for way, setting in SETTINGS.items():
        found[way] = counted(on_chip(known, way, setting, stream, order))
    if deep is not None:
        found["two layers, frozen"] = counted(deep.program)
        found["two layers, fdfa"] = counted(on_chip(deep, "fdfa", SETTINGS["fdfa"], stream, order))
    if floats:
        for rule, rate in product(FLOATS, FLOAT_RATES):
            found[f"{rule} in floats, {rate:g}"] = counted(in_floats(known, rule, rate, stream))
        several = in_floats(known, "bptt", FLOAT_RATES[0], stream, passes=5)
        found["bptt in floats, 5 passes"] = counted(several)
    return found


def choose(folder: Path, epochs: int, hidden: tuple[int, ...], kept: Path | None) -> None:
    """Print, for each sixth speaker, the setting that is best for the two beside him in `SPEAKERS`."""
    learnt: dict[str, list[dict[tuple[str, Any], float]]] = {speaker: [] for speaker in SPEAKERS}
    for pair in zip(SPEAKERS, SPEAKERS[1:] + SPEAKERS[:1], strict=True):
        known = base(folder, pair, hidden, epochs, kept)
        for speaker, other in (pair, pair[::-1]):
            spikes, labels = known.held[speaker]
            learn, test = parts(labels, 0)
            stream, asked = ((spikes[:, index], labels[index]) for index in (learn, test))
            seen: dict[tuple[str, Any], float] = {}
            for way, setting in product(WAYS, CHOICES):
                if way != "readout only" or setting[1] == CHOICES[0][1]:
                    seen[way, setting] = right(on_chip(known, way, setting, stream), asked)
            learnt[other].append(seen)
            print(f"without {other}, learning {speaker}:", best(seen), flush=True)
    for other, rows in learnt.items():
        print(f"{other} as the sixth:", best({key: np.mean([row[key] for row in rows]) for key in rows[0]}))


def best(seen: dict[tuple[str, Any], Any]) -> str:
    """The best setting of each way."""
    ways = dict.fromkeys(way for way, _ in seen)
    tops = {way: max((k for k in seen if k[0] == way), key=lambda k: seen[k]) for way in ways}
    return ", ".join(f"{way} {setting[1]} {100 * seen[setting]:.1f}" for way, setting in tops.items())


def graph_of(network: nf.Network) -> chip.Network:
    """The network as the chip's package reads it: through NIR."""
    return chip.network_from_graph(nf.to_nir(network))


def spikes_of(split: nf.data.Split) -> tuple[np.ndarray, np.ndarray]:
    """All samples as uint8 [T, N, 80], and their classes."""
    x, y, _ = split.first(len(split))
    return x.numpy().astype(np.uint8), y.numpy()


def draw(results: dict[str, list[Found]], path: Path) -> None:
    """Accuracy on the sixth speaker before and after, per speaker; a dot is an order's, a bar their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    ways = ["frozen", *SETTINGS, f"bptt in floats, {FLOAT_RATES[0]:g}"]
    colours = ("0.75", "0.5", "tab:olive", "tab:blue", "tab:purple", "tab:cyan")
    for number, (way, colour) in enumerate(zip(ways, colours, strict=True)):
        for position, found in enumerate(results.values()):
            values = [100 * one[way][0] for one in found if way in one]
            at = position + (number - 2.5) * 0.14
            axes.bar(at, np.mean(values), 0.13, color=colour, label=None if position else way)
            axes.plot([at] * len(values), values, "k.", markersize=2)
    axes.set_xticks(range(len(results)), list(results))
    axes.set_ylabel("accuracy on the sixth speaker, %")
    axes.set_ylim(50, 100)
    axes.legend(ncols=len(ways), loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def mean(found: list[Found], way: str) -> np.ndarray:
    """Of the orders that were run, in percent."""
    return 100 * np.mean([one[way] for one in found if way in one], axis=0)


def table(results: dict[str, list[Found]]) -> Iterator[str]:
    """A line per way: means over speakers, sixth / five, and the gain over frozen with its 95 % interval."""
    from scipy.stats import t

    per_speaker = {
        way: np.array([mean(found, way) for found in results.values()])
        for way in next(iter(results.values()))[0]
    }
    for way, rows in per_speaker.items():
        new, old = rows.mean(0)
        gain = rows[:, 0] - per_speaker["frozen"][:, 0]
        half = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        yield f"| {way} | {new:.1f} / {old:.1f} | {gain.mean():+.1f} ± {half:.1f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the recordings")
    parser.add_argument("--speakers", nargs="+", default=SPEAKERS, help="each in turn is the sixth")
    parser.add_argument("--orders", type=int, default=3, help="in which the 60 utterances come")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--hidden", nargs="+", type=int, default=[256])
    parser.add_argument("--deep", nargs="+", type=int, default=[256, 128], help="of the network with two")
    parser.add_argument("--choose", action="store_true", help="settings, on the other speakers")
    parser.add_argument("--networks", type=Path, metavar="FOLDER", help="keeps what was trained")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="accuracies per speaker as an image")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[Found]] = {}
    try:
        if given.choose:
            choose(given.folder, given.epochs, tuple(given.hidden), given.networks)
            sys.exit()
        print("accuracy in % on the sixth speaker / on the five")
        for speaker in given.speakers:
            known, deep = (
                base(given.folder, (speaker,), tuple(hidden), given.epochs, given.networks)
                for hidden in (given.hidden, given.deep)
            )
            found = results[speaker] = [
                sixth(known, deep, speaker, order, floats=order == 0) for order in range(given.orders)
            ]
            for way in found[0]:
                new, old = mean(found, way)
                print(f"| {speaker} | {way} | {new:.1f} / {old:.1f} |", flush=True)
    except nf.UserError as error:
        sys.exit(str(error))
    print("\n".join(table(results)))
    if given.picture:
        draw(results, given.picture)
